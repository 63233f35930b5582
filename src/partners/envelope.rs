//! What goes out: numbered, written, and remembered with its bytes before the first attempt.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::codec::BYTES;
use super::load::Partners;
use super::outgoing::{Outgoing, reference, write as write_interchange};
use super::profile::Partner;
use super::settings::ControlNumbers;
use super::tables::{self, KEEP, NUMBERS, SENT, plain_number};
use crate::clock::later;
use crate::edi::syntax::Dialect;
use crate::edi::writer::Header;
use crate::message::{Fault, Map, Text, Value, json};
use crate::steps::{Answer, Ask, Beside, Context, Counter, Effect, GroupKey, Outcome, Step};

/// The step that makes an interchange of what waits in a partner's lane.
///
/// It gives `{ partner, document, interchange, count, bytes }`, and opens a group that closes when the acknowledgment is overdue.
#[derive(Debug)]
pub struct Envelope {
    pub partners: Arc<Partners>,
    pub partner: Text,
    /// The lane, and the step's place in it, which name its groups.
    pub pipeline: Text,
    pub place: Text,
}

/// The state of a document that was sent.
pub mod state {
    /// On its way, or with the partner, who has not said anything.
    pub const SENT: &str = "sent";
    /// The partner's system has its interchange.
    pub const RECEIVED: &str = "received";
    /// The partner can work with it.
    pub const ACCEPTED: &str = "accepted";
    /// The partner cannot.
    pub const REJECTED: &str = "rejected";
    /// The partner has not said anything in time.
    pub const OVERDUE: &str = "overdue";
}

/// One thing, or what was gathered.
fn bodies(document: &Value) -> &[Value] {
    match document.get("items").and_then(Value::as_list) {
        Some(items) => items,
        None => std::slice::from_ref(document),
    }
}

impl Envelope {
    fn partner(&self) -> Result<&Arc<Partner>, Fault> {
        let gone = || Fault::refuse("PARTNER-UNKNOWN", format!("there is no partner `{}` any more", self.partner));
        self.partners.get(&self.partner).ok_or_else(gone)
    }

    fn items<'d>(&'d self, document: &'d Value, context: &Context<'_>) -> Result<Vec<Outgoing<'d>>, Fault> {
        let partner = self.partner()?;
        bodies(document).iter().map(|body| Outgoing::read(body, partner, &self.partners, context.time)).collect()
    }
}

/// A number as it is written: filled with zeros where it must be.
pub(super) fn shown(numbers: &ControlNumbers, dialect: Dialect, number: u64) -> String {
    let width = numbers.width as usize;
    let padded = numbers.padded || dialect == Dialect::X12;
    if padded { format!("{number:0width$}") } else { number.to_string() }
}

/// The largest number of so many digits.
pub(super) fn largest(numbers: &ControlNumbers) -> u64 {
    10_u64.checked_pow(numbers.width).map_or(u64::MAX, |past| past - 1)
}

impl Envelope {
    /// The envelope of an interchange that begins with `first`.
    fn header(&self, partner: &Partner, first: &Outgoing<'_>, reference: String, at: Timestamp) -> Header {
        let at = at.to_zoned(TimeZone::UTC);
        Header {
            sender: partner.us.party(),
            receiver: partner.them.party(),
            date: at.strftime("%Y%m%d").to_string(),
            time: at.strftime("%H%M").to_string(),
            reference,
            test: partner.test,
            acknowledgment_asked: partner.acknowledgments.ask && first.acknowledges.is_none(),
            application: String::new(),
        }
    }
}

impl Step for Envelope {
    fn needs_world(&self) -> bool {
        true
    }

    /// What cannot be written takes no number.
    fn asks(&self, document: &Value, context: &Context<'_>) -> Result<Vec<Ask>, Fault> {
        let (partner, items) = (self.partner()?, self.items(document, context)?);
        let Some(first) = items.first() else { return Ok(Vec::new()) };
        let header = self.header(partner, first, shown(&partner.numbers, partner.dialect, 1), context.now);
        write_interchange(partner, &self.partners.library, header, &items)?;
        let (table, key) = (Text::new_static(NUMBERS), tables::key(&[&self.partner, "out"]));
        let beside = first.acknowledges.is_none().then(|| self.sent(partner, &items, document, context));
        let (first, largest) = (u64::from(partner.numbers.first), largest(&partner.numbers));
        Ok(vec![Ask::Number(Counter { table, key, first, largest, beside })])
    }

    fn apply(
        &self,
        document: Value,
        context: &Context<'_>,
        answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        let (partner, items) = (self.partner()?, self.items(&document, context)?);
        let (Some(first), Some(Answer::Number(number))) = (items.first(), answers.into_iter().next()) else {
            return Ok(());
        };
        let shown = shown(&partner.numbers, partner.dialect, number.value);
        let header = self.header(partner, first, shown.clone(), number.at);
        let bytes = write_interchange(partner, &self.partners.library, header, &items)?;
        if let Some(within) = within(&items).filter(|_| first.acknowledges.is_none()) {
            let plain = plain_number(&shown);
            let group = GroupKey { pipeline: self.pipeline.clone(), step: self.place.clone(), key: plain.into() };
            let member = Map::from_iter([("interchange", plain)]).into();
            out.effects.push(Effect::Join { group, member, closes: Some(later(number.at, within)) });
        }
        let track = |name: &str, value: &str| Effect::Track { name: name.into(), value: value.into() };
        out.effects.push(track("partner", &partner.name));
        out.effects.push(track("interchange", &shown));
        if plain_number(&shown) != shown {
            out.effects.push(track("number", plain_number(&shown)));
        }
        for item in &items {
            let (document, state) = (item.document.into(), Text::new_static(state::SENT));
            let note = format!("interchange {shown}").into();
            out.effects.push(Effect::Exchange { partner: partner.name.clone(), document, state, note });
        }
        let made = Map::from_iter([
            ("partner", Value::from(partner.name.clone())),
            ("document", first.document.into()),
            ("interchange", shown.into()),
            ("count", Value::from(items.len())),
            (BYTES, super::hand_over::from_bytes(&bytes)),
        ]);
        out.push(made.into())
    }
}

impl Envelope {
    /// What is remembered of an interchange, before it leaves.
    fn sent(&self, partner: &Partner, items: &[Outgoing<'_>], document: &Value, context: &Context<'_>) -> Beside {
        let sent = items.iter().zip(bodies(document)).enumerate().map(|(at, (item, body))| {
            Value::from(Map::from_iter([
                ("document", Value::from(item.document)),
                ("reference", reference(partner.dialect, at).into()),
                ("message", item.message.into()),
                ("state", state::SENT.into()),
                ("body", json::to_text(body).into()),
            ]))
        });
        let mut row = Map::from_iter([
            ("partner", Value::from(partner.name.clone())),
            ("sent_at", context.now.to_string().into()),
            ("documents", sent.collect::<Vec<Value>>().into()),
        ]);
        if let Some(within) = within(items) {
            row.insert("due", later(context.now, within).to_string());
        }
        Beside { table: Text::new_static(SENT), key: partner.name.clone(), row, keep: KEEP }
    }
}

/// Within which time the first of them is acknowledged.
fn within(items: &[Outgoing<'_>]) -> Option<Duration> {
    items.iter().filter_map(|item| item.within).min()
}
