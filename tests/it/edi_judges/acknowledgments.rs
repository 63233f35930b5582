//! Acknowledgments of good and damaged interchanges, as the hub answers them.

use raccord::edi::acknowledgments::{Receipt, contrl, functional, ta1};
use raccord::edi::directory::Library;
use raccord::edi::findings::{Code, Policy, Severity};
use raccord::edi::reader::{Event, MessageType, Options, Party, Reader};
use raccord::edi::tree::Tree;
use raccord::edi::writer::{GroupHeader, InterchangeWriter, Profile};
use raccord::message::Value;

use super::written::{Written, header};

fn receipt(bytes: &[u8], policy: &Policy) -> Receipt {
    let mut receipt = Receipt::default();
    let mut reader = Reader::new(bytes, Options { policy: policy.clone(), ..Options::default() });
    while let Some(event) = reader.read().expect("a slice does not fail") {
        let tree = match &event {
            Event::Message(message) => Some(Tree::read(message, Library::shipped(), policy, 100)),
            _ => None,
        };
        receipt.note(&event, tree.as_ref());
    }
    receipt
}

/// CONTRL 7, 8 and 4 of a file, in both syntaxes.
pub fn of_edifact(name: &str, bytes: &[u8]) -> Vec<Written> {
    let strict = Policy::default().with(Code::Count, Severity::RejectInterchange);
    let (lenient, severe) = (receipt(bytes, &Policy::default()), receipt(bytes, &strict));
    let answers = [("7", contrl(&lenient, false)), ("8", contrl(&lenient, true)), ("4", contrl(&severe, false))];
    let mut all = Vec::new();
    for (action, document) in answers {
        let document = document.expect("it is wanted");
        let told = document.get("UCI").and_then(|uci| uci.get("E0083")).and_then(Value::as_text);
        assert_eq!(told, Some(action), "{name}");
        for (version, release) in [("3", "3"), ("4", "1")] {
            let kind = kind("CONTRL", if version == "3" { "D" } else { "4" }, release, "UN", "");
            let profile = Profile { version: version.to_owned(), ..Profile::edifact() };
            let bytes = written(&profile, None, &kind, &document);
            all.push(Written { name: format!("CONTRL {action} of {name}, syntax {version}"), bytes, messages: 1 });
        }
    }
    all
}

/// 997, 999 and TA1 of a file.
pub fn of_x12(name: &str, bytes: &[u8]) -> Vec<Written> {
    let receipt = receipt(bytes, &Policy::default());
    let later = Profile {
        version: "00501".to_owned(),
        delimiters: raccord::edi::syntax::Delimiters { repetition: Some(b'^'), ..Profile::x12().delimiters },
        ..Profile::x12()
    };
    let mut all = Vec::new();
    for group in receipt.groups.iter().filter(|group| group.wanted()) {
        let implementation = "005010X231A1";
        let early = kind("997", "", "004010", "X", "");
        let late = kind("999", "", implementation, "X", implementation);
        for (profile, kind, document) in
            [(Profile::x12(), early, functional(group, false)), (later.clone(), late, functional(group, true))]
        {
            let document = document.expect("it is wanted");
            let bytes = written(&profile, Some(&kind.release), &kind, &document);
            all.push(Written { name: format!("{} of {name}", kind.name), bytes, messages: 1 });
        }
    }
    let profile = Profile::x12();
    let mut writer = InterchangeWriter::new(Vec::new(), &profile, Library::shipped(), header()).expect("a good header");
    writer.service(&ta1(&receipt)).expect("it may stand there");
    let bytes = writer.finish().expect("memory");
    all.push(Written { name: format!("TA1 of {name}"), bytes, messages: 0 });
    all
}

fn kind(name: &str, version: &str, release: &str, agency: &str, association: &str) -> MessageType {
    let [name, version, release, agency, association] =
        [name, version, release, agency, association].map(str::to_owned);
    MessageType { name, version, release, agency, association }
}

fn written(profile: &Profile, group: Option<&str>, kind: &MessageType, document: &Value) -> Vec<u8> {
    let mut writer = InterchangeWriter::new(Vec::new(), profile, Library::shipped(), header()).expect("a good header");
    if let Some(version) = group {
        let party = |id: &str| Party { id: id.to_owned(), ..Party::default() };
        let header = GroupHeader {
            function: "FA".to_owned(),
            sender: party("ALPHA"),
            receiver: party("BETA"),
            reference: "1".to_owned(),
            agency: "X".to_owned(),
            version: version.to_owned(),
        };
        writer.group(header).expect("a good group");
    }
    let findings = writer.message(kind, "1", document).expect("an acknowledgment is allowed");
    assert!(findings.is_empty(), "{:?}", findings.list());
    writer.finish().expect("memory")
}

/// A payment, and others that are damaged, each in its own way: health care has it too, so that pyx12's maps know its group.
pub fn payments() -> String {
    let isa =
        "ISA*00*          *00*          *ZZ*ALPHA          *ZZ*BETA           *260105*0930*U*00401*000000007*1*P*>~";
    let bodies = [
        "BPR*I*100*C*CHK~TRN*1*4711~",
        "BPR*I**C*CHK~TRN*1*4711~",
        "BPR*I*100*C*CHK~TRN*1*4711~XX1*1~",
        "BPR*IOU*a lot*C*CHK~TRN*1~",
        "TRN*1*4711~",
        "BPR*I*100*C*CHK~TRN*1*4711~TRN*1*4712~",
    ];
    let mut sets = String::new();
    let count = bodies.len();
    for (at, body) in bodies.iter().enumerate() {
        let (number, segments) = (at + 1, body.matches('~').count() + 2);
        sets +=
            &format!("ST*820*{number:04}~{body}SE*{}*{number:04}~", if number == 2 { segments + 1 } else { segments });
    }
    format!("{isa}GS*RA*ALPHA*BETA*20260105*0930*7*X*004010~{sets}GE*{count}*7~IEA*1*000000007~")
}
