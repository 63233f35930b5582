//! What goes out: numbered, written, and remembered with its bytes before the first attempt.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::codec::BYTES;
use super::load::Partners;
use super::outgoing::{Outgoing, reference, write as write_interchange};
use super::profile::Partner;
use super::settings::ControlNumbers;
use super::tables::{self, KEEP, NUMBERS, SENT, ask, plain_number, row, write};
use crate::clock::later;
use crate::edi::syntax::Dialect;
use crate::edi::writer::Header;
use crate::message::{Fault, Map, Text, Value, json};
use crate::steps::{Answer, Ask, Context, Effect, GroupKey, Outcome, Step};

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

/// The number after `last`, filled with zeros where it must be, and as it is kept.
pub(super) fn next(numbers: &ControlNumbers, dialect: Dialect, last: u64) -> (u64, String) {
    let width = numbers.width as usize;
    let largest = 10_u64.checked_pow(numbers.width).map_or(u64::MAX, |past| past - 1);
    let number = if last >= largest { 1 } else { last + 1 };
    let padded = numbers.padded || dialect == Dialect::X12;
    (number, if padded { format!("{number:0width$}") } else { number.to_string() })
}

impl Step for Envelope {
    fn needs_world(&self) -> bool {
        true
    }

    fn asks(&self, document: &Value, _context: &Context<'_>) -> Result<Vec<Ask>, Fault> {
        if bodies(document).is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![ask(NUMBERS, &[&self.partner, "out"])])
    }

    fn apply(
        &self,
        document: Value,
        context: &Context<'_>,
        answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        let (partner, items) = (self.partner()?, self.items(&document, context)?);
        let Some(first) = items.first() else { return Ok(()) };
        let before = row(answers.into_iter().next());
        let last = before.as_ref().and_then(|row| row.get("last")).and_then(Value::plain);
        let last = last.and_then(|last| last.parse().ok()).unwrap_or(0);
        let (number, shown) = next(&partner.numbers, partner.dialect, last);
        let at = context.now.to_zoned(TimeZone::UTC);
        let header = Header {
            sender: partner.us.party(),
            receiver: partner.them.party(),
            date: at.strftime("%Y%m%d").to_string(),
            time: at.strftime("%H%M").to_string(),
            reference: shown.clone(),
            test: partner.test,
            acknowledgment_asked: partner.acknowledgments.ask && first.acknowledges.is_none(),
            application: String::new(),
        };
        let bytes = write_interchange(partner, &self.partners.library, header, &items)?;
        let counted = Map::from_iter([("last", number.to_string())]);
        out.effects.push(write(NUMBERS, &[&self.partner, "out"], before.as_ref(), counted, context.now, None));
        if first.acknowledges.is_none() {
            self.expect(partner, &items, &document, &shown, context, out);
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
    /// Remembers what was sent, and when an acknowledgment of it is overdue.
    fn expect(
        &self,
        partner: &Partner,
        items: &[Outgoing<'_>],
        document: &Value,
        number: &str,
        context: &Context<'_>,
        out: &mut Outcome,
    ) {
        let sent = items.iter().zip(bodies(document)).enumerate().map(|(at, (item, body))| {
            Value::from(Map::from_iter([
                ("document", Value::from(item.document)),
                ("reference", reference(partner.dialect, at).into()),
                ("message", item.message.into()),
                ("state", state::SENT.into()),
                ("body", json::to_text(body).into()),
            ]))
        });
        let within = items.iter().filter_map(|item| item.within).min();
        let closes = within.map(|within| later(context.now, within));
        let mut row = Map::from_iter([
            ("partner", Value::from(partner.name.clone())),
            ("interchange", number.into()),
            ("sent_at", context.now.to_string().into()),
            ("documents", sent.collect::<Vec<Value>>().into()),
        ]);
        let plain = plain_number(number);
        if let Some(closes) = closes {
            row.insert("due", closes.to_string());
            let group = GroupKey { pipeline: self.pipeline.clone(), step: self.place.clone(), key: plain.into() };
            let member = Map::from_iter([("interchange", plain)]).into();
            out.effects.push(Effect::Join { group, member, closes: Some(closes) });
        }
        out.effects.push(tables::write(SENT, &[&partner.name, plain], None, row, context.now, Some(KEEP)));
    }
}
