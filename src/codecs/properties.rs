//! What holds for any bytes and any document: nothing panics, reading ends, and what is written reads back the same.

use proptest::collection::vec;
use proptest::prelude::*;

use super::testing::read;
use crate::message::{Map, Text, Value};

const FIXED: &str = "
format: fixed
fixed:
  fields:
    - { name: a, width: 4 }
    - { name: n, width: 6, kind: number, decimals: 2 }
    - { name: m, width: 9, kind: number }
    - { name: b, width: 3, pad: left, fill: '*' }
";

const ALL: &[&str] = &[
    "format: json",
    "format: ndjson",
    "{ format: ndjson, ndjson: { max_record: 8B } }",
    "format: csv",
    "{ format: csv, csv: { message: file } }",
    "{ format: csv, csv: { delimiter: ';', header: false, columns: [a, b], numbers: [b], trim: true, max_record: 16B } }",
    "{ format: csv, csv: { charset: windows-1252 } }",
    "format: xml",
    "{ format: xml, xml: { record: a, namespaces: strip, max_record: 64B } }",
    FIXED,
    "format: edifact",
    "{ format: edifact, edifact: { charset: latin1, max_message: 64B, findings: { EDI-NO-END: warn, EDI-COUNT: ignore } } }",
    "format: x12",
    "{ format: x12, x12: { findings: { EDI-COUNT: ignore, EDI-REFERENCE: ignore, EDI-NO-END: warn, EDI-STRAY: reject_message } } }",
    "{ format: fixed, fixed: { short_lines: true, records: [{ name: a, code: a, fields: [{ name: b, width: 3 }] }] } }",
];

/// Bytes, half of them made of the signs that mean something in one of the formats.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let signs = prop::sample::select(
        &[
            "<a>",
            "</a>",
            "<a/>",
            "<",
            ">",
            "<!--",
            "-->",
            "<![CDATA[",
            "]]>",
            "<?xml encoding='utf-16'?>",
            "&amp;",
            "&",
            "<!DOCTYPE a",
            "a='1'",
            "\"",
            "\"\"",
            ";",
            ",",
            "\n",
            "\r\n",
            "\r",
            "{",
            "}",
            "[",
            "]",
            ":",
            "1",
            "-0.5e9",
            "a",
            "b",
            " ",
            "\u{e9}",
            "\u{feff}",
            "***",
            "UNA:+.? '",
            "UNA|*,! ~",
            "UNB+UNOC:3+A+B+260105:0930+1'",
            "UNG+ORDERS+A+B+260105:0930+1+UN+D:96A'",
            "UNH+1+ORDERS:D:96A:UN'BGM+220+1+9'DTM+137:20260105:102'UNS+S'UNT+5+1'",
            "UNH+1+X:D:96A:UN'",
            "UNT+2+1'",
            "UNT+3+1'",
            "UNE+1+1'",
            "UNZ+1+1'",
            "ISA*00*          *00*          *ZZ*A              *ZZ*B              *260105*0930*U*00401*000000001*0*P*>~",
            "GS*PO*A*B*20260105*0930*1*X*004010~",
            "ST*850*0001~BEG*00*SA*1**20260105~PO1**1*EA*1~SE*4*0001~",
            "ST*999999*1~",
            "SE*2*1~",
            "GE*1*1~",
            "IEA*1*000000001~",
            "TA1*1~",
            "'",
            "~",
            "+",
            "?",
        ][..],
    );
    let sign =
        prop_oneof![4 => signs.prop_map(|sign| sign.as_bytes().to_vec()), 1 => any::<u8>().prop_map(|byte| vec![byte])];
    prop_oneof![vec(any::<u8>(), 0..200), vec(sign, 0..60).prop_map(|signs| signs.concat())]
}

fn character() -> impl Strategy<Value = char> {
    prop_oneof![4 => prop::char::range(' ', '~'), 1 => prop::sample::select(&['\n', '\r', '\t', 'é', '€', '日', '😀'][..])]
}

fn text(most: usize) -> impl Strategy<Value = String> {
    vec(character(), 0..most).prop_map(String::from_iter)
}

fn name() -> impl Strategy<Value = String> {
    vec(prop::char::range('a', 'e'), 1..4).prop_map(String::from_iter)
}

fn number() -> impl Strategy<Value = Value> {
    (any::<i64>(), 0_u32..10).prop_map(|(digits, scale)| rust_decimal::Decimal::new(digits, scale).into())
}

fn json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        text(30).prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ];
    scalar.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((text(8), inner), 0..25).prop_map(|fields| Value::Map(fields.into_iter().collect())),
        ]
    })
}

/// Rows that all have the same columns.
fn rows() -> impl Strategy<Value = (Vec<String>, Value)> {
    let columns = vec(text(8), 1..20).prop_map(distinct);
    columns.prop_flat_map(|columns| {
        let row = vec(text(12), columns.len()..=columns.len());
        let names = columns.clone();
        let map = row.prop_map(move |cells| Value::Map(names.iter().map(String::as_str).zip(cells).collect()));
        (Just(columns), vec(map, 1..6).prop_map(Value::from))
    })
}

fn distinct(names: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    names.into_iter().for_each(|name| {
        if !kept.contains(&name) {
            kept.push(name)
        }
    });
    kept
}

/// What an element can be when read: text; attributes, then text or elements; two of a name are a list.
fn element() -> impl Strategy<Value = Value> {
    text(12).prop_map(Value::from).prop_recursive(4, 30, 4, |inner| {
        let children = prop_oneof![inner.clone(), vec(inner, 2..4).prop_map(Value::from)];
        let attributes = vec((name(), text(6)), 0..3);
        (attributes, vec((name(), children), 0..4), text(6)).prop_map(|(attributes, children, text)| {
            let mut map: Map = attributes.into_iter().map(|(name, value)| (format!("@{name}"), value)).collect();
            if children.is_empty() && !map.is_empty() && !text.is_empty() {
                map.insert("#text", text.as_str());
            }
            children.into_iter().for_each(|(name, child)| drop(map.insert(name, child)));
            if map.is_empty() { Value::from(text) } else { Value::Map(map) }
        })
    })
}

fn line() -> impl Strategy<Value = Value> {
    let plain = |text: String| text.replace(['\n', '\r'], "x");
    let cell = move |most| text(most).prop_map(plain);
    let price = prop::option::of((-99_999_i64..999_999).prop_map(|cents| rust_decimal::Decimal::new(cents, 2)));
    let amount =
        prop::option::of((-999_999_i64..9_999_999, 0_u32..5).prop_map(|(d, s)| rust_decimal::Decimal::new(d, s)));
    (cell(5), price, amount, cell(4)).prop_map(|(a, n, m, b)| {
        let mut map = Map::new();
        map.insert("a", a.trim_end_matches(' '));
        n.into_iter().for_each(|n| drop(map.insert("n", n)));
        m.into_iter().for_each(|m| drop(map.insert("m", m)));
        map.insert("b", b.trim_start_matches('*'));
        Value::Map(map)
    })
}

fn round_trip(yaml: &str, document: &Value) -> Result<(), TestCaseError> {
    let codec = read(yaml);
    let bytes = codec.encode(document).map_err(|fault| TestCaseError::fail(fault.to_string()))?;
    let back = codec.decode(&bytes).map_err(|fault| TestCaseError::fail(format!("{fault}: {bytes:?}")))?;
    prop_assert_eq!(&back, document, "{:?}", bytes);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in bytes()) {
        for yaml in ALL {
            let codec = read(yaml);
            let _ = codec.decode(&bytes);
            let Some(mut records) = codec.records(Box::new(&bytes[..])) else { continue };
            let mut before = 0;
            while let Some(Ok(record)) = records.next() {
                let (position, line) = (records.position(), records.line());
                prop_assert!(before < position && position <= bytes.len() as u64, "{}: {} {}", yaml, before, position);
                prop_assert_eq!(line, 1 + bytes[..position as usize].iter().filter(|byte| **byte == b'\n').count() as u64);
                before = position;
                if let Ok(document) = &record.document {
                    let alone = codec.decode(&record.bytes()).map_err(|fault| fault.to_string());
                    prop_assert_eq!(alone.as_ref(), Ok(document), "{}", yaml);
                }
            }
            prop_assert!(records.next().is_none());
        }
    }

    #[test]
    fn json_reads_back(document in json()) {
        round_trip("format: json", &document)?;
        round_trip("json: { indent: true }", &document)?;
        round_trip("format: ndjson", &document)?;
        round_trip("{ format: ndjson, ndjson: { message: file } }", &Value::List(vec![document.clone(), document]))?;
    }

    #[test]
    fn rows_read_back((columns, rows) in rows()) {
        for options in ["", ", delimiter: ';', quote: \"'\", line_end: crlf", ", trim: true"] {
            // Names are trimmed too: two may become the same.
            if options.contains("trim") && columns.iter().any(|name| name.trim() != name) {
                continue;
            }
            round_trip(&format!("{{ format: csv, csv: {{ message: file{options} }} }}"), &rows)?;
        }
    }

    #[test]
    fn elements_read_back(root in element(), name in name()) {
        let document = Value::Map([(Text::from(name), root)].into_iter().collect());
        round_trip("format: xml", &document)?;
        round_trip("{ format: xml, xml: { indent: true, charset: latin1 } }", &document)?;
    }

    #[test]
    fn lines_read_back(line in line()) {
        round_trip(FIXED, &line)?;
    }
}
