//! What comes in: each message to its pipeline, each acknowledgment to the documents it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::answers::acknowledgments;
use super::codec::{BYTES, headers, unknown_document};
use super::envelope::state;
use super::hand_over::{parcel, to_bytes};
use super::interchange::{Found, Opened, find, open};
use super::load::Partners;
use super::profile::Partner;
use super::settings::Gaps;
use super::tables::{self, KEEP, NUMBERS, SEEN, SENT, ask, plain_number, row, write};
use crate::clock::later;
use crate::edi::acknowledgments::{Acknowledgment, Answered, Fate, Reason};
use crate::edi::findings::Severity;
use crate::message::{Fault, Map, Text, Value, json};
use crate::steps::{Answer, Ask, Context, Effect, Outcome, Step};

/// The step that takes what a mailbox brings.
#[derive(Debug)]
pub struct Take {
    pub partners: Arc<Partners>,
    /// Whose interchanges may come this way.
    pub accepted: Vec<Text>,
    pub routes: Arc<Routes>,
    /// The lane itself, where what goes nowhere becomes a dead letter.
    pub pipeline: Text,
}

/// Which pipeline takes which document of which partner.
#[derive(Debug, Default)]
pub struct Routes(pub BTreeMap<(Text, Text), Text>);

impl Routes {
    /// The pipeline that names this partner; else the one that takes the document of any.
    fn find(&self, partner: &Text, document: &Text) -> Option<&Text> {
        let of = |partner: &Text| self.0.get(&(partner.clone(), document.clone()));
        of(partner).or_else(|| of(&Text::new_static("*")))
    }
}

/// Says in the headers that it is one message of an interchange that was taken before.
const PART: &str = "@part";
/// Says in the headers that a person was told of a number that was used before: a replay takes it all the same.
const CONFLICT: &str = "@conflict";

/// An interchange of a partner of ours.
struct Incoming<'p> {
    partner: &'p Arc<Partner>,
    opened: Opened,
    bytes: Bytes,
}

impl Take {
    fn found(&self, document: &Value) -> Result<Vec<Found>, Fault> {
        let bytes = document.get(BYTES).and_then(Value::as_text).unwrap_or_default();
        find(&to_bytes(bytes).into())
    }

    /// Reads an interchange by the profile of its partner.
    fn open(&self, found: &Found) -> Result<Incoming<'_>, Fault> {
        let partner = self.partners.sender(found.dialect, &found.sender, &found.receiver)?;
        if !self.accepted.contains(&partner.name) {
            let said = format!(
                "it came in through {}, which is not how {} sends: see `transport.in` of its profile",
                self.pipeline, partner.name
            );
            return Err(Fault::refuse("PARTNER-UNKNOWN", said));
        }
        let mut opened = open(partner, &self.partners.library, &found.bytes, false)?;
        if opened.header.test != partner.test && opened.fault.is_none() {
            let (is, wants) = if partner.test { ("for real", "test") } else { ("a test", "production") };
            let said = format!("the interchange is {is}, and the profile of {} says `mode: {wants}`", partner.name);
            opened.fault = Some(Fault::refuse("PARTNER-MODE", said));
            // The partner is told so too.
            opened.receipt.verdict = Some(Severity::RejectInterchange);
        }
        Ok(Incoming { partner, opened, bytes: found.bytes.clone() })
    }
}

/// The number of ours that an acknowledgment is about.
fn answered(acknowledgment: &Acknowledgment) -> &str {
    match &acknowledgment.answered {
        Answered::Interchange { reference, .. } | Answered::Group { reference, .. } => plain_number(reference),
    }
}

/// The headers of what becomes a dead letter of the lane itself: what it was it stays.
fn own(context: &Context<'_>) -> Map {
    let kept = [PART, CONFLICT].into_iter().filter_map(|name| Some((name, context.headers.get(name)?.clone())));
    kept.collect()
}

fn is_part(context: &Context<'_>) -> bool {
    context.headers.get(PART).is_some()
}

impl Step for Take {
    fn needs_world(&self) -> bool {
        true
    }

    fn asks(&self, document: &Value, context: &Context<'_>) -> Result<Vec<Ask>, Fault> {
        let mut asks = Vec::new();
        for found in self.found(document)? {
            let Ok(Incoming { partner, opened, .. }) = self.open(&found) else { continue };
            if !is_part(context) {
                asks.push(ask(SEEN, &[&partner.name, &opened.header.reference]));
                asks.push(ask(NUMBERS, &[&partner.name, "in"]));
            }
            asks.extend(opened.acknowledgments.iter().map(|told| ask(SENT, &[&partner.name, answered(told)])));
        }
        Ok(asks)
    }

    fn apply(
        &self,
        document: Value,
        context: &Context<'_>,
        answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        let (mut answers, mut rows) = (answers.into_iter(), Rows::default());
        let before = out.documents.len();
        for found in self.found(&document)? {
            match self.open(&found) {
                Ok(incoming) => self.take(&incoming, context, &mut answers, &mut rows, out)?,
                Err(fault) => out.push(parcel(&self.pipeline, &found.bytes, own(context), Some(&fault)))?,
            }
        }
        if out.documents.len() == before {
            out.filtered += 1;
        }
        Ok(())
    }
}

/// Rows that were read, as this message has left them.
#[derive(Default)]
struct Rows(BTreeMap<(&'static str, Text), Map>);

impl Rows {
    /// What the row is now: as it was left, else as it was read.
    fn now(&self, table: &'static str, key: &str, read: Option<Map>) -> Option<Map> {
        self.0.get(&(table, key.into())).cloned().or(read)
    }

    fn leave(&mut self, table: &'static str, key: &str, effect: &Effect) {
        if let Effect::Remember { row, .. } = effect {
            self.0.insert((table, key.into()), row.clone());
        }
    }
}

/// What is known of an interchange by its number.
enum Number {
    New,
    Repeat,
    Conflict,
}

impl Take {
    fn take(
        &self,
        incoming: &Incoming<'_>,
        context: &Context<'_>,
        answers: &mut impl Iterator<Item = Answer>,
        rows: &mut Rows,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        let Incoming { partner, opened, bytes } = incoming;
        let number = &opened.header.reference;
        let track = |name: &str, value: &str| Effect::Track { name: name.into(), value: value.into() };
        out.effects.push(track("partner", &partner.name));
        out.effects.push(track("interchange", number));
        if plain_number(number) != number.as_str() {
            out.effects.push(track("number", plain_number(number)));
        }
        let seen = match is_part(context) {
            true => Number::New,
            false => self.number(incoming, context, answers, rows, out),
        };
        let told: Vec<(&Acknowledgment, Option<Map>)> =
            opened.acknowledgments.iter().map(|told| (told, row(answers.next()))).collect();
        match seen {
            Number::Conflict => {
                let said = format!(
                    "{} has sent interchange {number} before, with other content: ask them which one counts",
                    partner.name
                );
                let fault = Fault::refuse("PARTNER-NUMBER", said);
                self.exchange(partner, "interchange", "conflict", number, out);
                let headers = Map::from_iter([(CONFLICT, "told")]);
                return out.push(parcel(&self.pipeline, bytes, headers, Some(&fault)));
            }
            Number::Repeat => {
                let text = format!("{} sends interchange {number} again: its messages are known", partner.name);
                out.effects.push(Effect::Log { text });
                self.exchange(partner, "interchange", "repeated", number, out);
            }
            Number::New => match &opened.fault {
                Some(fault) => {
                    self.exchange(partner, "interchange", state::REJECTED, fault.code(), out);
                    out.push(parcel(&self.pipeline, bytes, own(context), Some(fault)))?;
                }
                None => {
                    for (acknowledgment, before) in told {
                        self.acknowledged(partner, acknowledgment, before, context, rows, out)?;
                    }
                    self.route(incoming, out)?;
                }
            },
        }
        if is_part(context) {
            return Ok(());
        }
        for body in acknowledgments(partner, opened) {
            let lane = format!("{}.out", partner.name);
            let headers = Map::from_iter([("partner", partner.name.clone())]);
            out.push(parcel(&lane, json::to_text(&body).as_bytes(), headers, None))?;
        }
        Ok(())
    }

    /// Whether the interchange came before, and keeps that it came now. One that was refused may come again.
    fn number(
        &self,
        incoming: &Incoming<'_>,
        context: &Context<'_>,
        answers: &mut impl Iterator<Item = Answer>,
        rows: &mut Rows,
        out: &mut Outcome,
    ) -> Number {
        let Incoming { partner, opened, bytes } = incoming;
        let (number, name) = (opened.header.reference.as_str(), partner.name.as_str());
        let key = format!("{name} {number}");
        let (seen, last) = (row(answers.next()), row(answers.next()));
        let (seen, last) = (rows.now(SEEN, &key, seen), rows.now(NUMBERS, name, last));
        let hash: String =
            Sha256::digest(bytes.trim_ascii()).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let text = |row: &Map, key: &str| row.get(key).and_then(Value::as_text).unwrap_or_default().to_owned();
        let window = partner.numbers.window;
        let recent = |seen: &Map| tables::time_of(seen).is_none_or(|at| later(at, window) > context.now);
        let counts = |seen: &&Map| text(seen, "outcome") == state::ACCEPTED && recent(seen);
        if let Some(seen) = seen.as_ref().filter(counts).filter(|_| context.headers.get(CONFLICT).is_none()) {
            return if text(seen, "hash") == hash { Number::Repeat } else { Number::Conflict };
        }
        let outcome = if opened.fault.is_some() { state::REJECTED } else { state::ACCEPTED };
        let now =
            Map::from_iter([("hash", hash), ("outcome", outcome.to_owned()), ("message", context.id.to_string())]);
        let effect = write(SEEN, &[name, number], seen.as_ref(), now, context.now, Some(window));
        rows.leave(SEEN, &key, &effect);
        out.effects.push(effect);
        if let Ok(this) = number.parse::<u64>() {
            let before = last.as_ref().and_then(|row| text(row, "last").parse::<u64>().ok());
            if let Some(before) = before.filter(|before| partner.numbers.gaps == Gaps::Tell && this > before + 1) {
                let note = format!("interchange {number} follows {before}: what is between has not come");
                self.exchange(partner, "interchange", "gap", &note, out);
            }
            let newest = Map::from_iter([("last", this.max(before.unwrap_or(0)).to_string())]);
            let effect = write(NUMBERS, &[name, "in"], last.as_ref(), newest, context.now, None);
            rows.leave(NUMBERS, name, &effect);
            out.effects.push(effect);
        }
        Number::New
    }

    /// Each message to the pipeline that takes it; one that none takes, or that is refused, becomes a dead letter.
    fn route(&self, incoming: &Incoming<'_>, out: &mut Outcome) -> Result<(), Fault> {
        let Incoming { partner, opened, .. } = incoming;
        for message in &opened.messages {
            let known = partner.incoming(&message.kind);
            let name = known.map_or(message.kind.name.as_str(), |document| document.name.as_str());
            let mut headers = headers(&partner.name, name, &opened.header.reference, &message.reference);
            let taken = known.and_then(|document| self.routes.find(&partner.name, &document.name));
            let (to, fault) = match (known, taken) {
                (Some(_), Some(pipeline)) => (pipeline, message.fault.clone()),
                (None, _) => (&self.pipeline, Some(unknown_document(&partner.name, &message.kind))),
                (Some(document), None) => {
                    let said = format!(
                        "no pipeline takes {0} of {1}: write `from: {{ partner: {1}, document: {0} }}`, then replay",
                        document.name, partner.name
                    );
                    (&self.pipeline, Some(Fault::refuse("PARTNER-DOCUMENT", said)))
                }
            };
            if *to == self.pipeline {
                headers.insert(PART, "message");
            }
            let state = match (&message.fault, &fault) {
                (Some(_), _) => state::REJECTED,
                (None, Some(_)) => "untaken",
                (None, None) => state::ACCEPTED,
            };
            let note = format!("interchange {}, message {}", opened.header.reference, message.reference);
            // What the outside calls it is no name of ours.
            self.exchange(partner, known.map_or("other", |document| &document.name), state, &note, out);
            if !message.warned.is_empty() {
                let text = format!("{}, {note}: it passes with {}", partner.name, message.warned.join(", "));
                out.effects.push(Effect::Log { text });
            }
            out.push(parcel(to, &message.bytes, headers, fault.as_ref()))?;
        }
        Ok(())
    }

    /// What a partner says of what we sent. What it refuses becomes a dead letter of the partner's lane, with its reasons.
    fn acknowledged(
        &self,
        partner: &Partner,
        told: &Acknowledgment,
        before: Option<Map>,
        context: &Context<'_>,
        rows: &mut Rows,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        let number = answered(told);
        let key = format!("{} {number}", partner.name);
        let Some(before) = rows.now(SENT, &key, before) else {
            let note = format!("it is about interchange {number}, and no document was sent under that number");
            self.exchange(partner, "acknowledgment", "unexpected", &note, out);
            return Ok(());
        };
        let documents = before.get("documents").and_then(Value::as_list).unwrap_or_default();
        let fates = told.fates();
        let mut after = Vec::with_capacity(documents.len());
        for document in documents {
            let mut map = document.as_map().cloned().unwrap_or_default();
            let text = |key: &str| map.get(key).and_then(Value::as_text).unwrap_or_default().to_owned();
            let (reference, name, was) = (text("reference"), text("document"), text("state"));
            let Some(state) = following(&was, fates.of("", &reference)) else {
                after.push(map.into());
                continue;
            };
            let reasons = reasons(told, &reference);
            self.exchange(partner, &name, state, &format!("interchange {number}, message {reference}"), out);
            if state == state::REJECTED {
                let said = format!(
                    "{} refuses {name} {reference} of interchange {number}: {}. Correct the map and replay: what the pipeline gave is sent again, under a new number",
                    partner.name,
                    if reasons.is_empty() { "no reason is given" } else { &reasons }
                );
                let fault = Fault::refuse("PARTNER-REJECTED", said);
                let lane = format!("{}.out", partner.name);
                out.push(parcel(
                    &lane,
                    text("body").as_bytes(),
                    headers(&partner.name, &name, number, &reference),
                    Some(&fault),
                ))?;
            }
            map.insert("state", state);
            if !reasons.is_empty() {
                map.insert("reason", reasons);
            }
            if state != state::RECEIVED {
                map.remove("body");
            }
            after.push(map.into());
        }
        let mut row = before.clone();
        row.insert("documents", after);
        let effect = write(SENT, &[&partner.name, number], Some(&before), row, context.now, Some(KEEP));
        rows.leave(SENT, &key, &effect);
        out.effects.push(effect);
        Ok(())
    }

    fn exchange(&self, partner: &Partner, document: &str, state: &'static str, note: &str, out: &mut Outcome) {
        let (partner, state) = (partner.name.clone(), Text::new_static(state));
        out.effects.push(Effect::Exchange { partner, document: document.into(), state, note: note.into() });
    }
}

/// The state after an acknowledgment; `None` where it changes nothing: what was accepted or rejected stays so.
fn following(was: &str, fate: Fate) -> Option<&'static str> {
    if was == state::ACCEPTED || was == state::REJECTED {
        return None;
    }
    match fate {
        Fate::Received if was == state::RECEIVED => None,
        Fate::Received | Fate::Unknown => Some(state::RECEIVED),
        Fate::Accepted | Fate::WithErrors | Fate::Partly => Some(state::ACCEPTED),
        Fate::Rejected => Some(state::REJECTED),
    }
}

/// Most reasons told of one document.
const REASONS: usize = 5;

/// Why, of the whole and of one message.
fn reasons(told: &Acknowledgment, reference: &str) -> String {
    let about = told.reasons().filter(|(message, _)| message.is_none_or(|message| message.reference == reference));
    // What was not good may be somebody's data.
    let told = |reason: &Reason| Reason { value: String::new(), ..reason.clone() }.to_string();
    let mut said: Vec<String> = about.map(|(_, reason)| told(reason)).collect();
    said.dedup();
    let more = said.len().saturating_sub(REASONS);
    let mut text = said.into_iter().take(REASONS).collect::<Vec<_>>().join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}
