use super::super::testing::{decodes, encodes, outcome, read, records, refused};
use crate::message::{Value, json};

const UNB: &str = "UNB+UNOC:3+4012345000009:14+5412345000006:14+260105:0930+IC1'";
const ORDER: &str = "UNH+1+ORDERS:D:96A:UN:EAN008'BGM+220+PO-1+9'DTM+137:20260105:102'UNS+S'UNT+5+1'";

fn interchange(messages: &[&str]) -> String {
    format!("{UNB}{}UNZ+{}+IC1'", messages.concat(), messages.len())
}

fn order(number: &str) -> String {
    ORDER.replace("UNH+1+", &format!("UNH+{number}+")).replace("UNT+5+1'", &format!("UNT+5+{number}'"))
}

/// What the outcomes say: the numbers of the orders, or the faults.
fn told(yaml: &str, bytes: impl AsRef<[u8]>) -> Vec<String> {
    let short = |said: String| match said.split_once(": {") {
        Some((place, document)) => {
            let document = json::read(format!("{{{document}").as_bytes()).expect("JSON");
            let number = document.get("message").and_then(|message| message.get("reference")).cloned();
            format!("{place}: {}", number.as_ref().and_then(Value::as_text).unwrap_or("no reference"))
        }
        None => said,
    };
    records(yaml, bytes).into_iter().map(short).collect()
}

#[test]
fn a_message_comes_with_its_envelope() {
    let document = concat!(
        r#"{"interchange":{"dialect":"edifact","syntax":"UNOC","version":"3","reference":"IC1","date":"260105","time":"0930","#,
        r#""sender":{"id":"4012345000009","qualifier":"14"},"receiver":{"id":"5412345000006","qualifier":"14"},"test":false,"#,
        r#""acknowledgment_asked":false},"#,
        r#""message":{"type":"ORDERS","version":"D","release":"96A","agency":"UN","association":"EAN008","reference":"1"},"#,
        r#""document":{"UNH":{"E0062":"1","S009":{"E0065":"ORDERS","E0052":"D","E0054":"96A","E0051":"UN","E0057":"EAN008"}},"#,
        r#""BGM":{"C002":{"E1001":"220"},"E1004":"PO-1","E1225":"9"},"#,
        r#""DTM":[{"C507":{"E2005":"137","E2380":"20260105","E2379":"102"}}],"UNS":{"E0081":"S"},"UNT":{"E0074":"5","E0062":"1"}}}"#,
    );
    decodes("format: edifact", interchange(&[ORDER]), document);
    decodes("format: edifact", format!("\u{feff}{}\r\n", interchange(&[ORDER])), document);
}

#[test]
fn each_message_of_a_file_is_one() {
    let (one, two) = (order("1"), order("2"));
    assert_eq!(told("format: edifact", interchange(&[&one, &two])), ["ORDERS 1: 1", "ORDERS 2: 2"]);
    let several = format!("{}\n{}\n", interchange(&[&one, &two]), interchange(&[&order("3")]).replace('\'', "'\n"));
    assert_eq!(told("format: edifact", several), ["ORDERS 1: 1", "ORDERS 2: 2", "ORDERS 3: 3"]);
    let group = |number: &str, messages: &str| {
        format!("UNG+ORDERS+A+B+260105:0930+{number}+UN+D:96A'{messages}UNE+1+{number}'")
    };
    let grouped = format!("UNA:+.? '{UNB}{}{}UNZ+2+IC1'", group("1", &one), group("2", &two));
    assert_eq!(told("format: edifact", grouped), ["ORDERS 1: 1", "ORDERS 2: 2"]);
    assert_eq!(told("format: edifact", ""), [""; 0]);
    assert_eq!(told("format: edifact", " \r\n"), [""; 0]);
}

#[test]
fn what_is_refused_is_told_with_its_place_and_others_go_on() {
    let bad = order("2").replace("UNT+5", "UNT+7").replace("DTM+137:20260105:102'", "");
    let refused = "ORDERS 2: DECODE-EDIFACT: EDI-COUNT: UNT says there are `7` segments, but there are 4; 1 other finding \
                   (ORDERS 2, segment 4 UNT, element 1)";
    let all = interchange(&[&order("1"), &bad, &order("3")]);
    assert_eq!(told("format: edifact", all), ["ORDERS 1: 1", refused, "ORDERS 3: 3"]);
    let warn = "{ format: edifact, edifact: { findings: { EDI-COUNT: warn, EDI-MISSING-SEGMENT: ignore } } }";
    assert_eq!(told(warn, interchange(&[&order("1"), &bad])), ["ORDERS 1: 1", "ORDERS 2: 2"]);
    let cut = &interchange(&[&order("1"), &order("2")])[..UNB.len() + ORDER.len() + 20];
    let ends = "ORDERS 2: DECODE-EDIFACT: EDI-NO-END: the message does not end with UNT: the input ends; 5 other findings \
                (ORDERS 2, segment 1 UNH)";
    let said = told("format: edifact", cut);
    assert!(said.len() == 2 && said[1].starts_with(&ends[..70]), "{said:?}");
}

#[test]
fn envelopes_refuse_what_they_hold() {
    let strict = "{ format: edifact, edifact: { findings: { EDI-ENVELOPE: reject_interchange, EDI-INTERCHANGE-COUNT: reject_interchange } } }";
    let unsigned = interchange(&[ORDER]).replace("4012345000009:14", "");
    let sender = "ORDERS 1: DECODE-EDIFACT: EDI-ENVELOPE: the sender of the interchange is missing (the interchange, UNB, element 2)";
    assert_eq!(told(strict, &unsigned), [sender.replace("interchange, UNB", "interchange, segment 1 UNB")]);
    assert_eq!(told("format: edifact", &unsigned), ["ORDERS 1: 1"]);
    let counted = interchange(&[ORDER]).replace("UNZ+1", "UNZ+2");
    let said = told(strict, &counted);
    assert_eq!(said[0], "ORDERS 1: 1");
    assert!(said[1].contains("EDI-INTERCHANGE-COUNT: UNZ says there are `2` messages, but there are 1"), "{said:?}");
    let empty = "the interchange: DECODE-EDIFACT: the interchange holds no message (the interchange)";
    assert_eq!(told("format: edifact", interchange(&[])), [empty]);
    assert_eq!(told("format: edifact", format!("{UNB}{}", interchange(&[ORDER]))), [empty, "ORDERS 1: 1"]);
    let stray = "{ format: edifact, edifact: { findings: { EDI-STRAY: reject_message } } }";
    let said = told(stray, format!("{}junk that nobody sent", interchange(&[ORDER])));
    assert!(said.len() == 2 && said[1].contains("EDI-STRAY"), "{said:?}");
}

#[test]
fn what_is_not_of_the_format_is_told() {
    let other = "DECODE-EDIFACT: this is x12: `format: x12` reads it (line 1)";
    decodes("format: edifact", include_bytes!("../../../tests/edi/850.x12"), other);
    let none = "DECODE-EDIFACT: no interchange begins in it; EDIFACT begins with UNA or UNB (line 1)";
    decodes("format: edifact", "{\"order\": 1}", none);
    assert_eq!(told("format: edifact", "hello"), [format!("the end: {none}")]);
    decodes("format: x12", "hello", "DECODE-X12: no interchange begins in it; X12 begins with ISA (line 1)");
    decodes("format: x12", "", "DECODE-X12: there is nothing to read");
    let two = "there are 2 messages in the interchange, and what came is taken as one; from files, and from partners, each message \
               of an interchange is one";
    decodes("format: edifact", interchange(&[&order("1"), &order("2")]), &format!("DECODE-EDIFACT: {two}"));
}

#[test]
fn a_reading_goes_on_with_what_it_had() {
    // Counts and references of what was read before are those of the whole, wherever it goes on (`records` tries each place).
    let yaml = "{ format: edifact, edifact: { findings: { EDI-REPEATED-REFERENCE: reject_message, EDI-GROUP-COUNT: reject_message, \
                EDI-INTERCHANGE-COUNT: reject_message, EDI-NO-END: warn } } }";
    let cut = order("4").split("UNT").next().unwrap_or_default().to_owned();
    let group = format!("UNG+ORDERS+A+B+260105:0930+1+UN+D:96A'{}{cut}{}UNE+5+1'", order("1"), order("1"));
    let said = told(yaml, format!("{UNB}{group}UNZ+2+IC1'\n{UNB}{}UNZ+3+IC1'", order("1")));
    let starts = [
        "ORDERS 1: 1",
        "ORDERS 4: ",
        "ORDERS 1: DECODE-EDIFACT: EDI-REPEATED-REFERENCE",
        "the end of a group, segment",
        "the end of the interchange",
        "ORDERS 1: 1",
        "the end of the interchange",
    ];
    let fits = |(said, start): (&String, &&str)| said.starts_with(*start);
    assert!(said.len() == starts.len() && said.iter().zip(&starts).all(fits), "{said:#?}");
}

#[test]
fn a_message_over_the_limit_is_passed_over() {
    let long = order("2").replace("UNS+S'", &format!("{}UNS+S'", "FTX+AAI+++x'".repeat(1000)));
    let yaml = "{ format: edifact, edifact: { max_message: 8KB } }";
    let all = interchange(&[&order("1"), &long, &order("3")]);
    let said = told(yaml, &all);
    assert_eq!((said[0].as_str(), said[2].as_str(), said.len()), ("ORDERS 1: 1", "ORDERS 3: 3", 3), "{said:?}");
    assert_eq!(said[1], "ORDERS 2: DECODE-EDIFACT: the message is longer than `max_message` (8192 bytes) (ORDERS 2)");
    let codec = read(yaml);
    let mut messages = codec.records(Box::new(all.as_bytes())).expect("it has records");
    let second = std::iter::from_fn(|| messages.next()).nth(1).expect("two").expect("no fault");
    assert_eq!(second.raw.len(), 4096);
}

#[test]
fn transaction_sets_are_read() {
    let text = include_str!("../../../tests/edi/850.x12");
    let said = told("format: x12", text);
    assert_eq!(said[0], "850 0001: 0001");
    assert!(said[1].starts_with("850 0002: DECODE-X12: EDI-"), "{said:?}");
    let codec = read("format: x12");
    let mut messages = codec.records(Box::new(text.as_bytes())).expect("it has records");
    let document = messages.next().expect("one").expect("no fault").document.expect("good");
    let group = document.get("group").expect("X12 has groups");
    assert_eq!(group.get("version").and_then(Value::as_text), Some("004010"), "{group}");
}

const WRITES: &str = "
format: edifact
edifact:
  message: ORDERS
  release: D.96A
  association: EAN008
  sender: { id: '4012345000009', qualifier: '14' }
  receiver: { id: '5412345000006', qualifier: '14' }
  una: needed
";

const DOCUMENT: &str = r#"{"interchange":{"reference":"IC1","date":"20260105","time":"0930"},"message":{"reference":"1"},"document":
    {"BGM":{"C002":{"E1001":"220"},"E1004":"PO-1","E1225":"9"},
     "DTM":[{"C507":{"E2005":"137","E2380":"20260105","E2379":"102"}}],"UNS":{"E0081":"S"}}}"#;

#[test]
fn a_document_is_written_as_an_interchange() {
    encodes(WRITES, DOCUMENT, &interchange(&[ORDER]));
    let with = |options: &str| format!("{WRITES}  {options}\n");
    encodes(&with("test: true"), DOCUMENT, &interchange(&[ORDER]).replace("IC1'UNH", "IC1++++++1'UNH"));
    encodes(&with("newline: crlf"), DOCUMENT, &interchange(&[ORDER]).replace('\'', "'\r\n"));
    let una = format!("UNA:+.? '{}", interchange(&[ORDER]));
    encodes(&WRITES.replace("needed", "always"), DOCUMENT, &una);
    let own = format!("UNA|*,? '{}", interchange(&[ORDER]).replace('+', "*").replace(':', "|"));
    encodes(&with("decimal: ','\n  delimiters: { element: '*', component: '|' }"), DOCUMENT, &own);
    let other = DOCUMENT.replace(r#""time":"0930""#, r#""time":"0930","receiver":{"id":"9"},"test":true"#);
    let expect = interchange(&[ORDER]).replace("5412345000006:14", "9").replace("IC1'UNH", "IC1++++++1'UNH");
    encodes(WRITES, &other, &expect);
    encodes(&with("test: true"), &other.replace(r#""test":true"#, r#""test":false"#), &expect);
}

#[test]
fn what_came_is_written_again() {
    let text = format!("UNA:+.? '{}", interchange(&[ORDER]));
    let codec = read("format: edifact");
    let document = codec.decode(text.as_bytes()).expect("good");
    assert_eq!(codec.encode(&document).expect("good"), text);
    let codec = read("format: x12");
    let text = include_str!("../../../tests/edi/850.x12");
    let first = codec.records(Box::new(text.as_bytes())).and_then(|mut records| records.next());
    let document = first.expect("one").expect("no fault").document.expect("good");
    let written = codec.encode(&document).expect("good");
    assert_eq!(outcome(codec.decode(&written)), document.to_string());
}

#[test]
fn transaction_sets_are_written_with_their_group() {
    let yaml = "
format: x12
x12: { message: '850', release: '004010', sender: { id: US, qualifier: ZZ }, receiver: { id: THEM, qualifier: ZZ } }";
    let document = r#"{"interchange":{"reference":"42","date":"20260105","time":"0930"},"message":{"reference":"7"},"document":
        {"BEG":{"BEG01":"00","BEG02":"SA","BEG03":"PO-1","BEG05":"20260105"},"PO1_loop":[{"PO1":{"PO102":"5","PO103":"EA"}}]}}"#;
    let expect = "ISA*00*          *00*          *ZZ*US             *ZZ*THEM           *260105*0930*U*00401*000000042*0*P*>~\
                  GS*PO*US*THEM*20260105*0930*42*X*004010~ST*850*0007~BEG*00*SA*PO-1**20260105~PO1**5*EA~SE*4*0007~GE*1*42~\
                  IEA*1*000000042~";
    encodes(yaml, document, expect);
    encodes(
        &yaml.replace("004010", "005010VICS"),
        document,
        &expect.replace("00401*", "00501*").replace("004010", "005010VICS"),
    );
}

#[test]
fn what_cannot_be_written_is_told() {
    let without = |path: &str| DOCUMENT.replace(path, "\"x\"");
    let numbers = "so no EDI can be written; a partner (`to: { partner: …, document: … }`) gives its messages numbers";
    let said = format!(
        "ENCODE-EDIFACT: the document does not say `interchange.reference`, {numbers} ($.interchange.reference)"
    );
    encodes(WRITES, &without(r#""reference":"IC1""#).replace("\"x\"", "\"x\":1"), &said);
    let said =
        format!("ENCODE-EDIFACT: the document does not say `message.reference`, {numbers} ($.message.reference)");
    encodes(WRITES, &without(r#""reference":"1""#).replace("\"x\"", "\"x\":1"), &said);
    let said = "ENCODE-EDIFACT: the document does not say `interchange.date`, so no EDI can be written; \
                `edi_date_text(now(), 'D8')` is the day the message came ($.interchange.date)";
    encodes(WRITES, &without(r#""date":"20260105""#).replace("\"x\"", "\"x\":1"), said);
    encodes(
        "format: edifact",
        DOCUMENT,
        "ENCODE-EDIFACT: the document does not say `interchange.sender.id`, so no EDI can be written ($.interchange.sender.id)",
    );
    let said = "ENCODE-EDIFACT: the document has no map `document`: each needs `interchange`, `message` and `document` ($.document)";
    encodes(WRITES, "[1]", said);
    let said = "ENCODE-EDIFACT: the document's dialect is x12, but the format is edifact ($.interchange.dialect)";
    encodes(WRITES, &DOCUMENT.replace(r#""date""#, r#""dialect":"x12","date""#), said);
    let said = "ENCODE-EDIFACT: EDI-UNKNOWN-FIELD: `$.BGM.E9999`: BGM has no such element (ORDERS 1)";
    encodes(WRITES, &DOCUMENT.replace("E1004", "E9999"), said);
    let said = "ENCODE-EDIFACT: EDI-CHARSET: ISO 8859-1 does not have the character `Ł` (ORDERS 1, segment 2 BGM, element 2, component 1)";
    encodes(WRITES, &DOCUMENT.replace("PO-1", "Łódź"), said);
    let mut out = Vec::new();
    let document = json::read(DOCUMENT.as_bytes()).expect("JSON");
    let fault = read("format: x12").encode_record(&document, &mut out).expect_err("not appended to");
    assert_eq!((fault.code(), out.len()), ("ENCODE-X12", 0));
}

#[test]
fn wrong_options_are_told() {
    let check = |options: &str, expect: &str| {
        let problems = refused(&format!("{{ format: edifact, edifact: {{ {options} }} }}"));
        assert!(problems.len() == 1 && problems[0].starts_with(expect), "{problems:?}");
    };
    check("findings: { EDI-CUONT: warn }", "unknown finding `EDI-CUONT`; did you mean `EDI-COUNT`?");
    check("findings: { EDI-COUNT: wran }", "unknown");
    check("charset: utf-9", "`utf-9` is not a character set");
    check("release: 96A", "`release`: `96A` is no release of EDIFACT, as `D.96A` is one");
    check(
        "delimiters: { element: ':' }",
        "`delimiters`: the element separator and the component separator are both `:`",
    );
    check("delimiters: { element: 'é' }", "`delimiters`: the delimiter `é` is not an ASCII character");
    check("una: sometimes", "unknown");
    check("sender: { qualifier: '14' }", "`id` is missing");
}
