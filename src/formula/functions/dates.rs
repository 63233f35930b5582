//! Dates. They travel as text, ISO 8601, in one of three forms: a day `2026-11-02`, a local time `2026-11-02T10:30:00`, an
//! instant `2026-11-02T10:30:00+01:00`. Formats are those of `strftime`; zones have their names, `Europe/Paris`.

use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use super::{Body, Family, Function, Given, Kind, done_text, may, need};
use crate::formula::faults;
use crate::message::{Fault, Value};

pub const ALL: &[Function] = &[
    Function {
        name: "date",
        family: Family::Dates,
        parameters: &[need("text", Kind::Plain), may("format", Kind::Format), may("zone", Kind::Zone)],
        result: Kind::Text,
        about: "The date a text says, in ISO form. The format is strftime's (`%d/%m/%Y`, `%Y%m%d%H%M`, `%s` for seconds since \
                1970); without it the text must be ISO already. A zone makes a local time an instant.",
        example: "[date('02/11/2026', '%d/%m/%Y'), date('202611021030', '%Y%m%d%H%M', 'Europe/Paris')]",
        gives: "['2026-11-02', '2026-11-02T10:30:00+01:00']",
        body: Body::Plain(date),
    },
    Function {
        name: "format_date",
        family: Family::Dates,
        parameters: &[need("date", Kind::Text), need("format", Kind::Format), may("zone", Kind::Zone)],
        result: Kind::Text,
        about: "An ISO date in another form. With a zone, an instant is first brought there.",
        example: "format_date('2026-11-02T22:30:00Z', '%d/%m/%Y %H:%M', 'Europe/Paris')",
        gives: "'02/11/2026 23:30'",
        body: Body::Plain(format_date),
    },
    Function {
        name: "now",
        family: Family::Dates,
        parameters: &[],
        result: Kind::Text,
        about: "The message's time, when it came in: the same in every retry. In UTC; `in_zone` brings it elsewhere.",
        example: "now()",
        gives: "'2026-11-02T09:30:00Z'",
        body: Body::Plain(|given| done_text(given.frame.scope.time.to_string())),
    },
    Function {
        name: "today",
        family: Family::Dates,
        parameters: &[need("zone", Kind::Zone)],
        result: Kind::Text,
        about: "The day of the message's time, in a zone: at 23:30 UTC, Paris is a day further.",
        example: "today('Europe/Paris')",
        gives: "'2026-11-02'",
        body: Body::Plain(|given| {
            let zone = given.zone(0)?.unwrap_or(TimeZone::UTC);
            done_text(given.frame.scope.time.to_zoned(zone).date().to_string())
        }),
    },
    Function {
        name: "add_days",
        family: Family::Dates,
        parameters: &[need("date", Kind::Text), need("days", Kind::Number)],
        result: Kind::Text,
        about: "The date so many days later, or earlier if negative, in the same form.",
        example: "add_days('2026-02-27', 2)",
        gives: "'2026-03-01'",
        body: Body::Plain(add_days),
    },
    Function {
        name: "in_zone",
        family: Family::Dates,
        parameters: &[need("date", Kind::Text), need("zone", Kind::Zone)],
        result: Kind::Text,
        about: "The instant as the clocks of a zone show it. A local time is taken as that zone's.",
        example: "[in_zone(now(), 'Europe/Paris'), in_zone('2026-07-01T08:00:00', 'Europe/Paris')]",
        gives: "['2026-11-02T10:30:00+01:00', '2026-07-01T08:00:00+02:00']",
        body: Body::Plain(in_zone),
    },
];

/// A date in one of its three forms.
#[derive(Clone)]
pub enum Moment {
    Day(Date),
    Local(DateTime),
    Instant(Zoned),
}

fn date(given: &Given<'_>) -> Result<Value, Fault> {
    let text = given.plain(0);
    let moment = match given.get(1).and_then(Value::as_text) {
        Some(format) => parse(text.trim(), format)
            .ok_or_else(|| given.refuse(0, format!("not a date of the form `{}`", faults::cut(format))))?,
        None => iso(given, 0)?,
    };
    match (given.zone(2)?, moment) {
        (Some(zone), Moment::Local(local)) => place(given, local, zone),
        (_, moment) => done_text(moment.iso()),
    }
}

fn format_date(given: &Given<'_>) -> Result<Value, Fault> {
    let format = given.text(1);
    let moment = match (given.zone(2)?, iso(given, 0)?) {
        (Some(zone), Moment::Instant(instant)) => Moment::Instant(instant.with_time_zone(zone)),
        (_, moment) => moment,
    };
    match moment.format(format) {
        Some(text) => done_text(text),
        None => {
            let said =
                format!("it does not hold all that `{}` asks for, such as the time or the zone", faults::cut(format));
            Err(given.refuse(0, said))
        }
    }
}

fn add_days(given: &Given<'_>) -> Result<Value, Fault> {
    let days = Span::new().days(given.whole(1, 0, -3_652_059, 3_652_059)?);
    let beyond = |_| given.refuse(0, "the outcome lies outside the years -9999 to 9999");
    let moved = match iso(given, 0)? {
        Moment::Day(day) => Moment::Day(day.checked_add(days).map_err(beyond)?),
        Moment::Local(local) => Moment::Local(local.checked_add(days).map_err(beyond)?),
        Moment::Instant(instant) => Moment::Instant(instant.checked_add(days).map_err(beyond)?),
    };
    done_text(moved.iso())
}

fn in_zone(given: &Given<'_>) -> Result<Value, Fault> {
    let zone = given.zone(1)?.unwrap_or(TimeZone::UTC);
    match iso(given, 0)? {
        Moment::Instant(instant) => done_text(Moment::Instant(instant.with_time_zone(zone)).iso()),
        Moment::Local(local) => place(given, local, zone),
        Moment::Day(_) => Err(given.refuse(0, "a day without a time is in no zone")),
    }
}

/// A local time in a zone; where clocks skip it or show it twice, the offset before the change holds.
pub fn place(given: &Given<'_>, local: DateTime, zone: TimeZone) -> Result<Value, Fault> {
    match zone.to_zoned(local) {
        Ok(instant) => done_text(Moment::Instant(instant).iso()),
        Err(_) => Err(given.refuse(0, "the outcome lies outside the years -9999 to 9999")),
    }
}

/// The date of the argument at `index`, in ISO form.
pub fn iso(given: &Given<'_>, index: usize) -> Result<Moment, Fault> {
    let text = given.plain(index);
    read_iso(text.trim()).ok_or_else(|| {
        let said = "not an ISO date (2026-11-02, 2026-11-02T10:30:00, 2026-11-02T10:30:00+01:00); `date(…, format)` reads others";
        given.refuse(index, said)
    })
}

fn read_iso(text: &str) -> Option<Moment> {
    if text.len() == 10 {
        return text.parse().ok().map(Moment::Day);
    }
    // A zone name in brackets is jiff's own notation, not ISO's.
    if text.len() > 64 || text.contains('[') || !text.contains(['T', ' ', 't']) {
        return None;
    }
    let offset = BrokenDownTime::parse("%Y-%m-%dT%H:%M:%S%.f%:z", text.replace(' ', "T")).ok();
    if let Some(offset) = offset.and_then(|parsed| parsed.to_zoned().ok()) {
        return Some(Moment::Instant(offset));
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        let fixed = text.ends_with(['Z', 'z']).then_some(TimeZone::UTC);
        return Some(Moment::Instant(instant.to_zoned(fixed.unwrap_or(TimeZone::UTC))));
    }
    text.parse().ok().map(Moment::Local)
}

fn parse(text: &str, format: &str) -> Option<Moment> {
    let parsed = BrokenDownTime::parse(format, text).ok()?;
    if parsed.offset().is_some() || parsed.iana_time_zone().is_some() {
        return parsed.to_zoned().ok().map(Moment::Instant);
    }
    if parsed.timestamp().is_some() {
        return parsed.to_timestamp().ok().map(|instant| Moment::Instant(instant.to_zoned(TimeZone::UTC)));
    }
    if parsed.hour().is_some() {
        return parsed.to_datetime().ok().map(Moment::Local);
    }
    parsed.to_date().ok().map(Moment::Day)
}

impl Moment {
    /// By a format of strftime; `None` where it asks for more than the date holds.
    pub fn format(&self, format: &str) -> Option<String> {
        match self {
            Moment::Day(day) => strtime::format(format, *day),
            Moment::Local(local) => strtime::format(format, *local),
            Moment::Instant(instant) => strtime::format(format, instant),
        }
        .ok()
    }

    pub fn iso(&self) -> String {
        match self {
            Moment::Day(day) => day.to_string(),
            Moment::Local(local) => local.to_string(),
            Moment::Instant(instant) if instant.offset().is_zero() => instant.timestamp().to_string(),
            Moment::Instant(instant) => instant.timestamp().display_with_offset(instant.offset()).to_string(),
        }
    }
}

/// Whether `format` is one strftime knows: tried on an instant that has everything.
pub fn check_format(format: &str) -> Result<(), String> {
    let sample = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    if !format.contains('%') {
        return Err("not a date format: formats are written as in '%d/%m/%Y'".to_owned());
    }
    strtime::format(format, &sample).map(drop).map_err(|_| {
        "not a date format: an unknown letter follows a `%`; formats are written as in '%d/%m/%Y'".to_owned()
    })
}
