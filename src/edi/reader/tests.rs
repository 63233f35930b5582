//! Whole interchanges, as lines: what was read and what was found.

use super::super::findings::{Code, Severity};
use super::*;

/// Reads `text`, shows the events, and proves that their raw bytes are the input.
fn read(text: &[u8], options: Options) -> String {
    let mut reader = Reader::new(text, options);
    let (mut lines, mut raw) = (Vec::new(), Vec::new());
    while let Some(event) = reader.read().expect("a slice does not fail") {
        raw.extend_from_slice(event.raw());
        let mut line = match &event {
            Event::Interchange(i) => format!("interchange {} {}>{}", i.reference, i.sender.id, i.receiver.id),
            Event::Group(group) => format!("group {} {}", group.reference, group.version),
            Event::Message(m) => format!("message {} {} of {} segments", m.reference, m.kind, m.record.len()),
            Event::GroupEnd(end) => format!("group ends: {}", end.messages),
            Event::InterchangeEnd(end) => format!("interchange ends: {}", end.messages),
            Event::Other(other) => {
                format!("other {} bytes {}", other.record.raw().len(), other.record.tag(0)).trim().to_owned()
            }
        };
        event.findings().list().iter().for_each(|finding| line += &format!("\n  {finding}"));
        lines.push(line);
    }
    assert_eq!(raw, text, "every byte is kept");
    lines.join("\n")
}

fn check(text: &str, expect: &str) {
    let found = read(text.as_bytes(), Options::default());
    let expect = expect.trim().lines().map(|line| line.strip_prefix("        ").unwrap_or(line)).collect::<Vec<_>>();
    assert_eq!(found, expect.join("\n"), "{text}");
}

const ENVELOPED: &str =
    "UNB+UNOC:3+ALPHA:14+BETA:14+260101:1200+77'UNH+1+ORDERS:D:96A:UN:EAN008'BGM+220'UNT+3+1'UNZ+1+77'";

#[test]
fn a_plain_interchange() {
    let expect = "
        interchange 77 ALPHA>BETA
        message 1 ORDERS D.96A (EAN008) of 3 segments
        interchange ends: 1";
    check(ENVELOPED, expect);
    check(&ENVELOPED.replace('\'', "'\r\n"), &format!("{expect}\nother 2 bytes"));
    check(&format!("\u{FEFF}UNA:+.? '\n{ENVELOPED}"), expect);
}

#[test]
fn counts_and_references_are_compared() {
    check(
        "UNB+UNOC:3+ALPHA+BETA+260101:1200+77'UNH+1+ORDERS:D:96A:UN'BGM+220'UNT+4+2'UNH+1+ORDERS:D:96A:UN'UNT+2+1'UNZ+1+78'",
        "
        interchange 77 ALPHA>BETA
        message 1 ORDERS D.96A of 3 segments
          EDI-COUNT in message 1 at segment 3 (UNT) element 1, byte 67: UNT says there are `4` segments, but there are 3
          EDI-REFERENCE in message 1 at segment 3 (UNT) element 2, byte 67: UNT repeats the reference `2`, but it was `1`
        message 1 ORDERS D.96A of 2 segments
          EDI-REPEATED-REFERENCE in message 2 at segment 1 (UNH), byte 75: another message before it has the reference `1` too
        interchange ends: 2
          EDI-INTERCHANGE-COUNT at segment 7 (UNZ) element 1, byte 105: UNZ says there are `1` messages, but there are 2
          EDI-INTERCHANGE-REFERENCE at segment 7 (UNZ) element 2, byte 105: UNZ repeats the reference `78`, but it was `77`",
    );
}

#[test]
fn what_is_missing_is_told_once() {
    check(
        "UNB+UNOC:3+ALPHA+BETA+260101:1200+77'UNH+1+ORDERS:D:96A:UN'BGM+220'UNH+2+ORDERS:D:96A:UN'BG",
        "
        interchange 77 ALPHA>BETA
        message 1 ORDERS D.96A of 2 segments
          EDI-NO-END in message 1 at segment 2 (BGM), byte 59: the message does not end with UNT: another message, group or interchange begins or ends
        message 2 ORDERS D.96A of 2 segments
          EDI-UNTERMINATED in message 2 at segment 2 (BG), byte 89: the input ends without the terminator of this segment
          EDI-TAG in message 2 at segment 2 (BG), byte 89: `BG` is no segment tag
          EDI-NO-END in message 2 at segment 2 (BG), byte 89: the message does not end with UNT: the input ends
        interchange ends: 2
          EDI-NO-TRAILER at segment 5, byte 91: the end of the interchange is missing",
    );
    check(
        "UNH+1+ORDERS:D:96A:UN'UNT+2+1'",
        "
        interchange  >
          EDI-NO-ENVELOPE at segment 1 (UNH), byte 0: a message or group stands outside any interchange
        message 1 ORDERS D.96A of 2 segments
        interchange ends: 1",
    );
}

#[test]
fn delimiters_change_between_interchanges() {
    let other = "UNA!^.\\ ~UNB^UNOA!3^GAMMA^DELTA^260101!1200^78~UNH^1^ORDERS!D!96A!UN~UNT^2^1~UNZ^1^78~";
    check(
        &format!("{ENVELOPED}\n{other}\n{}", isa("00401", "U")),
        "
        interchange 77 ALPHA>BETA
        message 1 ORDERS D.96A (EAN008) of 3 segments
        interchange ends: 1
        interchange 78 GAMMA>DELTA
        message 1 ORDERS D.96A of 2 segments
        interchange ends: 1
        interchange 000000001 ALPHA>BETA
        group 1 004010
        message 0001 850 004010 of 3 segments
        group ends: 1
        interchange ends: 1",
    );
}

fn isa(version: &str, standard: &str) -> String {
    format!(
        "ISA*00*          *00*          *ZZ*ALPHA          *ZZ*BETA           *260101*1200*{standard}*{version}*000000001*0*P*>~\
         GS*PO*ALPHA*BETA*20260101*1200*1*X*004010~ST*850*0001~BEG*00*SA*1**20260101~SE*3*0001~GE*1*1~IEA*1*000000001~"
    )
}

#[test]
fn groups_and_stray_segments() {
    check(
        &format!(
            "{}\r\nXYZ*1~",
            isa("00401", "U").replace("~GS", "~TA1*000000001*260101*1200*A*000~GS").replace("GE*1*1~", "")
        ),
        "
        interchange 000000001 ALPHA>BETA
        other 32 bytes TA1
        group 1 004010
        message 0001 850 004010 of 3 segments
        group ends: 1
          EDI-NO-TRAILER at segment 7, byte 224: the end of the group is missing
        interchange ends: 1
        other 8 bytes
          EDI-STRAY, byte 240: 8 bytes belong to no interchange",
    );
}

#[test]
fn bytes_are_looked_at() {
    let mut text = ENVELOPED.replace("BGM+220", "FTX+AAI+++wrapped at\r\neighty#").into_bytes();
    if let Some(byte) = text.iter_mut().find(|byte| **byte == b'#') {
        *byte = 0xE9;
    }
    let mut reader = Reader::new(&text[..], Options::default());
    while let Some(event) = reader.read().expect("a slice does not fail") {
        let Event::Message(message) = event else { continue };
        let segment = message.record.get(1).expect("FTX");
        assert_eq!(message.notation.value(&segment, 4, 1), "wrapped ateighty\u{E9}");
        let codes: Vec<_> = message.findings.list().iter().map(|finding| finding.code).collect();
        assert_eq!(codes, [Code::Newline]);
    }
    let ascii = String::from_utf8_lossy(&text).replace("UNOC", "UNOA");
    let found = read(ascii.as_bytes(), Options::default());
    assert!(found.contains("EDI-CHARSET"), "{found}");
}

#[test]
fn levels_a_and_b_are_watched() {
    let charsets = |text: &str| -> Vec<String> {
        let found = read(text.as_bytes(), Options::default());
        let lines = found.lines().filter(|line| line.contains("EDI-CHARSET"));
        lines.map(|line| line.trim().split(", byte").next().unwrap_or_default().to_owned()).collect()
    };
    let of = |syntax: &str, text: &str| charsets(&ENVELOPED.replace("UNOC", syntax).replace("BGM+220", text));
    assert_eq!(of("UNOA", "FTX+AAI+++IT?'S (5 %)"), Vec::<String>::new());
    assert_eq!(of("UNOA", "FTX+AAI+++low'FTX+AAI+++low"), ["EDI-CHARSET in message 1 at segment 2 (FTX)"]);
    assert_eq!(of("UNOB", "FTX+AAI+++low"), Vec::<String>::new());
    assert_eq!(of("UNOB", "FTX+AAI+++a@b"), ["EDI-CHARSET in message 1 at segment 2 (FTX)"]);
    // How other letters are read is told besides.
    let both = ["EDI-CHARSET in message 1 at segment 2 (FTX)", "EDI-CHARSET in message 1 at segment 3 (FTX)"];
    assert_eq!(of("UNOA", "FTX+AAI+++low'FTX+AAI+++É'FTX+AAI+++È"), both);
    assert_eq!(
        charsets(&ENVELOPED.replace("UNOC", "UNOA").replace("ALPHA", "Alpha")),
        ["EDI-CHARSET at segment 1 (UNB)"]
    );
    let charset = Charset::configured("ascii");
    let found = read(
        ENVELOPED.replace("UNOC", "UNOA").replace("220", "low").as_bytes(),
        Options { charset, ..Options::default() },
    );
    assert!(!found.contains("EDI-CHARSET"), "{found}");
}

#[test]
fn nothing_grows_without_bound() {
    let limits = Limits { segment: 100_000, message: 1000, findings: 3 };
    let endless = ENVELOPED.replace("BGM+220'", &"x".repeat(900_000));
    let found = read(endless.as_bytes(), Options { limits, ..Options::default() });
    assert!(found.contains("EDI-LIMIT"), "{found}");
    let long = ENVELOPED.replace("BGM+220'", &"FTX+AAI+++text'".repeat(100));
    let found = read(long.as_bytes(), Options { limits, ..Options::default() });
    assert!(found.contains("the message is longer than 1000 bytes"), "{found}");
    let empty = ENVELOPED.replace("BGM+220'", &"'".repeat(5000));
    let found = read(empty.as_bytes(), Options { limits, ..Options::default() });
    assert!(found.contains("the message is longer than 1000 bytes"), "{found}");
}

#[test]
fn a_policy_weighs() {
    let policy =
        Policy::default().with(Code::Count, Severity::Ignore).with(Code::InterchangeCount, Severity::RejectInterchange);
    let text = ENVELOPED.replace("UNT+3", "UNT+9").replace("UNZ+1", "UNZ+9");
    let mut reader = Reader::new(text.as_bytes(), Options { policy, ..Options::default() });
    let mut verdicts = Vec::new();
    while let Some(event) = reader.read().expect("a slice does not fail") {
        verdicts.push(event.findings().verdict());
    }
    assert_eq!(verdicts, [Severity::Ignore, Severity::Ignore, Severity::RejectInterchange]);
}

#[test]
fn an_interchange_can_be_judged_before_its_messages_go_on() {
    let policy = Policy::default().with(Code::InterchangeCount, Severity::RejectInterchange);
    let options = Options { policy, ..Options::default() };
    let text = format!("{ENVELOPED}{}{ENVELOPED}", ENVELOPED.replace("UNZ+1", "UNZ+9"));
    let verdicts = survey(text.as_bytes(), options, |_| Severity::Ignore).expect("a slice does not fail");
    assert_eq!(verdicts, [Severity::Ignore, Severity::RejectInterchange, Severity::Ignore]);
}
