//! Dates as EDI writes them: a code says which digits are what (EDIFACT 2379, X12 1250).

use jiff::civil::{Date, DateTime, ISOWeekDate, Time, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, ToSpan};

use crate::formula::faults;
use crate::formula::functions::dates::{Moment, iso, place};
use crate::formula::functions::{Given, Kind, Parameter, done_text, may, need};
use crate::message::{Fault, Value};

pub const READ: &[Parameter] = &[need("text", Kind::Plain), need("code", Kind::DateCode), may("zone", Kind::Zone)];
pub const WRITE: &[Parameter] = &[need("date", Kind::Text), need("code", Kind::DateCode), may("until", Kind::Text)];

/// The codes, and what stands where. `Y` is a year of four digits, `y` of two (from 69 on the last century), `m` a month, `d` a day, `D` a day
/// of the year, `u` of the week, `w` a week (ISO 8601), `q` a quarter; `H`, `M`, `S` a time, `s` seconds and hundredths if there
/// are any; `z` a zone: `+01` or `UTC`, `Z` with minutes. A `-` is between the two of a period, and may stand there or not.
const FORMS: &[(&str, &str)] = &[
    ("2", "dmy"),
    ("3", "mdy"),
    ("4", "dmY"),
    ("5", "dmYHM"),
    ("101", "ymd"),
    ("102", "Ymd"),
    ("103", "ywu"),
    ("105", "yD"),
    ("201", "ymdHM"),
    ("202", "ymdHMS"),
    ("203", "YmdHM"),
    ("204", "YmdHMS"),
    ("205", "YmdHMZ"),
    ("301", "ymdHMz"),
    ("302", "ymdHMSz"),
    ("303", "YmdHMz"),
    ("304", "YmdHMSz"),
    ("401", "HM"),
    ("402", "HMS"),
    ("602", "Y"),
    ("608", "Yq"),
    ("609", "ym"),
    ("610", "Ym"),
    ("615", "yw"),
    ("616", "Yw"),
    ("708", "Yq-Yq"),
    ("709", "ym-ym"),
    ("710", "Ym-Ym"),
    ("711", "Ymd-Ymd"),
    ("713", "ymdHM-ymdHM"),
    ("715", "yw-yw"),
    ("716", "Yw-Yw"),
    ("717", "ymd-ymd"),
    ("718", "Ymd-Ymd"),
    ("719", "YmdHM-YmdHM"),
    ("CM", "Ym"),
    ("CQ", "Yq"),
    ("CY", "Y"),
    ("D6", "ymd"),
    ("D8", "Ymd"),
    ("DB", "mdY"),
    ("DT", "YmdHMs"),
    ("DTS", "YmdHMS-YmdHMS"),
    ("RD4", "Y-Y"),
    ("RD5", "Ym-Ym"),
    ("RD6", "ymd-ymd"),
    ("RD8", "Ymd-Ymd"),
    ("RDT", "YmdHM-YmdHM"),
    ("RTS", "YmdHMS"),
    ("TM", "HMs"),
    ("TS", "HMS"),
    ("TT", "mdy"),
    ("TU", "yD"),
    ("YM", "ym"),
];

/// The digits of what `code` writes.
fn form(code: &str) -> Result<&'static str, String> {
    FORMS.iter().find(|(known, _)| *known == code).map(|(_, form)| *form).ok_or_else(|| {
        let known: Vec<&str> = FORMS.iter().map(|(known, _)| *known).collect();
        format!("`{}` is no date code known here; these are: {}", faults::cut(code), known.join(" "))
    })
}

/// Whether a code is known, when the configuration is read.
pub fn check_code(code: &str) -> Result<(), String> {
    form(code).map(drop)
}

pub fn first(given: &Given<'_>) -> Result<Value, Fault> {
    read(given, |(begins, _)| begins)
}

pub fn last(given: &Given<'_>) -> Result<Value, Fault> {
    read(given, |(_, ends)| ends)
}

/// What a text says: its beginning and its end.
#[derive(Clone)]
enum When {
    Moment(Moment),
    Time(Time),
}

fn read(given: &Given<'_>, choose: fn((When, When)) -> When) -> Result<Value, Fault> {
    let (text, code) = (given.plain(0), given.text(1));
    let form = form(code).map_err(|said| given.refuse(1, said))?;
    let Some(both) = both(text.trim(), form) else {
        let zone = if form.contains('z') { "; its zone is `UTC`, `GMT` or hours as in `+01`" } else { "" };
        return Err(given.refuse(0, format!("not a date written by code `{code}`, {}{zone}", shown(form))));
    };
    match (given.zone(2)?, choose(both)) {
        (Some(zone), When::Moment(Moment::Local(local))) => place(given, local, zone),
        (_, When::Moment(moment)) => done_text(moment.iso()),
        (_, When::Time(time)) => done_text(time.to_string()),
    }
}

fn both(text: &str, form: &str) -> Option<(When, When)> {
    let Some((one, other)) = form.split_once('-') else {
        return Parts::read(text, form)?.both();
    };
    if text.len() > 64 {
        return None;
    }
    let (begins, ends) = match text.split_once('-') {
        Some(pair) => pair,
        None => text.split_at_checked(text.len() / 2)?,
    };
    Some((Parts::read(begins, one)?.both()?.0, Parts::read(ends, other)?.both()?.1))
}

/// `CCYYMMDD`
fn shown(form: &str) -> String {
    let letters = |letter| match letter {
        'Y' => "CCYY",
        'y' => "YY",
        'm' | 'M' => "MM",
        'd' => "DD",
        'D' => "DDD",
        'u' => "D",
        'w' => "WW",
        'q' => "Q",
        'H' => "HH",
        'S' => "SS",
        's' => "[SS[SS]]",
        'z' => "ZZZ",
        'Z' => "ZHHMM",
        _ => "-",
    };
    form.chars().map(letters).collect()
}

#[derive(Default)]
struct Parts {
    year: Option<i16>,
    quarter: Option<i8>,
    month: Option<i8>,
    day: Option<i8>,
    day_of_year: Option<i16>,
    week: Option<i8>,
    weekday: Option<i8>,
    time: Option<(i8, i8, i8, i32)>,
    offset: Option<Offset>,
}

impl Parts {
    fn read(text: &str, form: &str) -> Option<Parts> {
        let mut parts = Parts::default();
        let mut rest = text;
        for letter in form.chars() {
            match letter {
                'Y' => parts.year = Some(take(&mut rest, 4)?),
                'y' => {
                    let year = take(&mut rest, 2)?;
                    parts.year = Some(if year < 69 { 2000 + year } else { 1900 + year });
                }
                'q' => parts.quarter = Some(narrow(&mut rest, 1)?),
                'm' => parts.month = Some(narrow(&mut rest, 2)?),
                'd' => parts.day = Some(narrow(&mut rest, 2)?),
                'D' => parts.day_of_year = Some(take(&mut rest, 3)?),
                'w' => parts.week = Some(narrow(&mut rest, 2)?),
                'u' => parts.weekday = Some(narrow(&mut rest, 1)?),
                'H' => parts.time.get_or_insert_default().0 = narrow(&mut rest, 2)?,
                'M' => parts.time.get_or_insert_default().1 = narrow(&mut rest, 2)?,
                'S' => parts.time.get_or_insert_default().2 = narrow(&mut rest, 2)?,
                's' => parts.seconds(&mut rest)?,
                _ => parts.offset = Some(offset(std::mem::take(&mut rest), letter == 'Z')?),
            }
        }
        rest.is_empty().then_some(parts)
    }

    /// X12 337: seconds, tenths, hundredths, each if it is there.
    fn seconds(&mut self, rest: &mut &str) -> Option<()> {
        let time = self.time.get_or_insert_default();
        if !rest.is_empty() {
            time.2 = narrow(rest, 2)?;
        }
        time.3 = match rest.len() {
            0 => 0,
            1 => i32::from(take(rest, 1)?) * 100_000_000,
            _ => i32::from(take(rest, 2)?) * 10_000_000,
        };
        Some(())
    }

    fn both(self) -> Option<(When, When)> {
        if self.year.is_none() {
            let (hour, minute, second, nanosecond) = self.time?;
            let time = When::Time(Time::new(hour, minute, second, nanosecond).ok()?);
            return Some((time.clone(), time));
        }
        let (begins, ends) = self.days()?;
        let Some(time) = self.time else {
            return Some((When::Moment(Moment::Day(begins)), When::Moment(Moment::Day(ends))));
        };
        let local = local(begins, time)?;
        let moment = match self.offset {
            Some(offset) => Moment::Instant(offset.to_timestamp(local).ok()?.to_zoned(TimeZone::fixed(offset))),
            None => Moment::Local(local),
        };
        Some((When::Moment(moment.clone()), When::Moment(moment)))
    }

    /// The first and the last day.
    fn days(&self) -> Option<(Date, Date)> {
        let year = self.year?;
        let until = |begins: Date, span: Span| Some((begins, begins.checked_add(span).ok()?.yesterday().ok()?));
        if let Some(week) = self.week {
            let day = self.weekday.map_or(Some(Weekday::Monday), |day| Weekday::from_monday_one_offset(day).ok())?;
            let begins = ISOWeekDate::new(year, week, day).ok()?.date();
            return until(begins, if self.weekday.is_some() { 1.day() } else { 1.week() });
        }
        if let Some(day) = self.day_of_year {
            let begins = Date::new(year, 1, 1).ok()?.with().day_of_year(day).build().ok()?;
            return Some((begins, begins));
        }
        if let Some(quarter) = self.quarter {
            return until(
                Date::new(year, quarter.checked_sub(1)?.checked_mul(3)?.checked_add(1)?, 1).ok()?,
                3.months(),
            );
        }
        match (self.month, self.day) {
            (Some(month), Some(day)) => Date::new(year, month, day).ok().map(|day| (day, day)),
            (Some(month), None) => until(Date::new(year, month, 1).ok()?, 1.month()),
            (None, _) => until(Date::new(year, 1, 1).ok()?, 1.year()),
        }
    }
}

/// 24:00 is the end of a day (ISO 8601).
fn local(day: Date, (hour, minute, second, nanosecond): (i8, i8, i8, i32)) -> Option<DateTime> {
    if (hour, minute, second, nanosecond) == (24, 0, 0, 0) {
        return day.tomorrow().ok().map(|day| day.to_datetime(Time::midnight()));
    }
    Some(day.to_datetime(Time::new(hour, minute, second, nanosecond).ok()?))
}

/// The next `digits` digits.
fn take(rest: &mut &str, digits: usize) -> Option<i16> {
    let (taken, after) = rest.split_at_checked(digits)?;
    *rest = after;
    if taken.bytes().all(|byte| byte.is_ascii_digit()) { taken.parse().ok() } else { None }
}

fn narrow(rest: &mut &str, digits: usize) -> Option<i8> {
    i8::try_from(take(rest, digits)?).ok()
}

/// `UTC`, `+01`, with minutes `+0130`.
fn offset(text: &str, minutes: bool) -> Option<Offset> {
    if matches!(text, "UTC" | "GMT") && !minutes {
        return Some(Offset::UTC);
    }
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let hours = i32::from(take(&mut rest, 2)?);
    let minutes = if minutes { i32::from(take(&mut rest, 2)?) } else { 0 };
    if !rest.is_empty() || hours > 18 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 60 + minutes) * 60).ok()
}

pub fn write(given: &Given<'_>) -> Result<Value, Fault> {
    let code = given.text(1);
    let form = form(code).map_err(|said| given.refuse(1, said))?;
    match (form.split_once('-'), given.get(2)) {
        (None, None) => done_text(written(given, 0, form)?),
        (Some((one, other)), Some(_)) => {
            // The periods of X12 have the hyphen, those of EDIFACT are written without.
            let hyphen = if code.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "-" };
            done_text(format!("{}{hyphen}{}", written(given, 0, one)?, written(given, 2, other)?))
        }
        (Some(_), None) => Err(given.refuse(1, "a period, which wants a second date")),
        (None, Some(_)) => Err(given.refuse(1, "not a period: it has one date")),
    }
}

fn written(given: &Given<'_>, index: usize, form: &str) -> Result<String, Fault> {
    let moment = iso(given, index)?;
    let week = form.contains('w');
    let format: String = form.chars().filter(|letter| *letter != 's').map(|letter| strftime(letter, week)).collect();
    moment.format(&format).ok_or_else(|| {
        given.refuse(
            index,
            format!("it does not hold all that is written ({}), such as the time or the zone", shown(form)),
        )
    })
}

fn strftime(letter: char, week: bool) -> &'static str {
    match letter {
        // The year a week belongs to.
        'Y' if week => "%G",
        'y' if week => "%g",
        'Y' => "%Y",
        'y' => "%y",
        'q' => "%q",
        'm' => "%m",
        'd' => "%d",
        'D' => "%j",
        'w' => "%V",
        'u' => "%u",
        'H' => "%H",
        'M' => "%M",
        'S' => "%S",
        'Z' => "%z",
        _ => "%:::z",
    }
}

#[cfg(test)]
mod tests {
    use crate::formula::language::Sample;
    use crate::formula::{Formula, SAMPLE};

    fn run(formula: &str) -> String {
        let sample = Sample::new(SAMPLE);
        match Formula::parse(formula) {
            Err(issues) => issues[0].message.clone(),
            Ok(formula) => match formula.evaluate(&sample.scope()) {
                Ok(value) => value.as_text().unwrap_or("not text").to_owned(),
                Err(fault) => format!("{}: {}", fault.code(), fault.sentence()),
            },
        }
    }

    /// Reads, and writes the beginning again.
    fn check(text: &str, code: &str, begins: &str, ends: &str) {
        assert_eq!(run(&format!("edi_date('{text}', '{code}')")), begins, "{text} {code}");
        assert_eq!(run(&format!("edi_date_end('{text}', '{code}')")), ends, "{text} {code}");
        let until = if begins != ends && super::form(code).is_ok_and(|form| form.contains('-')) {
            format!(", '{ends}'")
        } else {
            String::new()
        };
        assert_eq!(run(&format!("edi_date_text('{begins}', '{code}'{until})")), text, "{begins} {code}");
    }

    #[test]
    fn dates_are_read_by_their_code_and_written_again() {
        check("021126", "2", "2026-11-02", "2026-11-02");
        check("691102", "101", "1969-11-02", "1969-11-02");
        check("20261102", "102", "2026-11-02", "2026-11-02");
        check("26306", "105", "2026-11-02", "2026-11-02");
        check("26451", "103", "2026-11-02", "2026-11-02");
        check("202611021030", "203", "2026-11-02T10:30:00", "2026-11-02T10:30:00");
        check("20261102103059", "204", "2026-11-02T10:30:59", "2026-11-02T10:30:59");
        check("202611021030+0130", "205", "2026-11-02T10:30:00+01:30", "2026-11-02T10:30:00+01:30");
        check("202611021030+00", "303", "2026-11-02T10:30:00Z", "2026-11-02T10:30:00Z");
        check("20261102103059-05", "304", "2026-11-02T10:30:59-05:00", "2026-11-02T10:30:59-05:00");
        check("2026", "602", "2026-01-01", "2026-12-31");
        check("20264", "608", "2026-10-01", "2026-12-31");
        check("202402", "610", "2024-02-01", "2024-02-29");
        check("202653", "616", "2026-12-28", "2027-01-03");
        check("2026110220261115", "718", "2026-11-02", "2026-11-15");
        check("202645202647", "716", "2026-11-02", "2026-11-22");
        check("202611021030202611021200", "719", "2026-11-02T10:30:00", "2026-11-02T12:00:00");
        check("20261102-20261115", "RD8", "2026-11-02", "2026-11-15");
        check("202611021030", "DT", "2026-11-02T10:30:00", "2026-11-02T10:30:00");
    }

    #[test]
    fn what_is_written_in_several_ways_is_read() {
        let check = |formula: &str, expect: &str| assert_eq!(run(formula), expect, "{formula}");
        check("edi_date('20261102-20261115', '718')", "2026-11-02");
        check("edi_date_end('2026110220261115', 'RD8')", "2026-11-15");
        check("edi_date(' 20261102 ', 'D8')", "2026-11-02");
        check("edi_date(20261102, 'D8')", "2026-11-02");
        check("edi_date(concat('20261102', '10300025'), 'DT')", "2026-11-02T10:30:00.25");
        check("edi_date('20261102103059', 'DT', 'Europe/Paris')", "2026-11-02T10:30:59+01:00");
        check("edi_date('202611022400', '203')", "2026-11-03T00:00:00");
        check("edi_date('202611021030GMT', '303', 'Europe/Paris')", "2026-11-02T10:30:00Z");
        check("edi_date('1030', 'TM')", "10:30:00");
        check("edi_date('103059', '402')", "10:30:59");
        check("edi_date_text('2026-11-02T10:30:00Z', 'D8')", "20261102");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        let check = |text: &str, code: &str| {
            let said = run(&format!("edi_date('{text}', '{code}')"));
            let expect = format!("FORMULA-VALUE: `edi_date`: '{text}' is text: not a date written by code `{code}`");
            assert!(said.starts_with(&expect), "{said}");
        };
        for text in
            ["", "2026", "00000000", "20261302", "20260230", "2026110", "202611020", "2026-11-02", "+0261102", "٢٠٢٦"]
        {
            check(text, "102");
        }
        check("202660", "616");
        check("202653", "715");
        check("20265", "608");
        check("20260", "608");
        check("26366", "TU");
        check("202611022401", "203");
        check("2026110210305", "DT");
        check("20261102103000251", "DT");
        check("202611021030CET", "303");
        check("202611021030+0100", "303");
        check("2026110220261", "718");
        check("2026110220261é", "718");
        assert_eq!(run("edi_date('x', '999')").split(';').next(), Some("`999` is no date code known here"));
        assert_eq!(run("edi_date('x', 102)"), "`edi_date` wants a date code such as '102' or 'D8' as `code`");
        let no_time = run("edi_date_text('2026-11-02', '203')");
        assert!(no_time.contains("it does not hold all that is written (CCYYMMDDHHMM)"), "{no_time}");
        assert!(run("edi_date_text('2026-11-02', '718')").contains("wants a second date"));
        assert!(run("edi_date_text('2026-11-02', '102', '2026-11-02')").contains("it has one date"));
    }

    #[test]
    fn no_code_stands_twice() {
        let mut codes: Vec<_> = super::FORMS.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), super::FORMS.len());
    }
}
