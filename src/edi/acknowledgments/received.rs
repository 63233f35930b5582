//! Acknowledgments read: from bytes to what they say.

use super::*;
use crate::edi::directory::Library;
use crate::edi::document::document;
use crate::edi::findings::Policy;
use crate::edi::reader::{Notation, Options, Reader};

/// The acknowledgments of an input, in order.
fn acknowledgments(text: &str) -> Vec<Acknowledgment> {
    let mut reader = Reader::new(text.as_bytes(), Options::default());
    let (mut found, mut notation) = (Vec::new(), Notation::default());
    while let Some(event) = reader.read().expect("a slice does not fail") {
        match event {
            Event::Interchange(interchange) => notation = interchange.notation,
            Event::Message(message) => {
                let tree = Tree::read(message, Library::shipped(), &Policy::default(), 100);
                found.extend(Acknowledgment::read(&document(&tree)));
            }
            Event::Other(other) => {
                let segment = other.record.get(0);
                found.extend(segment.and_then(|segment| Acknowledgment::read_ta1(&segment, &notation)));
            }
            _ => {}
        }
    }
    found
}

/// The only one, as lines: the whole, then each group and message, with reasons under them.
fn shown(text: &str) -> String {
    let [one] = &acknowledgments(text)[..] else { panic!("not one acknowledgment in {text}") };
    let mut lines = vec![match &one.answered {
        Answered::Interchange { reference, sender, receiver, date, time } => {
            let parts = [reference, &sender.id, &receiver.id, date, time];
            let parts: Vec<&str> = parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
            format!("interchange {}: {:?}", parts.join(" "), one.fate)
        }
        Answered::Group { function, reference, version } => {
            format!("group {}: {:?}", format!("{function} {reference} {version}").trim(), one.fate)
        }
    }];
    let reasons = |lines: &mut Vec<String>, reasons: &[Reason]| {
        lines.extend(reasons.iter().map(|reason| format!("  {reason}")));
    };
    reasons(&mut lines, &one.reasons);
    for group in &one.groups {
        lines.push(format!("group {}: {:?}", group.reference, group.fate));
        reasons(&mut lines, &group.reasons);
    }
    for message in &one.messages {
        let group = message.group.as_ref().map(|group| format!(" of {group}")).unwrap_or_default();
        lines.push(format!("{} {}{group}: {:?}", message.name, message.reference, message.fate));
        reasons(&mut lines, &message.reasons);
    }
    lines.join("\n")
}

fn check(text: &str, expect: &str) {
    let expect: Vec<&str> = expect.trim().lines().map(|line| line.strip_prefix("        ").unwrap_or(line)).collect();
    assert_eq!(shown(text), expect.join("\n"), "{text}");
}

fn edifact(segments: &str) -> String {
    let count = segments.matches('\'').count() + 2;
    format!("UNB+UNOC:3+BETA:14+ALPHA:14+260101:1300+9'UNH+1+CONTRL:D:3:UN'{segments}UNT+{count}+1'UNZ+1+9'")
}

fn x12(set: &str, version: &str) -> String {
    let (count, kind) = (set.matches('~').count() + 2, if set.contains("IK") { "999" } else { "997" });
    format!(
        "ISA*00*          *00*          *ZZ*BETA           *ZZ*ALPHA          *260101*1300*U*00401*000000009*0*P*>~\
         GS*FA*BETA*ALPHA*20260101*1300*9*X*{version}~ST*{kind}*0001~{set}SE*{count}*0001~GE*1*9~IEA*1*000000009~"
    )
}

#[test]
fn contrl_says_what_became_of_an_interchange() {
    check(&edifact("UCI+77+ALPHA:14+BETA:14+7'"), "interchange 77 ALPHA BETA: Accepted");
    check(&edifact("UCI+77+ALPHA:14+BETA:14+8'"), "interchange 77 ALPHA BETA: Received");
    check(
        &edifact("UCI+77+ALPHA:14+BETA:14+4+23+UNB+2:1'"),
        "
        interchange 77 ALPHA BETA: Rejected
          UNB, element 2, component 1: the sender of the interchange is not known (0085 23)",
    );
    check(
        &edifact(
            "UCI+77+ALPHA:14+BETA:14+7'UCM+1+ORDERS:D:96A:UN+4+29+UNT+1'UCS+3+99'UCD+13+1:2'UCS+5'UCD+39+2'\
             UCM+2+ORDERS:D:96A:UN+7'",
        ),
        "
        interchange 77 ALPHA BETA: Partly
        ORDERS 1: Rejected
          UNT, element 1: the count at the end is not what was received (0085 29)
          segment 3: code 99 (0085 99)
          segment 3, element 1, component 2: something mandatory is missing (0085 13)
          segment 5, element 2: the value is too long (0085 39)
        ORDERS 2: Accepted",
    );
    check(&edifact("UCI+77+ALPHA+BETA+Q'"), "interchange 77 ALPHA BETA: Unknown");
}

#[test]
fn contrl_tells_groups_apart() {
    let text = edifact(
        "UCI+77+ALPHA+BETA+7'UCF+G1+A+B+4+30'UCF+G2+A+B+7'UCM+1+ORDERS:D:96A:UN+4'UCF+G3+A+B+7'UCM+1+ORDERS:D:96A:UN+7'",
    );
    check(
        &text,
        "
        interchange 77 ALPHA BETA: Partly
        group G1: Rejected
          groups stand beside messages that are in none (0085 30)
        group G2: Partly
        group G3: Accepted
        ORDERS 1 of G2: Rejected
        ORDERS 1 of G3: Accepted",
    );
    let one = acknowledgments(&text).remove(0);
    assert_eq!(one.fate_of("G1", "1"), Fate::Rejected);
    assert_eq!(one.fate_of("G2", "1"), Fate::Rejected);
    assert_eq!(one.fate_of("G2", "2"), Fate::Accepted);
    assert_eq!(one.fate_of("G3", "1"), Fate::Accepted);
    assert_eq!(one.fate_of("G4", "1"), Fate::Accepted);
}

#[test]
fn a_997_and_a_999_say_what_became_of_a_group() {
    let set = "AK1*PO*3~AK2*850*0001~AK5*A~AK2*850*0002~AK3*BEG*2**8~AK4*3*324*1~AK3*XX1*3**6~AK3*PO1*4*PO1*8~\
        AK4*3:1:2*355*7*EAST~AK5*R*4*5~AK2*850*0003~AK5*E*77~AK9*P*3*3*2~";
    let expect = "
        group PO 3: Partly
        850 0001: Accepted
        850 0002: Rejected
          SE counts other segments than there are (AK502 4)
          segment 2 BEG, element 3: a mandatory value is missing (AK403 1)
          segment 3 XX1: sets of this kind have no such segment (AK304 6)
          segment 4 PO1, element 3, component 1: `EAST`: the code is not one of those allowed (AK403 7)
        850 0003: WithErrors
          code 77 (AK502 77)";
    check(&x12(&set.replace("3:1:2", "3>1"), "004010"), expect);
    let implementation =
        "AK1*PO*3*005010~AK2*850*0002~IK3*BEG*2**8~IK4*3>1>2*324*I6*X~CTX*A~IK3*XX1*3**3~IK5*R*I5~AK9*R*1*1*0*5*1~";
    check(
        &x12(implementation, "005010"),
        "
        group PO 3 005010: Rejected
          GE counts other sets than there are (AK905 5)
          groups of this kind are not taken (AK905 1)
        850 0002: Rejected
          segment 2 BEG, element 3, repetition 2, component 1: `X`: the guideline does not use this code (AK403 I6)
          segment 3 XX1: the mandatory segment is missing (AK304 3)",
    );
    check(&x12("AK1*IN*4~AK9*M*2*2*0*18~", "004010"), "group IN 4: Rejected\n  the authentication failed (AK905 18)");
    // Half of it is missing.
    check(&x12("AK1*IN~", "004010"), "group IN: Unknown");
}

#[test]
fn a_ta1_tells_of_the_envelope_only() {
    let text = |rest: &str| {
        format!(
            "ISA*00*          *00*          *ZZ*BETA           *ZZ*ALPHA          *260101*1300*U*00401*000000009*0*P*>~\
             TA1*000000007*260101*1200*{rest}~IEA*0*000000009~"
        )
    };
    check(&text("A*000"), "interchange 000000007 260101 1200: Accepted");
    check(
        &text("R*025"),
        "
        interchange 000000007 260101 1200: Rejected
          an interchange with this control number was received before (TA105 025)",
    );
    let fate = |rest: &str| acknowledgments(&text(rest)).remove(0).fate_of("", "0001");
    assert_eq!(
        [fate("A*000"), fate("E*001"), fate("R*024"), fate("")].map(|fate| format!("{fate:?}")),
        ["Received", "Received", "Rejected", "Unknown"]
    );
}

#[test]
fn what_is_not_named_shares_the_fate_of_the_whole() {
    let fate = |text: String, reference: &str| acknowledgments(&text).remove(0).fate_of("", reference);
    let part = || x12("AK1*PO*3~AK2*850*0002~AK5*R~AK9*P*3*3*2~", "004010");
    assert_eq!((fate(part(), "0002"), fate(part(), "0001")), (Fate::Rejected, Fate::Accepted));
    assert_eq!((fate(part(), "2"), fate(part(), "20")), (Fate::Rejected, Fate::Accepted));
    // A refused group is one of those that are named.
    let group = edifact("UCI+77+ALPHA+BETA+7'UCF+G1+A+B+4+30'");
    let one = acknowledgments(&group).remove(0);
    assert_eq!((one.fate_of("G1", "1"), one.fate_of("G2", "1")), (Fate::Rejected, Fate::Accepted));
    // Some are rejected, and it is not said which.
    assert_eq!(fate(x12("AK1*PO*3~AK9*P*3*3*2~", "004010"), "0001"), Fate::Partly);
    // A group that is rejected takes all with it.
    assert_eq!(fate(x12("AK1*PO*3~AK2*850*0001~AK5*A~AK9*R*3*3*0~", "004010"), "0001"), Fate::Rejected);
    assert_eq!(fate(edifact("UCI+77+ALPHA+BETA+8'"), "1"), Fate::Received);
    assert_eq!(fate(edifact("UCI+77+ALPHA+BETA+4'UCM+1+ORDERS:D:96A:UN+7'"), "1"), Fate::Rejected);
}

#[test]
fn what_is_no_acknowledgment_is_none() {
    for text in ["{}", "[]", "null", r#"{"BGM":{}}"#] {
        assert_eq!(Acknowledgment::read(&crate::message::json::read(text.as_bytes()).expect("JSON")), None, "{text}");
    }
}

#[test]
fn any_shape_is_survived_and_reasons_are_bounded() {
    let read = |text: &str| Acknowledgment::read(&crate::message::json::read(text.as_bytes()).expect("JSON"));
    let texts = [
        r#"{"UCI":7,"UCM_group":{"UCM":[],"UCS_group":[[],{"UCS":{"E0096":"x"},"UCD":"y"}]}}"#,
        r#"{"AK1":{},"AK2_loop":["x",{"AK5":{"AK501":[]},"AK3_loop":{"AK3":null,"AK4":[{"AK401":"3","AK403":"1"},7]}}],"AK9":[]}"#,
    ];
    for text in texts {
        assert_eq!(read(text).expect("an acknowledgment").fate, Fate::Unknown, "{text}");
    }
    let elements = vec![r#"{"E0085":"13","S011":{"E0098":"1"}}"#; REASONS + 5].join(",");
    let many =
        format!(r#"{{"UCI":{{"E0083":"7"}},"UCM_group":[{{"UCM":{{}},"UCS_group":[{{"UCD":[{elements}]}}]}}]}}"#);
    let one = read(&many).expect("an acknowledgment");
    assert_eq!((one.reasons().count(), one.dropped), (REASONS, 5));
}
