//! EDI: what stands in an EDIFACT or X12 document as text, read and written: numbers, dates by their format codes, groups by
//! their qualifiers, and what a code place is about.

pub mod dates;

use rust_decimal::Decimal;

use super::{Body, Family, Function, Given, Kind, done_text, may, need, numbers};
use crate::edi::directory::{Directory, Item, Library, label};
use crate::edi::reader::MessageType;
use crate::edi::syntax::{Dialect, Tag};
use crate::formula::faults;
use crate::message::{Fault, Value};

pub const ALL: &[Function] = &[
    Function {
        name: "edi_number",
        family: Family::Edi,
        parameters: &[need("text", Kind::Plain), may("mark_or_decimals", Kind::Plain)],
        result: Kind::Number,
        about: "The number of an EDI element. Its decimal mark is `,` or `.`, or only the one given; its sign stands before or behind it. \
                Given a number instead of a mark, so many of its digits are decimals (X12 `N2`: `1250` is 12.50) and it has no mark.",
        example: "[edi_number('-12,5'), edi_number('12.50-'), edi_number('1250', 2)]",
        gives: "[-12.5, -12.50, 12.50]",
        body: Body::Plain(number),
    },
    Function {
        name: "edi_date",
        family: Family::Edi,
        parameters: dates::READ,
        result: Kind::Text,
        about: "The date of an EDI element, in ISO form, by the code that says how it is written: EDIFACT 2379 (`102`, `203`), X12 1250 (`D8`, \
                `RD8`). X12 states date and time apart: `edi_date(concat($.DTM.DTM02, $.DTM.DTM03), 'DT')`. Of a week, a month or a period \
                its first day; a time alone (`TM`, `401`) is `10:30:00`. A zone makes a local time an instant.",
        example: "[edi_date('20261102', '102'), edi_date('202611021030', '203', 'Europe/Paris'), edi_date('202645', '616')]",
        gives: "['2026-11-02', '2026-11-02T10:30:00+01:00', '2026-11-02']",
        body: Body::Plain(dates::first),
    },
    Function {
        name: "edi_date_end",
        family: Family::Edi,
        parameters: dates::READ,
        result: Kind::Text,
        about: "As `edi_date`, but of a week, a month or a period its last day.",
        example: "[edi_date_end('2026110220261115', '718'), edi_date_end('202645', '616'), edi_date_end('20261102', 'D8')]",
        gives: "['2026-11-15', '2026-11-08', '2026-11-02']",
        body: Body::Plain(dates::last),
    },
    Function {
        name: "edi_date_text",
        family: Family::Edi,
        parameters: dates::WRITE,
        result: Kind::Text,
        about: "An ISO date as an EDI element, by the code that says how it is written, as in `edi_date`. A period has two dates. What \
                the code has no place for is left out, the zone too: `in_zone` brings an instant to the clocks of the partner.",
        example: "[edi_date_text('2026-11-02T10:30:00', '203'), edi_date_text('2026-11-02', '718', '2026-11-15')]",
        gives: "['202611021030', '2026110220261115']",
        body: Body::Plain(dates::write),
    },
    Function {
        name: "edi_qualified",
        family: Family::Edi,
        parameters: &[
            need("list", Kind::List),
            need("qualifier", Kind::Text),
            need("code", Kind::Plain),
            may("field", Kind::Text),
        ],
        result: Kind::Any,
        about: "The first item of a list whose qualifier is the code, or the field within it; both are names joined by dots. One that is \
                not there is a fault that `coalesce` takes: `edi_qualified($.NAD_group, 'NAD.E3035', 'BY', 'NAD.C082.E3039')` is the buyer.",
        example: "[edi_qualified($.lines, 'gtin', '96385074', 'net'), coalesce(edi_qualified($.lines, 'gtin', '1'), 'none')]",
        gives: "[5.00, 'none']",
        body: Body::Plain(qualified),
    },
    Function {
        name: "edi_label",
        family: Family::Edi,
        parameters: &[need("key_or_release", Kind::Text), may("key", Kind::Text)],
        result: Kind::Text,
        about: "What a segment or element is about, in two or three words, for people; of one without a label its key. The key is that of \
                an EDI document. Of keys that both standards have, or of places of another release than 4010, the release comes first.",
        example: "[edi_label('NAD.E3035'), edi_label('PO102'), edi_label('D.96A', 'DTM'), edi_label('004010', 'DTM')]",
        gives: "['role of the party', 'quantity ordered', 'date or period', 'date']",
        body: Body::Plain(labelled),
    },
];

fn number(given: &Given<'_>) -> Result<Value, Fault> {
    let text = given.plain(0);
    let read = match given.get(1) {
        None => decimal(&text, &['.', ',']).ok_or("not a number with `,` or `.` before its decimals"),
        Some(Value::Number(_)) => {
            let decimals = given.whole(1, 0, 0, 28)?;
            implied(&text, decimals as u32).ok_or("not a number without decimal mark")
        }
        Some(mark) => match mark.as_text() {
            Some(".") => decimal(&text, &['.']).ok_or("not a number with `.` before its decimals"),
            Some(",") => decimal(&text, &[',']).ok_or("not a number with `,` before its decimals"),
            _ => {
                return Err(
                    given.refuse(1, "a decimal mark is `,` or `.`; X12 `N2` has 2 decimals, written without quotes")
                );
            }
        },
    };
    read.map(Value::from).map_err(|why| given.refuse(0, why))
}

/// `-12,5`, `12.5-`, `,5`.
fn decimal(text: &str, marks: &[char]) -> Option<Decimal> {
    let text = text.trim();
    let (negative, digits) = match (text.strip_prefix('-'), text.strip_suffix('-')) {
        (Some(_), Some(_)) => return None,
        (Some(digits), None) | (None, Some(digits)) => (true, digits),
        (None, None) => (false, text.strip_prefix('+').or(text.strip_suffix('+')).unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once(marks).unwrap_or((digits, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    numbers::read(&format!("{sign}0{whole}{point}{fraction}"), ".", "")
}

/// The last `decimals` digits are decimals.
fn implied(text: &str, decimals: u32) -> Option<Decimal> {
    let mut number = decimal(text, &[])?;
    number.set_scale(decimals).ok()?;
    Some(number)
}

fn qualified(given: &Given<'_>) -> Result<Value, Fault> {
    let (qualifier, code) = (given.text(1), given.plain(2));
    let Some(item) = given.list(0).iter().find(|item| has(item, qualifier, &code)) else {
        return Err(given.nothing(0, &format!("no item has '{}' as `{qualifier}`", faults::cut(&code))));
    };
    let Some(field) = given.get(3).and_then(Value::as_text) else {
        return Ok(item.clone());
    };
    match field.split('.').try_fold(item, |value, name| value.get(name)) {
        Some(value) => Ok(value.clone()),
        None => {
            Err(given.nothing(0, &format!("the item with '{}' as `{qualifier}` has no `{field}`", faults::cut(&code))))
        }
    }
}

/// Whether `code` stands at a path; where a list is on it, in any of its items.
fn has(value: &Value, path: &str, code: &str) -> bool {
    if let Value::List(items) = value {
        return items.iter().any(|item| has(item, path, code));
    }
    match path.split_once('.') {
        _ if path.is_empty() => value.plain().is_some_and(|text| text == *code),
        Some((name, rest)) => value.get(name).is_some_and(|value| has(value, rest, code)),
        None => value.get(path).is_some_and(|value| has(value, "", code)),
    }
}

fn labelled(given: &Given<'_>) -> Result<Value, Fault> {
    let (release, path) = match given.get(1).and_then(Value::as_text) {
        Some(key) => (Some(given.text(0)), key),
        None => (None, given.text(0)),
    };
    let key = path.rsplit('.').next().unwrap_or(path);
    let found = match release {
        None => label_of(Dialect::Edifact, "96A", key).or_else(|| label_of(Dialect::X12, "004010", key)),
        Some(release) => match release.strip_prefix("D.").or(release.strip_prefix("S.")) {
            Some(release) => label_of(Dialect::Edifact, release, key),
            None if release.starts_with(|c: char| c.is_ascii_digit()) => label_of(Dialect::X12, release, key),
            None => return Err(given.refuse(0, "not a release such as 'D.96A' or '004010'")),
        },
    };
    done_text(found.unwrap_or(key))
}

/// The label of `NAD`, `NAD_group`, `DTM_2`, `E3035`, `C082`, `PO102`, `C00101`.
fn label_of(dialect: Dialect, release: &str, key: &str) -> Option<&'static str> {
    let name = key.split('_').next().unwrap_or(key);
    if dialect == Dialect::Edifact {
        let number = name.strip_prefix('E').filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        return exact(dialect, number.unwrap_or(name));
    }
    exact(dialect, name).or_else(|| {
        let (tag, place) = name.split_at_checked(name.len().checked_sub(2)?)?;
        let place = place.parse::<usize>().ok()?.checked_sub(1)?;
        let position = directory(release)?.segment_named(Tag::new(tag))?.positions.get(place)?;
        match &position.item {
            Item::Element(def) => label(dialect, def.id),
            Item::Composite(id, ..) => label(dialect, *id),
        }
    })
}

/// Tags are cut to four letters: what is longer has no label of its own.
fn exact(dialect: Dialect, name: &str) -> Option<&'static str> {
    label(dialect, Tag::new(name)).filter(|_| name.len() <= 4)
}

/// The shipped X12 release nearest to `release`.
fn directory(release: &str) -> Option<&'static Directory> {
    let order = MessageType { name: "850".to_owned(), release: release.to_owned(), ..MessageType::default() };
    Library::shipped().find(Dialect::X12, &order, 0).map(|found| found.directory)
}

#[cfg(test)]
mod tests {
    use crate::formula::language::Sample;
    use crate::formula::{Formula, SAMPLE};

    fn check(formula: &str, expect: &str) {
        let mut sample = Sample::new(SAMPLE);
        sample.document = crate::message::json::read(DOCUMENT.as_bytes()).expect("JSON");
        let parsed = Formula::parse(formula).unwrap_or_else(|issues| panic!("{formula}: {issues:?}"));
        let given = parsed.evaluate(&sample.scope()).map_or_else(
            |fault| format!("{}: {}", fault.code(), fault.sentence()),
            |value| crate::message::json::to_text(&value),
        );
        assert_eq!(given, expect, "{formula}");
    }

    const DOCUMENT: &str = r#"{"empty": [],
        "DTM": [{"C507":{"E2005":"137","E2380":"20260105","E2379":"102"}},{"C507":{"E2005":"2","E2380":"20260112"}}],
        "NAD_group": [{"NAD":{"E3035":"SU"}},{"NAD":{"E3035":"BY","C082":{"E3039":"5412345000006"}}}],
        "ALI": [{"E4183":["1","7"]}]}"#;

    #[test]
    fn numbers_are_read_or_refused() {
        check("edi_number('12,5')", "12.5");
        check("edi_number(' 012.50 ')", "12.50");
        check("edi_number(',5')", "0.5");
        check("edi_number('5.')", "5");
        check("edi_number('+7')", "7");
        check("edi_number('12.5', '.')", "12.5");
        check("edi_number('-5', 2)", "-0.05");
        check("edi_number('5-', 0)", "-5");
        check("edi_number(1250, 2)", "12.50");
        check("edi_number('1234567890123456789012345678', 28)", "0.1234567890123456789012345678");
        let why = "not a number with `,` or `.` before its decimals";
        for wrong in ["", "-", ".", "1.234,5", "1,234,5", "-5-", "12E3", "a", "1 000", "0x1", "--1", "١"] {
            let text = if wrong.is_empty() { "''".to_owned() } else { format!("'{wrong}'") };
            check(&format!("edi_number({text})"), &format!("FORMULA-VALUE: `edi_number`: {text} is text: {why}"));
        }
        let other = "FORMULA-VALUE: `edi_number`: '12,5' is text: not a number with `.` before its decimals";
        check("edi_number('12,5', '.')", other);
        let marked = "FORMULA-VALUE: `edi_number`: '12.50' is text: not a number without decimal mark";
        check("edi_number('12.50', 2)", marked);
        let long = "9".repeat(29);
        check(&format!("edi_number('{long}')"), &format!("FORMULA-VALUE: `edi_number`: '{long}' is text: {why}"));
    }

    #[test]
    fn what_is_qualified_is_found_or_missing() {
        check("edi_qualified($.DTM, 'C507.E2005', '2', 'C507.E2380')", "\"20260112\"");
        check("edi_qualified($.DTM, 'C507.E2005', 137, 'C507.E2379')", "\"102\"");
        check("edi_qualified($.NAD_group, 'NAD.E3035', 'SU')", r#"{"NAD":{"E3035":"SU"}}"#);
        check("edi_qualified($.ALI, 'E4183', '7', 'E4183')", r#"["1","7"]"#);
        let none = "FORMULA-MISSING: `edi_qualified`: no item has 'DP' as `NAD.E3035`";
        check("edi_qualified($.NAD_group, 'NAD.E3035', 'DP')", none);
        check("edi_qualified($.empty, 'NAD.E3035', 'DP')", none);
        let without = "FORMULA-MISSING: `edi_qualified`: the item with 'SU' as `NAD.E3035` has no `NAD.C082.E3039`";
        check("edi_qualified($.NAD_group, 'NAD.E3035', 'SU', 'NAD.C082.E3039')", without);
        check(
            "coalesce(edi_qualified($.NAD_group, 'NAD.E3035', 'DP'), edi_qualified($.NAD_group, 'NAD.E3035', 'BY', 'NAD.C082.E3039'))",
            "\"5412345000006\"",
        );
        check("coalesce(edi_qualified($.TAX, 'E5283', '7'), null)", "null");
    }

    #[test]
    fn labels_are_those_of_the_key() {
        check("edi_label('NAD_group')", "\"party\"");
        check("edi_label('$.LIN_group[*].PRI_group_2')", "\"price\"");
        check("edi_label('C082')", "\"party\"");
        check("edi_label('005010', 'PO1_loop')", "\"order line\"");
        check("edi_label('PO1.PO104')", "\"unit price\"");
        check("edi_label('005010', 'PO199')", "\"PO199\"");
        check("edi_label('E99999')", "\"E99999\"");
        check("edi_label('')", "\"\"");
        check("edi_label('é')", "\"é\"");
        let release = "FORMULA-VALUE: `edi_label`: 'ORDERS' is text: not a release such as 'D.96A' or '004010'";
        check("edi_label('ORDERS', 'NAD')", release);
    }
}
