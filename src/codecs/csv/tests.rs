use super::super::testing::{decodes, encodes, read, records, refused};

#[test]
fn each_row_is_a_message_and_a_bad_one_costs_only_itself() {
    assert_eq!(
        records(
            "{ format: csv, csv: { delimiter: ';', numbers: [price] } }",
            b"\xEF\xBB\xBFsku;price;label\r\nA1;12.50;Table\r\n\r\nA2;1\nA3;1;x;y\nA4;abc;\nA5;;\"a;\"\"b\"\"\nc\"\nA6;007;last",
        ),
        [
            r#"line 2: {"sku":"A1","price":12.50,"label":"Table"}"#,
            "line 4: DECODE-CSV: expected 3 cells, found 2 (line 4)",
            "line 5: DECODE-CSV: expected 3 cells, found 4 (line 5)",
            "line 6: DECODE-CSV: `abc` in column `price` is not a number (line 6)",
            r#"line 7: {"sku":"A5","label":"a;\"b\"\nc"}"#,
            r#"line 9: {"sku":"A6","price":7,"label":"last"}"#,
        ]
    );
    assert_eq!(records("format: csv", "\u{feff}\"a\n1\",b\n1,2"), [r#"line 3: {"a\n1":"1","b":"2"}"#]);
    assert!(records("format: csv", "").is_empty());
    assert!(records("format: csv", "a,b").is_empty());
}

#[test]
fn bad_quotes_cost_one_line() {
    assert_eq!(
        records("format: csv", "a,b\n1,\"x\n2,y\n3,\"z\"z\n4,\"w\"\n"),
        [
            "line 2: DECODE-CSV: text follows a quote that is closed on line 4; a quote inside a cell is written twice (line 2)",
            r#"line 3: {"a":"2","b":"y"}"#,
            "line 4: DECODE-CSV: text follows a closing quote; a quote inside a cell is written twice (line 4 column 6)",
            r#"line 5: {"a":"4","b":"w"}"#,
        ]
    );
    assert_eq!(
        records("format: csv", "a,b\n1,\"x\n2,y\n"),
        ["line 2: DECODE-CSV: a quote is opened and never closed (line 2)", r#"line 3: {"a":"2","b":"y"}"#]
    );
}

#[test]
fn a_row_over_the_limit_is_told_and_passed_over() {
    let said = "DECODE-CSV: the row is longer than `max_record` (10485760 bytes)";
    assert_eq!(
        records("format: csv", format!("a,b\n1,{}\n2,y\n", "x".repeat(10 << 20))),
        [format!("line 2: {said} (line 2)"), r#"line 3: {"a":"2","b":"y"}"#.to_owned()]
    );
    let lines = "2,y\n".repeat(3 << 20);
    let found = records("{ format: csv, csv: { max_record: 1KB } }", format!("a,b\n1,\"x\n{}", &lines[..4000]));
    assert!(found[0].contains("`max_record` (1024 bytes) (line 2)"), "{}", found[0]);
    assert_eq!(found.len(), 1001);
}

#[test]
fn a_header_that_cannot_be_trusted_ends_the_file() {
    let only =
        |yaml: &str, bytes: &[u8], expect: &str| assert_eq!(records(yaml, bytes), [format!("the end: {expect}")]);
    only("format: csv", b"a,b,a\n1,2,3\n", "DECODE-CSV: column `a` stands twice in the header (line 1)");
    only(
        "{ format: csv, csv: { numbers: [prix] } }",
        b"a,b\n1,2\n",
        "DECODE-CSV: the header has no column `prix`: a, b (line 1)",
    );
    only("format: csv", b"\xFF\xFEa\0", "DECODE-CSV: the file is UTF-16, not utf-8 (line 1)");
    only(
        "{ format: csv, csv: { charset: latin1 } }",
        b"\xEF\xBB\xBFa\n1",
        "DECODE-CSV: the file begins with the mark of UTF-8, but `charset` is latin1 (line 1)",
    );
}

#[test]
fn the_charset_is_read_or_the_row_refused() {
    assert_eq!(
        records("format: csv", b"a,b\ncaf\xE9,2\ncaf\xC3\xA9,3\n"),
        ["line 2: DECODE-CSV: byte E9 is not utf-8; set `charset` (line 2 byte 4)", r#"line 3: {"a":"café","b":"3"}"#]
    );
    assert_eq!(
        records("{ format: csv, csv: { charset: windows-1252 } }", b"a,b\ncaf\xE9,\x80\nx\x81,3\n"),
        [
            r#"line 2: {"a":"café","b":"€"}"#,
            "line 3: DECODE-CSV: byte 81 is not windows-1252; set `charset` (line 3 byte 2)"
        ]
    );
}

#[test]
fn numbers_are_read_as_told() {
    let comma =
        "{ format: csv, csv: { delimiter: ';', numbers: [n], decimal_comma: true, columns: [n, t], header: false } }";
    decodes(comma, "12,50;12,50", r#"{"n":12.50,"t":"12,50"}"#);
    decodes(comma, "-0,5;", r#"{"n":-0.5,"t":""}"#);
    decodes(comma, "1.200,50;", "DECODE-CSV: `1.200,50` in column `n` is not a number (line 1)");
    let point = "{ format: csv, csv: { numbers: [n], columns: [n, t], header: false, empty: missing } }";
    decodes(point, "+007.10,x", r#"{"n":7.10,"t":"x"}"#);
    decodes(point, "000,x", r#"{"n":0,"t":"x"}"#);
    decodes(point, "-00.5,x", r#"{"n":-0.5,"t":"x"}"#);
    decodes(point, ",", "{}");
    decodes(point, "1 200,x", "DECODE-CSV: `1 200` in column `n` is not a number (line 1)");
    decodes(point, "+,x", "DECODE-CSV: `+` in column `n` is not a number (line 1)");
    decodes(point, "--1,x", "DECODE-CSV: `--1` in column `n` is not a number (line 1)");
}

#[test]
fn a_message_is_a_row_or_the_file() {
    let file = "{ format: csv, csv: { message: file } }";
    decodes(file, "a\n1\n2\n", r#"[{"a":"1"},{"a":"2"}]"#);
    decodes(file, "", "[]");
    decodes(file, "a\n1\n2,3\n", "DECODE-CSV: expected 1 cells, found 2 (line 3)");
    decodes(
        "format: csv",
        "a\n1\n2\n",
        "DECODE-CSV: one message is one record, found 2; `message: file` reads them as a list",
    );
    assert!(read(file).records(Box::new(&b""[..])).is_none());
}

#[test]
fn rows_are_written() {
    encodes(
        "format: csv",
        r#"{"a": "x,y", "b": 1.50, "c": null, "d": "say \"hi\""}"#,
        "a,b,c,d\n\"x,y\",1.50,,\"say \"\"hi\"\"\"\n",
    );
    encodes("format: csv", r#"[{"a": "1", "b": "2"}, {"b": "3"}]"#, "a,b\n1,2\n,3\n");
    encodes(
        "format: csv",
        r#"[{"a": "1"}, {"a": "1", "b": "3"}]"#,
        "ENCODE-CSV: this field has no column; add it to `columns`, or leave it out of the document ($[1].b)",
    );
    encodes("format: csv", r#"{"a": [1]}"#, "ENCODE-CSV: a cell holds text, a number or a boolean, found a list ($.a)");
    encodes("format: csv", "12", "ENCODE-CSV: CSV is written from a map (a row) or a list of maps, found a number ($)");
    encodes("format: csv", r#"{"a": ""}"#, "a\n\"\"\n");
    let french = "{ format: csv, csv: { delimiter: ';', decimal_comma: true, columns: [b, a], line_end: crlf, charset: windows-1252 } }";
    encodes(french, r#"{"a": 1.5, "b": "x"}"#, "b;a\r\nx;1,5\r\n");
    encodes(french, r#"{"b": "Łódź"}"#, "ENCODE-CSV: `Ł` cannot be written in windows-1252 ($)");
}

#[test]
fn rows_are_appended_after_the_framing() {
    let codec = read("{ format: csv, csv: { columns: [a, b] } }");
    let mut out = codec.framing().header.to_vec();
    let row = |json: &str| crate::message::json::read(json.as_bytes()).expect("the test writes JSON");
    codec.encode_record(&row(r#"{"a": 1}"#), &mut out).expect("it has columns");
    assert!(codec.encode_record(&row(r#"[{"b": 2}, {"c": 2}]"#), &mut out).is_err());
    assert_eq!(out, b"a,b\n1,\n");
    let fault = read("format: csv").encode_record(&row("{}"), &mut out).expect_err("no columns are named");
    assert_eq!(fault.next(), crate::message::Next::Misconfigured);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    assert_eq!(
        refused("{ format: csv, csv: { header: false } }"),
        ["without a header `columns` must name the columns; "]
    );
    assert_eq!(
        refused("{ format: csv, csv: { columns: [a], numbers: [b] } }"),
        ["`b` stands in `numbers` but not in `columns`; "]
    );
    assert_eq!(refused("{ format: csv, csv: { columns: [a, a] } }"), ["column `a` stands twice in `columns`; "]);
    assert_eq!(refused("{ format: csv, csv: { delimiter: '\"' } }").len(), 1);
}
