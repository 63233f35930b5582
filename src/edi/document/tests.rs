//! Documents of messages, as JSON, and the segments they are laid out as again.

use super::*;
use crate::edi::directory::Library;
use crate::edi::findings::{Findings, Policy};
use crate::edi::reader::{Event, Options, Reader};
use crate::edi::tree::Tree;
use crate::message::{Value, json};

/// The document of the message, and what is found when it is laid out again.
fn read(text: &str) -> Value {
    let mut reader = Reader::new(text.as_bytes(), Options::default());
    while let Some(event) = reader.read().expect("a slice does not fail") {
        if let Event::Message(message) = event {
            return document(&Tree::read(message, Library::shipped(), &Policy::default(), 100));
        }
    }
    panic!("no message in {text}");
}

fn edifact(segments: &str) -> String {
    format!("UNB+UNOC:3+ALPHA+BETA+260101:1200+7'UNH+1+ORDERS:D:96A:UN'{segments}UNT+9+1'UNZ+1+7'")
}

fn check(text: &str, field: &str, expect: &str) {
    let document = read(text);
    let found = field.split('.').try_fold(&document, |value, name| match name.parse::<usize>() {
        Ok(at) => value.as_list().and_then(|list| list.get(at)),
        Err(_) => value.get(name),
    });
    assert_eq!(found.map(Value::to_string).as_deref(), Some(expect), "{field} of {document}");
}

#[test]
fn a_path_has_one_shape() {
    let one = edifact("BGM+220+4711+9'DTM+137:20260101:102'NAD+BY+5412345000013::9++Alpha Stores:Main Street'UNS+S'");
    check(&one, "BGM", r#"{"C002":{"E1001":"220"},"E1004":"4711","E1225":"9"}"#);
    check(&one, "DTM", r#"[{"C507":{"E2005":"137","E2380":"20260101","E2379":"102"}}]"#);
    check(&one, "NAD_group.0.NAD.C082", r#"{"E3039":"5412345000013","E3055":"9"}"#);
    check(&one, "NAD_group.0.NAD.C080.E3036", r#"["Alpha Stores","Main Street"]"#);
    let list = edifact("BGM+220'ALI+BE++A::B'GIN+BJ+1'UNS+S'");
    check(&list, "ALI.0.E4183", r#"["A"]"#);
    check(&edifact("BGM+220'ALI+BE+++B'UNS+S'"), "ALI.0.E4183", r#"["","B"]"#);
    check(&edifact("BGM+220'FTX+AAI+++it?'s 5 ?+ 5'UNS+S'"), "FTX.0.C108.E4440", r#"["it's 5 + 5"]"#);
}

#[test]
fn x12_is_keyed_by_place() {
    let text = "ISA*00*          *00*          *ZZ*ALPHA          *ZZ*BETA           *260101*1200*U*00401*000000001*0*P*>~\
        GS*PO*ALPHA*BETA*20260101*1200*1*X*004010~ST*850*0001~BEG*00*SA*4711**20260101~PO1*1*12*EA*2.5**UP*614141000012~\
        MEA**WT*5*LB>1~CTT*1~SE*6*0001~GE*1*1~IEA*1*000000001~";
    check(text, "BEG", r#"{"BEG01":"00","BEG02":"SA","BEG03":"4711","BEG05":"20260101"}"#);
    check(text, "PO1_loop.0.PO1.PO102", r#""12""#);
    check(text, "PO1_loop.0.MEA.0.MEA04", r#"{"C00101":"LB","C00102":"1"}"#);
}

#[test]
fn what_has_no_place_is_kept_in_order() {
    let text = edifact("BGM+220'XYZ+a:b+c'DTM+137:20260101:102'UNS+S'");
    check(&text, "_other", r#"[{"at":"2","segment":"XYZ","elements":[[["a","b"]],[["c"]]]}]"#);
}

fn lay(json: &str) -> (String, Vec<String>) {
    let document = json::read(json.as_bytes()).expect("JSON");
    let kind = crate::edi::reader::MessageType {
        name: "ORDERS".into(),
        version: "D".into(),
        release: "96A".into(),
        ..Default::default()
    };
    let found = Library::shipped().find(crate::edi::syntax::Dialect::Edifact, &kind, 3).expect("shipped");
    let mut findings = Findings::new(10);
    let draft = lay_out(&document, found, b',', &Policy::default(), &mut findings);
    let lines = draft.lines.iter().map(|line| {
        let element = |element: &Vec<Vec<_>>| element.iter().map(|parts| parts.join(":")).collect::<Vec<_>>().join("*");
        let elements: Vec<String> = line.elements.iter().map(element).collect();
        format!("{}+{}", line.tag, elements.join("+"))
    });
    let findings = findings.list().iter().map(|finding| format!("{} {}", finding.code.name(), finding.sentence));
    (lines.collect::<Vec<_>>().join("'"), findings.collect())
}

#[test]
fn a_document_is_laid_out_by_the_definition() {
    let (segments, findings) = lay(
        r#"{"LIN_group":[{"PRI_group":[{"PRI":{"C509":{"E5125":"AAA","E5118":2.50}}}],"LIN":{"E1082":1}}],"BGM":{"E1004":"4711"},
            "_other":[{"at":"1","segment":"XYZ","elements":[[["a"]]]}]}"#,
    );
    assert_eq!(segments, "BGM++4711'XYZ+a'LIN+1'PRI+AAA:2,50");
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn what_the_definition_does_not_have_is_told_by_its_path() {
    let (_, findings) =
        lay(r#"{"BGM":[{}],"NAD":{},"NAD_group":[{"NAD":{"E3039":"x","C082":"y"}}],"DTM":{"C507":{}}}"#);
    assert_eq!(
        findings,
        [
            "EDI-UNKNOWN-FIELD `$.NAD`: ORDERS has no such segment or group",
            "EDI-SHAPE `$.BGM`: should be a map, not a list",
            "EDI-SHAPE `$.DTM`: should be a list of maps, not a map",
            "EDI-UNKNOWN-FIELD `$.NAD_group[0].NAD.E3039`: NAD has no such element",
            "EDI-SHAPE `$.NAD_group[0].NAD.C082`: should be a map, not text",
        ]
    );
}
