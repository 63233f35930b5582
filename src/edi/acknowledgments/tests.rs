//! What is answered, written and read again.

use super::*;
use crate::edi::directory::Library;
use crate::edi::findings::Policy;
use crate::edi::reader::{Options, Party, Reader};
use crate::edi::writer::{GroupHeader, Header, InterchangeWriter, Profile};
use crate::message::Value;

fn receipt(text: &str) -> Receipt {
    judged(text, &Policy::default())
}

fn judged(text: &str, policy: &Policy) -> Receipt {
    let mut receipt = Receipt::default();
    let mut reader = Reader::new(text.as_bytes(), Options { policy: policy.clone(), ..Options::default() });
    while let Some(event) = reader.read().expect("a slice does not fail") {
        let tree = match &event {
            Event::Message(message) => Some(Tree::read(message, Library::shipped(), policy, 100)),
            _ => None,
        };
        receipt.note(&event, tree.as_ref());
    }
    receipt
}

/// The segments between the first and last of the message, as its writer writes them without any finding.
fn written(profile: &Profile, name: &str, version: &str, release: &str, document: &Value) -> String {
    let header = Header {
        sender: Party { id: "BETA".into(), qualifier: "ZZ".into(), ..Party::default() },
        receiver: Party { id: "ALPHA".into(), qualifier: "ZZ".into(), ..Party::default() },
        date: "20260101".into(),
        time: "1300".into(),
        reference: "1".into(),
        ..Header::default()
    };
    let mut writer = InterchangeWriter::new(Vec::new(), profile, Library::shipped(), header).expect("a good header");
    if name.starts_with('9') {
        writer.group(GroupHeader { function: "FA".into(), ..GroupHeader::default() }).expect("a good group");
    }
    let kind = MessageType {
        name: name.into(),
        version: version.into(),
        release: release.into(),
        agency: "UN".into(),
        ..Default::default()
    };
    let findings = writer.message(&kind, "1", document).expect("allowed");
    assert!(findings.is_empty(), "{:?}", findings.list());
    let text = String::from_utf8(writer.finish().expect("memory")).expect("ASCII");
    let begin = text.find("UCI").or(text.find("AK1")).expect("it is there");
    let end = text.find("UNT+").or(text.find("SE*")).expect("it is there");
    text[begin..end].to_owned()
}

fn contrl_of(segments: &str, count: usize) -> String {
    let text = format!(
        "UNB+UNOC:3+ALPHA:14+BETA:14+260101:1200+77'UNH+1+ORDERS:D:96A:UN'{segments}UNT+{count}+1'\
         UNH+2+ORDERS:D:96A:UN'BGM+220'DTM+137:20260101:102'UNS+S'UNT+5+2'UNZ+2+77'"
    );
    let document = contrl(&receipt(&text), false).expect("wanted");
    written(&Profile::edifact(), "CONTRL", "D", "3", &document)
}

#[test]
fn contrl_tells_the_segments_in_error() {
    assert_eq!(contrl_of("BGM+220'DTM+137:20260101:102'UNS+S'", 5), "UCI+77+ALPHA:14+BETA:14+7'");
    assert_eq!(
        contrl_of("BGM+220'DTM'UNS+S'", 6),
        "UCI+77+ALPHA:14+BETA:14+7'UCM+1+ORDERS:D:96A:UN+4+29'UCS+3'UCD+13+1'UCS+5'UCD+29+1'"
    );
    assert_eq!(contrl_of("BGM+220'UNS+S'", 4), "UCI+77+ALPHA:14+BETA:14+7'UCM+1+ORDERS:D:96A:UN+4'UCS+2+13'");
}

#[test]
fn contrl_names_the_groups_of_what_is_refused() {
    let set =
        |reference: u8, rest: &str| format!("UNH+{reference}+ORDERS:D:96A:UN'BGM+220'{rest}UNS+S'UNT+5+{reference}'");
    let (good, bad) = (|reference| set(reference, "DTM+137:20260101:102'"), |reference| set(reference, "DTM'"));
    let group = |reference: &str, messages: &str, count: u8| {
        format!("UNG+ORDERS+ALPHA1:14+BETA1:14+260101:1200+{reference}+UN+D:96A'{messages}UNE+{count}+{reference}'")
    };
    let groups = [group("G1", &good(1), 1), group("G2", &(good(1) + &bad(2)), 2), group("G3", &good(1), 7)].concat();
    let text = format!("UNB+UNOC:3+ALPHA:14+BETA:14+260101:1200+77'{groups}{}UNZ+3+77'", bad(9));
    let outside = "UCM+9+ORDERS:D:96A:UN+4'UCS+3'UCD+13+1'";
    let inside = "UCF+G2+ALPHA1:14+BETA1:14+7'UCM+2+ORDERS:D:96A:UN+4'UCS+3'UCD+13+1'";
    let document = contrl(&receipt(&text), false).expect("wanted");
    let head = "UCI+77+ALPHA:14+BETA:14+7'";
    assert_eq!(written(&Profile::edifact(), "CONTRL", "D", "3", &document), format!("{head}{outside}{inside}"));
    let strict = Policy::default().with(Code::GroupCount, Severity::RejectMessage);
    let document = contrl(&judged(&text, &strict), false).expect("wanted");
    assert_eq!(
        written(&Profile::edifact(), "CONTRL", "D", "3", &document),
        format!("{head}{outside}{inside}UCF+G3+ALPHA1:14+BETA1:14+4+29'")
    );
}

#[test]
fn contrl_of_the_fourth_syntax() {
    let text = "UNB+UNOC:4+ALPHA:14+BETA:14+20260101:1200+77'UNG+ORDERS+++20260101:1200+G1'UNH+1+ORDERS:D:01B:UN'\
        BGM+220'DTM+137:20260101:102'ALI+BE++A*B:1'UNS+S'UNT+7+1'UNE+1+G1'UNZ+1+77'";
    let document = contrl(&receipt(text), false).expect("wanted");
    let profile = Profile { version: "4".to_owned(), ..Profile::edifact() };
    let text = written(&profile, "CONTRL", "4", "1", &document);
    assert_eq!(
        text,
        "UCI+77+ALPHA:14+BETA:14+7'UCF+G1+ALPHA:14+BETA:14+7'UCM+1+ORDERS:D:01B:UN+4+29'UCS+4'UCD+16+3:2:2'UCD+35+3'UCS+6'UCD+29+1'"
    );
}

#[test]
fn an_acknowledgment_is_not_acknowledged() {
    let text = "UNB+UNOC:3+ALPHA:14+BETA:14+260101:1200+77'UNH+1+CONTRL:D:3:UN'UCI+1+A+B+7'UNT+3+1'UNZ+1+77'";
    assert!(contrl(&receipt(text), false).is_none());
}

fn x12(sets: &str, count: usize) -> Receipt {
    receipt(&format!(
        "ISA*00*          *00*          *ZZ*ALPHA          *ZZ*BETA           *260101*1200*U*00401*000000007*0*P*>~\
         GS*PO*ALPHA*BETA*20260101*1200*3*X*004010~{sets}GE*{count}*3~IEA*1*000000007~"
    ))
}

const GOOD: &str = "ST*850*0001~BEG*00*SA*4711**20260101~PO1*1*12*EA*2.5~SE*4*0001~";
const BAD: &str = "ST*850*0002~BEG*00*SA***20260101~XX1*1~PO1*1*12*EAST*2.5~SE*9*0002~";

#[test]
fn a_997_tells_sets_segments_and_elements() {
    let check = |sets: &str, count, expect: &str| {
        let receipt = x12(sets, count);
        let document = functional(&receipt.groups[0], false).expect("wanted");
        assert_eq!(written(&Profile::x12(), "997", "", "004010", &document), expect);
    };
    check(GOOD, 1, "AK1*PO*3~AK2*850*0001~AK5*A~AK9*A*1*1*1~");
    check(
        &format!("{GOOD}{BAD}"),
        2,
        "AK1*PO*3~AK2*850*0001~AK5*A~AK2*850*0002~AK3*BEG*2**8~AK4*3**1~AK3*XX1*3**6~AK3*PO1*4**8~AK4*3**5~AK5*R*4*5~AK9*P*2*2*1~",
    );
    let short = "ST*850*0003~BEG*00*SA*4711**20260101~CTT*1~SE*4*0003~";
    check(short, 1, "AK1*PO*3~AK2*850*0003~AK3*PO1*3**3~AK5*R*5~AK9*R*1*1*0~");
    check(GOOD, 4, "AK1*PO*3~AK2*850*0001~AK5*A~AK9*E*4*1*1*5~");
}

#[test]
fn a_999_tells_the_same() {
    let receipt = x12(BAD, 1);
    let document = functional(&receipt.groups[0], true).expect("wanted");
    assert_eq!(
        written(&Profile { version: "00501".into(), ..Profile::x12() }, "999", "", "005010", &document),
        "AK1*PO*3*004010~AK2*850*0002~IK3*BEG*2**8~IK4*3**1~IK3*XX1*3**6~IK3*PO1*4**8~IK4*3**5~IK5*R*4*5~AK9*R*1*1*0~"
    );
}

#[test]
fn a_ta1_tells_the_interchange() {
    let line = ta1(&x12(GOOD, 1));
    assert_eq!((line.get(1), line.get(4), line.get(5)), ("000000007", "A", "000"));
}

/// What very many messages leave behind: a few words each, and findings up to a bound.
#[test]
fn receipts_stay_small() {
    assert!(size_of::<MessageReceipt>() <= 64, "{}", size_of::<MessageReceipt>());
    let order = |number: usize, rest: &str| format!("UNH+{number}+ORDERS:D:96A:UN'BGM+220'{rest}UNS+S'UNT+9+{number}'");
    let many: String = (0..30_000).map(|number| order(number, "DTM'QTY+21'")).collect();
    let receipt = receipt(&format!("UNB+UNOC:3+ALPHA+BETA+260101:1200+77'{many}"));
    let messages = &receipt.groups[0].messages;
    let kept: usize = messages.iter().map(|message| message.findings.len()).sum();
    assert!(messages.iter().all(|message| !message.findings.is_empty() && !message.accepted()));
    assert!(messages.len() == 30_000 && kept <= FINDINGS + messages.len(), "{kept}");
    assert!(messages.iter().all(|message| Arc::ptr_eq(&message.kind, &messages[0].kind)));
    let late = &messages[29_999].findings[0];
    assert!(late.severity >= Severity::RejectMessage && late.sentence.is_empty(), "{late:?}");
    // Warnings of accepted messages leave room for what is refused.
    let sets: String = (0..15_000).map(|_| GOOD.replace("*EA*", "*EAST*")).collect();
    let receipt = x12(&format!("{sets}{BAD}"), 15_001);
    let messages = &receipt.groups[0].messages;
    let (last, good) = messages.split_last().expect("not empty");
    assert_eq!(good.iter().map(|message| message.findings.len()).sum::<usize>(), FINDINGS / 2);
    assert!(good.iter().all(|message| message.noted && message.accepted()));
    assert!(last.findings.len() > 3 && last.findings.iter().all(|finding| !finding.sentence.is_empty()));
}
