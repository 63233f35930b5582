use super::super::testing::{decodes, encodes, records, refused};

const ARTICLE: &str = "
format: fixed
fixed:
  fields:
    - { name: sku, width: 6 }
    - { name: price, width: 8, kind: number, decimals: 2 }
    - { width: 2 }
    - { name: qty, width: 5, kind: number, fill: ' ' }
    - { name: label, width: 5, pad: left }
";

#[test]
fn each_line_is_a_message_and_a_bad_one_costs_only_itself() {
    assert_eq!(
        records(
            ARTICLE,
            "A1    00001250xx   12 Pied\r\n\nA2    -0001250    1.5     \nA3\nA4    0000a000    1 x   \nA5    00000000           é\n"
        ),
        [
            r#"line 1: {"sku":"A1","price":12.50,"qty":12,"label":"Pied"}"#,
            r#"line 3: {"sku":"A2","price":-12.50,"qty":1.5,"label":""}"#,
            "line 4: DECODE-FIXED: expected 26 characters, found 2 (line 4)",
            "line 5: DECODE-FIXED: expected 26 characters, found 24 (line 5)",
            r#"line 6: {"sku":"A5","price":0.00,"label":"é"}"#,
        ]
    );
}

#[test]
fn numbers_and_characters_that_are_none_are_refused_with_their_place() {
    decodes(
        ARTICLE,
        "A4    0000a000    1 x     ",
        "DECODE-FIXED: `0000a000` in `price` is not a number (line 1 column 7)",
    );
    decodes(
        ARTICLE,
        b"A\xE9    00000000    1 x     ",
        "DECODE-FIXED: byte E9 is not utf-8; set `charset` (line 1 byte 2)",
    );
}

#[test]
fn a_short_line_is_read_when_told() {
    let short = "{ format: fixed, fixed: { short_lines: true, fields: [{ name: a, width: 2 }, { name: b, width: 3, kind: number }] } }";
    decodes(short, "x", r#"{"a":"x"}"#);
    decodes(short, "x 007", r#"{"a":"x","b":7}"#);
    decodes(short, "x 0078", "DECODE-FIXED: expected 5 characters, found 6 (line 1)");
}

#[test]
fn lines_are_written_and_nothing_is_cut() {
    encodes(ARTICLE, r#"{"sku": "A1", "price": -12.5, "qty": 12, "label": "Pied"}"#, "A1    -0001250     12 Pied\n");
    encodes(
        ARTICLE,
        r#"[{"sku": "A1"}, {"qty": 1}]"#,
        "A1                        \n          \u{20}\u{20}\u{20}\u{20}\u{20}\u{20}    1     \n",
    );
    encodes(
        ARTICLE,
        r#"{"sku": "A123456"}"#,
        "ENCODE-FIXED: 7 characters do not fit into 6; it is not cut, shorten it before ($.sku)",
    );
    encodes(
        ARTICLE,
        r#"{"price": 1.255}"#,
        "ENCODE-FIXED: 1.255 cannot be written with 2 decimals; round it before ($.price)",
    );
    encodes(ARTICLE, r#"{"price": "1"}"#, "ENCODE-FIXED: expected a number, found text ($.price)");
    encodes(
        ARTICLE,
        r#"[{"x": 1}]"#,
        "ENCODE-FIXED: this field has no place in the line; leave it out of the document ($[0].x)",
    );
    encodes(ARTICLE, r#"{"sku": "a\nb"}"#, "ENCODE-FIXED: a line end cannot stand inside a line ($.sku)");
    encodes(ARTICLE, "1", "ENCODE-FIXED: a line is written from a map of its fields, found a number ($)");
}

const TICKET: &str = "
format: fixed
fixed:
  message: file
  records:
    - { name: head, code: H, fields: [{ name: number, width: 4 }] }
    - { name: line, code: HL, fields: [{ name: sku, width: 3 }] }
";

#[test]
fn kinds_of_lines_are_told_apart_by_their_code() {
    let lines = r#"[{"record":"head","number":"0042"},{"record":"line","sku":"A1"}]"#;
    decodes(TICKET, "H0042\nHLA1 \n", lines);
    encodes(TICKET, lines, "H0042\nHLA1 \n");
    decodes(TICKET, "X", "DECODE-FIXED: the line begins with none of the codes H, HL (line 1)");
    encodes(TICKET, r#"[{"record": "foot"}]"#, "ENCODE-FIXED: expected one of head, line ($[0].record)");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refuses = |fixed: &str, expect: &str| {
        assert_eq!(refused(&format!("{{ format: fixed, fixed: {fixed} }}")), [format!("{expect}; ")]);
    };
    refuses("{}", "expected either `fields` or `records`");
    refuses("{ fields: [{ width: 0 }] }", "field `without a name`: `width` is 1 to 65536 characters");
    refuses("{ fields: [{ name: a, width: 1 }, { name: a, width: 1 }] }", "two fields are called `a`");
    refuses("{ fields: [{ name: a, width: 1, decimals: 2 }] }", "field `a`: `decimals` is for numbers, at most 28");
}
