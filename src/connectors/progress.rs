//! Where a poll goes on from: what is stored, what `$cursor` says, and the largest value of the items.
//!
//! A cursor is the system's own value, handed back as it was given: the hub's clock has no part in it, so one that differs
//! from the system's skips nothing. Only `start: 1d` counts from the hub's clock, once.

use std::cmp::Ordering;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{Timestamp, Unit};
use rust_decimal::Decimal;

use super::manifest::CursorRule;
use crate::config::duration;
use crate::message::{Fault, Map, Text, Value};

/// Longest text of a cursor.
const MAX_TEXT: usize = 1024;

/// Where a poll goes on from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Whose cursor it is: another operation begins anew.
    pub connection: Text,
    pub operation: Text,
    /// The largest value of all items so far.
    pub cursor: Option<Value>,
    /// Where the first round began, so that the next begins there too while nothing has come; with the setting it comes from.
    pub start: Option<(Text, Value)>,
}

impl Progress {
    pub fn to_value(&self) -> Value {
        let mut map = Map::from_iter([
            ("connection", Value::Text(self.connection.clone())),
            ("operation", Value::Text(self.operation.clone())),
        ]);
        if let Some(cursor) = &self.cursor {
            map.insert("cursor", cursor.clone());
        }
        if let Some((setting, start)) = &self.start {
            map.insert("start", Map::from_iter([("setting", Value::Text(setting.clone())), ("at", start.clone())]));
        }
        map.into()
    }

    /// `None` where the value is not what [`Progress::to_value`] writes, or another operation's.
    pub fn read(value: &Value, connection: &str, operation: &str) -> Option<Progress> {
        let text = |value: &Value, name: &str| value.get(name)?.as_text().map(Text::from);
        let read = Progress {
            connection: text(value, "connection")?,
            operation: text(value, "operation")?,
            cursor: value.get("cursor").cloned(),
            start: value.get("start").and_then(|start| Some((text(start, "setting")?, start.get("at")?.clone()))),
        };
        (read.connection == connection && read.operation == operation).then_some(read)
    }

    /// Settles where the very first round begins; true where that is to be stored.
    pub fn begin(&mut self, rule: &CursorRule, now: Timestamp) -> bool {
        let Some(setting) = rule.start.as_ref().filter(|_| self.cursor.is_none()) else { return false };
        if self.start.as_ref().is_some_and(|(told, _)| told == setting) {
            return false;
        }
        let ago = duration(setting).map(|ago| {
            let start = now.checked_sub(ago).unwrap_or(Timestamp::MIN);
            Value::from(start.round(Unit::Second).unwrap_or(start).to_string())
        });
        let counted = ago.is_some();
        let constant = || Value::number(setting).unwrap_or_else(|| Value::Text(setting.clone()));
        self.start = Some((setting.clone(), ago.unwrap_or_else(constant)));
        counted
    }

    /// `$cursor` of a round.
    ///
    /// # Errors
    /// `CONNECTOR-CURSOR` (misconfigured) for an overlap of what is no time.
    pub fn asked(&self, rule: &CursorRule) -> Result<Option<Value>, Fault> {
        match (&self.cursor, rule.overlap) {
            (Some(cursor), Some(overlap)) => earlier(cursor, overlap).map(Some).ok_or_else(|| {
                let said = format!("`overlap` is for times, and the cursor is {}: {cursor}", cursor.kind());
                Fault::misconfigured("CONNECTOR-CURSOR", said).at("cursor.overlap")
            }),
            (Some(cursor), None) => Ok(Some(cursor.clone())),
            (None, _) => Ok(self.start.as_ref().map(|(_, start)| start.clone())),
        }
    }
}

/// The same time, so much earlier, in the form it was written; `None` for what is no time.
fn earlier(time: &Value, by: Duration) -> Option<Value> {
    let text = time.as_text()?;
    if let Ok(instant) = text.parse::<Timestamp>() {
        let earlier = instant.checked_sub(by).unwrap_or(Timestamp::MIN);
        return Some(Value::from(match offset(text) {
            Some(offset) if offset != Offset::UTC => earlier.display_with_offset(offset).to_string(),
            _ => earlier.to_string(),
        }));
    }
    let local: DateTime = text.parse().ok()?;
    let earlier = local.checked_sub(by).unwrap_or(DateTime::MIN);
    let written = earlier.to_string();
    Some(Value::from(if text.contains(' ') { written.replacen('T', " ", 1) } else { written }))
}

/// The offset an instant was written with.
fn offset(text: &str) -> Option<Offset> {
    jiff::fmt::temporal::Pieces::parse(text).ok()?.to_numeric_offset()
}

/// The largest value of the items, never smaller than the one stored.
#[derive(Clone, Debug, Default)]
pub struct Largest {
    stored: Option<Known>,
    round: Option<Known>,
    /// An item came with a smaller value than one before it.
    pub disordered: bool,
}

#[derive(Clone, Debug)]
struct Known {
    value: Value,
    order: Order,
}

/// How a value sorts.
#[derive(Clone, Debug)]
enum Order {
    Time(Timestamp),
    Number(Decimal),
    Text(Text),
}

impl Order {
    fn of(value: &Value) -> Option<Order> {
        match value {
            Value::Text(text) if text.is_empty() || text.len() > MAX_TEXT => None,
            Value::Text(text) => {
                let begins = text.as_bytes().first().is_some_and(u8::is_ascii_digit);
                let instant = begins.then(|| text.parse().ok()).flatten();
                Some(instant.map_or_else(|| Order::Text(text.clone()), Order::Time))
            }
            Value::Number(_) => value.as_decimal().map(Order::Number),
            _ => None,
        }
    }

    fn compare(&self, other: &Order) -> Option<Ordering> {
        match (self, other) {
            (Order::Time(a), Order::Time(b)) => Some(a.cmp(b)),
            (Order::Number(a), Order::Number(b)) => Some(a.cmp(b)),
            (Order::Text(a), Order::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Order::Time(_) => "a time",
            Order::Number(_) => "a number",
            Order::Text(_) => "a text",
        }
    }
}

impl Largest {
    pub fn new(stored: Option<&Value>) -> Largest {
        let known = |value: &Value| Some(Known { value: value.clone(), order: Order::of(value)? });
        Largest { stored: stored.and_then(known), ..Largest::default() }
    }

    /// Looks at the value of one more item.
    ///
    /// # Errors
    /// `CONNECTOR-CURSOR`: `refuse` for what cannot be a cursor, `misconfigured` for another kind than the values before.
    pub fn see(&mut self, value: Value) -> Result<(), Fault> {
        let Some(order) = Order::of(&value) else {
            let said = format!("a cursor is a time, a number or a short text, this is {}", value.kind());
            return Err(Fault::refuse("CONNECTOR-CURSOR", said));
        };
        for known in [&self.stored, &self.round].into_iter().flatten() {
            if known.order.compare(&order).is_none() {
                let (is, was) = (order.word(), known.order.word());
                let said =
                    format!("the value of this item is {is}, and that of those before {was}: they do not compare");
                return Err(Fault::misconfigured("CONNECTOR-CURSOR", said));
            }
        }
        match self.round.as_ref().and_then(|known| known.order.compare(&order)) {
            Some(Ordering::Greater) => self.disordered = true,
            Some(Ordering::Equal) => {}
            Some(Ordering::Less) | None => self.round = Some(Known { value, order }),
        }
        Ok(())
    }

    /// The largest of all; `None` where nothing has come yet.
    pub fn value(&self) -> Option<&Value> {
        let larger = match (&self.stored, &self.round) {
            (Some(stored), Some(round)) if stored.order.compare(&round.order) != Some(Ordering::Less) => Some(stored),
            (stored, round) => round.as_ref().or(stored.as_ref()),
        };
        larger.map(|known| &known.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Next, json};

    fn value(json: &str) -> Value {
        json::read(json.as_bytes()).expect("JSON")
    }

    fn rule(start: Option<&str>, overlap: Option<u64>) -> CursorRule {
        CursorRule {
            value: crate::formula::Template::constant(Value::Null),
            start: start.map(Text::from),
            overlap: overlap.map(Duration::from_secs),
            ordered: false,
        }
    }

    #[test]
    fn the_largest_is_never_smaller_than_the_stored() {
        let check = |stored: &str, values: &[&str], expect: &str, disordered: bool| {
            let stored = value(stored);
            let mut largest = Largest::new((stored != Value::Null).then_some(&stored));
            values.iter().for_each(|item| largest.see(value(item)).expect("they compare"));
            let told = (largest.value().map_or("null".to_owned(), Value::to_string), largest.disordered);
            assert_eq!(told, (expect.to_owned(), disordered), "{stored} {values:?}");
        };
        check("null", &["9", "10", "1.5"], "10", true);
        check("11", &["9", "10"], "11", false);
        check("11", &[], "11", false);
        check("null", &[], "null", false);
        // As times, not as texts.
        let (early, late) = (r#""2026-10-25T02:30:00+02:00""#, r#""2026-10-25T02:10:00+01:00""#);
        check("null", &[early, late], late, false);
        check(late, &[early], late, false);
        check("null", &[r#""a10""#, r#""a9""#], r#""a9""#, false);
        check("null", &[r#""2026-01-02 10:00:00""#, r#""2026-01-01 10:00:00""#], r#""2026-01-02 10:00:00""#, true);
    }

    #[test]
    fn kinds_do_not_mix() {
        let fault = |stored: &str, values: &[&str]| {
            let stored = value(stored);
            let mut largest = Largest::new((stored != Value::Null).then_some(&stored));
            values.iter().find_map(|item| largest.see(value(item)).err()).expect("a fault").next()
        };
        assert_eq!(fault("null", &["1", r#""a""#]), Next::Misconfigured);
        assert_eq!(fault("7", &[r#""2026-01-01T00:00:00Z""#]), Next::Misconfigured);
        assert_eq!(fault(r#""a""#, &[r#""2026-01-01T00:00:00Z""#]), Next::Misconfigured);
        for none in ["null", "[]", "{}", "true", r#""""#, "1e400"] {
            assert_eq!(fault("null", &[none]), Next::Refuse, "{none}");
        }
    }

    #[test]
    fn a_round_begins_earlier_in_the_form_the_system_writes() {
        let check = |cursor: &str, seconds: u64, expect: &str| {
            let progress = Progress { cursor: Some(Value::from(cursor)), ..Progress::default() };
            let asked = progress.asked(&rule(None, Some(seconds))).expect("a time").expect("a cursor");
            assert_eq!(asked.as_text(), Some(expect), "{cursor}");
        };
        check("2026-11-02T10:00:00Z", 300, "2026-11-02T09:55:00Z");
        check("2026-11-02T10:00:00.25Z", 300, "2026-11-02T09:55:00.25Z");
        check("2026-11-02T10:00:00+02:00", 300, "2026-11-02T09:55:00+02:00");
        check("2026-11-02 00:00:00", 1, "2026-11-01 23:59:59");
        check("2026-11-02T00:00:00", 60, "2026-11-01T23:59:00");
        for cursor in [value("17"), Value::from("A17")] {
            let progress = Progress { cursor: Some(cursor.clone()), ..Progress::default() };
            assert_eq!(progress.asked(&rule(None, None)).expect("a cursor"), Some(cursor));
            assert_eq!(progress.asked(&rule(None, Some(1))).expect_err("no time").code(), "CONNECTOR-CURSOR");
        }
    }

    #[test]
    fn a_first_round_begins_where_it_is_told() {
        let now = "2026-11-02T10:00:00.7Z".parse().expect("a time");
        let mut progress = Progress::default();
        assert!(progress.begin(&rule(Some("1d"), Some(60)), now), "counted from now: stored");
        let asked = |progress: &Progress| progress.asked(&rule(Some("1d"), Some(60))).expect("a start");
        assert_eq!(asked(&progress), Some(Value::from("2026-11-01T10:00:01Z")));
        let later = "2026-11-09T10:00:00Z".parse().expect("a time");
        let mut read = Progress::read(&progress.to_value(), "", "").expect("as written");
        assert!(!read.begin(&rule(Some("1d"), None), later), "it does not move with the clock");
        assert_eq!(asked(&read), asked(&progress));
        assert!(read.begin(&rule(Some("2d"), None), later), "the setting was changed");
        read.cursor = Some(Value::from("2026-11-05T00:00:00Z"));
        assert_eq!(asked(&read), Some(Value::from("2026-11-04T23:59:00Z")));

        let constant = |start: &str| {
            let mut progress = Progress::default();
            assert!(!progress.begin(&rule(Some(start), None), now));
            progress.asked(&rule(Some(start), None)).expect("a start")
        };
        assert_eq!(constant("0"), Some(value("0")));
        assert_eq!(constant("2020-01-01"), Some(Value::from("2020-01-01")));
        assert_eq!(Progress::default().asked(&rule(None, None)).expect("none"), None);
    }

    #[test]
    fn another_operation_begins_anew() {
        let progress = Progress { connection: "shop".into(), operation: "order.changed".into(), ..Progress::default() };
        let written = progress.to_value();
        assert_eq!(Progress::read(&written, "shop", "order.changed"), Some(progress));
        assert_eq!(Progress::read(&written, "shop", "product.changed"), None);
        assert_eq!(Progress::read(&Value::from("x"), "shop", "order.changed"), None);
    }
}
