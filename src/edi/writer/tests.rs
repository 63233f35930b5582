//! What is written, read again.

use super::*;
use crate::edi::reader::{Event, Options, Party, Reader};
use crate::message::json;

fn header() -> Header {
    let party = |id: &str, qualifier: &str| Party { id: id.into(), qualifier: qualifier.into(), ..Party::default() };
    Header {
        sender: party("ALPHA", "ZZ"),
        receiver: party("BETA", "ZZ"),
        date: "20260101".into(),
        time: "1200".into(),
        reference: "7".into(),
        ..Header::default()
    }
}

fn kind(name: &str, version: &str, release: &str, agency: &str) -> MessageType {
    MessageType {
        name: name.into(),
        version: version.into(),
        release: release.into(),
        agency: agency.into(),
        ..Default::default()
    }
}

fn orders() -> MessageType {
    kind("ORDERS", "D", "96A", "UN")
}

fn value(text: &str) -> Value {
    json::read(text.as_bytes()).expect("JSON")
}

const ORDER: &str = r#"{"BGM":{"C002":{"E1001":"220"},"E1004":"4711"},"DTM":[{"C507":{"E2005":"137","E2380":"20260101","E2379":"102"}}],
    "FTX":[{"E4451":"AAI","C108":{"E4440":["it's 5 + 5: ÉTÉ?"]}}],
    "LIN_group":[{"LIN":{"E1082":"1"},"QTY":[{"C186":{"E6063":"21","E6060":1.5}}]}],"UNS":{"E0081":"S"}}"#;

fn written(profile: &Profile, document: &str) -> Result<String, Vec<String>> {
    let mut writer = InterchangeWriter::new(Vec::new(), profile, Library::shipped(), header()).expect("a good header");
    match writer.message(&orders(), "1", &value(document)) {
        Ok(_) => Ok(String::from_utf8_lossy(&writer.finish().expect("memory")).into_owned()),
        Err(WriteError::Refused(findings)) => Err(findings.list().iter().map(ToString::to_string).collect()),
        Err(WriteError::Io(error)) => Err(vec![error.to_string()]),
    }
}

#[test]
fn edifact_as_the_profile_says() {
    let utf_8 = Profile { charset: crate::edi::charset::Charset::UTF_8, ..Profile::edifact() };
    let text = written(&utf_8, ORDER).expect("written");
    assert_eq!(
        text,
        "UNA:+.? 'UNB+UNOC:3+ALPHA:ZZ+BETA:ZZ+260101:1200+7'UNH+1+ORDERS:D:96A:UN'BGM+220+4711'DTM+137:20260101:102'\
         FTX+AAI+++it?'s 5 ?+ 5?: ÉTÉ??'LIN+1'QTY+21:1.5'UNS+S'UNT+8+1'UNZ+1+7'"
    );
    let mut other = utf_8.clone();
    other.delimiters.decimal = b',';
    (other.delimiters.segment, other.newline, other.service_string) = (b'~', Newline::CrLf, ServiceString::WhenNeeded);
    let text = written(&other, ORDER).expect("written");
    assert!(text.starts_with("UNA:+,? ~\r\nUNB+"), "{text}");
    assert!(text.contains("QTY+21:1,5~\r\n"), "{text}");
    assert!(text.contains("it's 5"), "{text}");
    let never = Profile { service_string: ServiceString::WhenNeeded, ..utf_8 };
    assert!(written(&never, ORDER).expect("written").starts_with("UNB"));
}

#[test]
fn what_is_forbidden_is_refused() {
    let check = |document: &str, expect: &[&str]| {
        let found = written(&Profile::edifact(), document).expect_err("refused");
        let found: Vec<_> = found.iter().map(|finding| finding.split(", byte").next().unwrap_or_default()).collect();
        assert_eq!(found, expect, "{document}");
    };
    check(
        r#"{"BGM":{"E1004":"4711"}}"#,
        &[
            "EDI-MISSING-SEGMENT in message 1 after segment 2 (DTM)",
            "EDI-MISSING-SEGMENT in message 1 after segment 2 (UNS)",
        ],
    );
    check(&ORDER.replace("4711", "Łódź"), &["EDI-CHARSET at segment 2 (BGM) element 2 component 1"]);
    check(&ORDER.replace("E1004", "E9999"), &["EDI-UNKNOWN-FIELD"]);
    let strict = Profile {
        policy: crate::edi::findings::Policy::default()
            .with(Code::TooLong, crate::edi::findings::Severity::RejectMessage),
        ..Profile::edifact()
    };
    assert!(written(&strict, &ORDER.replace("4711", &"4".repeat(50))).is_err());
}

#[test]
fn what_is_written_keeps_to_the_guide() {
    let mut profile = Profile::edifact();
    profile.guide.codes.allow("E6063", ["12"]);
    let text = written(&profile, ORDER).expect("a warning only");
    assert!(text.contains("QTY+21:1.5"), "{text}");
    profile.policy = profile.policy.with(Code::Unlisted, crate::edi::findings::Severity::RejectMessage);
    let found = written(&profile, ORDER).expect_err("refused");
    assert!(found[0].starts_with("EDI-CODE in message 1 at segment 6 (QTY) element 1 component 1"), "{found:?}");
    profile.guide.codes.allow("E6063", ["21"]);
    assert!(written(&profile, ORDER).is_ok());
}

#[test]
fn levels_a_and_b_are_kept() {
    use crate::edi::charset::Charset;
    let profile = |syntax: &str| Profile {
        syntax: syntax.into(),
        charset: Charset::declared(syntax).expect("known"),
        ..Profile::edifact()
    };
    let plain = ORDER.replace("it's 5 + 5: ÉTÉ?", "IT'S 5 + 5: ETE?");
    let check = |syntax: &str, document: &str, expect: &str| {
        let found = written(&profile(syntax), document).map(|_| Vec::new()).unwrap_or_else(|found| found);
        let found: Vec<_> = found.iter().filter_map(|finding| finding.split_once(", byte 0: ")).collect();
        let found: Vec<_> = found.into_iter().map(|(place, sentence)| format!("{place}: {sentence}")).collect();
        assert_eq!(found.join("; "), expect, "{document}");
    };
    check("UNOA", &plain, "");
    let lower = plain.replace("4711", "po1");
    check("UNOA", &lower, "EDI-CHARSET at segment 2 (BGM) element 2 component 1: UNOA does not have the character `p`");
    check("UNOB", &lower, "");
    let at = plain.replace("4711", "A@B");
    check("UNOB", &at, "EDI-CHARSET at segment 2 (BGM) element 2 component 1: UNOB does not have the character `@`");
    check("UNOC", &at, "");
    // A delimiter in use may stand in a value, released.
    let mut tilde = profile("UNOB");
    tilde.delimiters.segment = b'~';
    assert!(written(&tilde, &plain.replace("4711", "A~B")).expect("written").contains("BGM+220+A?~B~"));
    // Another set is configured: then UNOA is only a word.
    let ascii = Profile { charset: Charset::configured("ascii").expect("known"), ..profile("UNOA") };
    assert!(written(&ascii, &lower).is_ok());
}

#[test]
fn no_segment_of_the_envelope_stands_in_a_message() {
    let tolerant = Profile { policy: crate::edi::findings::Policy::tolerant(), ..Profile::edifact() };
    let other = |tag: &str| {
        let other = format!(r#""_other":[{{"at":"2","segment":"{tag}","elements":[]}}],"FTX""#);
        written(&tolerant, &ORDER.replace(r#""FTX""#, &other))
    };
    assert!(other("XYZ").expect("it is only told").contains("'XYZ'"));
    for tag in ["UNT", "UNZ", "UNH", "ISA"] {
        let refused = other(tag).expect_err("refused");
        assert!(refused.iter().any(|finding| finding.starts_with("EDI-STRAY at segment 4")), "{refused:?}");
    }
}

#[test]
fn a_refused_message_leaves_the_interchange_whole() {
    let profile = Profile::edifact();
    let mut writer = InterchangeWriter::new(Vec::new(), &profile, Library::shipped(), header()).expect("a good header");
    assert!(writer.message(&orders(), "1", &value("{}")).is_err());
    assert!(writer.message(&orders(), "2", &value(ORDER)).is_ok());
    let bytes = writer.finish().expect("memory");
    assert_eq!(findings(&bytes), Vec::<String>::new());
}

fn findings(bytes: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(bytes, Options::default());
    let mut found = Vec::new();
    while let Some(event) = reader.read().expect("a slice does not fail") {
        found.extend(event.findings().list().iter().map(ToString::to_string));
        if let Event::Message(message) = event {
            let tree = Tree::read(message, Library::shipped(), &crate::edi::findings::Policy::default(), 100);
            found.extend(tree.findings.list().iter().map(ToString::to_string));
        }
    }
    found
}

#[test]
fn an_interchange_of_nothing_is_not_written() {
    let profile = Profile::x12();
    let begun = || InterchangeWriter::new(Vec::new(), &profile, Library::shipped(), header()).expect("a good header");
    let group = |reference: &str| GroupHeader {
        function: "PO".into(),
        reference: reference.into(),
        version: "004010".into(),
        ..GroupHeader::default()
    };
    let (good, kind) = (
        value(r#"{"BEG":{"BEG01":"00","BEG02":"SA","BEG03":"1","BEG05":"20260101"},"PO1_loop":[{"PO1":{}}]}"#),
        kind("850", "", "004010", "X"),
    );
    let mut writer = begun();
    writer.group(group("1")).expect("a good group");
    assert!(writer.message(&kind, "1", &value("{}")).is_err());
    assert_eq!(writer.messages(), 0);
    assert_eq!(writer.finish().expect("memory"), b"");
    // Nor is a group of nothing, and it is not counted.
    let mut writer = begun();
    for reference in ["1", "2", "3"] {
        writer.group(group(reference)).expect("a good group");
        if reference == "2" {
            writer.message(&kind, "1", &good).expect("allowed");
        }
    }
    assert_eq!(writer.messages(), 1);
    let bytes = writer.finish().expect("memory");
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.contains("~GS*PO***20260101*1200*2**004010~ST*") && text.ends_with("~GE*1*2~IEA*1*000000007~"),
        "{text}"
    );
    assert_eq!(findings(&bytes), Vec::<String>::new());
}

#[test]
fn dates_are_as_long_as_the_version_wants() {
    let x12 = |interchange: &str, group: &str, date: &str, time: &str| {
        let profile = Profile { version: interchange.into(), ..Profile::x12() };
        let header = Header { date: date.into(), time: time.into(), ..header() };
        let mut writer =
            InterchangeWriter::new(Vec::new(), &profile, Library::shipped(), header).expect("a good header");
        writer
            .group(GroupHeader { function: "PO".into(), version: group.into(), ..GroupHeader::default() })
            .expect("a good group");
        let document =
            value(r#"{"BEG":{"BEG01":"00","BEG02":"SA","BEG03":"1","BEG05":"20260101"},"PO1_loop":[{"PO1":{}}]}"#);
        writer.message(&kind("850", "", "004010", "X"), "1", &document).expect("allowed");
        let text = String::from_utf8_lossy(&writer.finish().expect("memory")).into_owned();
        let element = |number: usize| text.split(['*', '~']).nth(number).unwrap_or_default().to_owned();
        format!("{} {} {} {}", element(9), element(10), element(21), element(22))
    };
    assert_eq!(x12("00401", "004010VICS", "20260101", "1200"), "260101 1200 20260101 1200");
    assert_eq!(x12("00401", "", "260101", "120059"), "260101 1200 20260101 120059");
    assert_eq!(x12("00200", "003060", "20260101", "1200"), "260101 1200 260101 1200");
    assert_eq!(x12("00400", "004010", "991231", "1200"), "991231 1200 19991231 1200");
    assert_eq!(x12("00305", "", "20260101", "1200"), "260101 1200 260101 1200");
    let edifact = |version: &str, date: &str| {
        let profile = Profile { version: version.into(), ..Profile::edifact() };
        let header = Header { date: date.into(), time: "120059".into(), ..header() };
        let mut writer =
            InterchangeWriter::new(Vec::new(), &profile, Library::shipped(), header).expect("a good header");
        let group = GroupHeader {
            function: "ORDERS".into(),
            sender: Party { id: "A".into(), ..Party::default() },
            receiver: Party { id: "B".into(), ..Party::default() },
            reference: "3".into(),
            agency: "UN".into(),
            version: "D:96A".into(),
        };
        writer.group(group).expect("a good group");
        writer.message(&orders(), "1", &value(ORDER)).expect("allowed");
        let bytes = writer.finish().expect("memory");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut reader = Reader::new(&bytes[..], Options::default());
        while let Some(event) = reader.read().expect("a slice does not fail") {
            if let Event::Group(group) = event {
                assert_eq!((group.version.as_str(), group.agency.as_str()), ("D:96A", "UN"), "{text}");
            }
        }
        let part =
            |tag: &str| text.split('\'').find(|line| line.starts_with(tag)).and_then(|line| line.split('+').nth(4));
        format!("{} {}", part("UNB").unwrap_or_default(), part("UNG").unwrap_or_default())
    };
    assert_eq!(edifact("3", "20260101"), "260101:1200 260101:1200");
    assert_eq!(edifact("4", "20260101"), "20260101:1200 20260101:1200");
    assert_eq!(edifact("4", "260101"), "20260101:1200 20260101:1200");
}

#[test]
fn x12_with_groups_and_levels() {
    let profile = Profile::x12();
    let mut writer = InterchangeWriter::new(Vec::new(), &profile, Library::shipped(), header()).expect("a good header");
    let group = GroupHeader {
        function: "SH".into(),
        sender: header().sender,
        receiver: header().receiver,
        reference: "3".into(),
        agency: "X".into(),
        version: "004010".into(),
    };
    writer.group(group).expect("a good group");
    let document = r#"{"BSN":{"BSN01":"00","BSN02":"4711","BSN03":"20260101","BSN04":"1200"},"HL_loop":[{"HL":{"HL03":"S"},
        "HL_loop":[{"HL":{"HL03":"O"},"PRF":{"PRF01":"99"},"HL_loop":[{"HL":{"HL03":"I"}},{"HL":{"HL03":"I"}}]}]}]}"#;
    writer.message(&kind("856", "", "004010", "X"), "1", &value(document)).expect("allowed");
    let bytes = writer.finish().expect("memory");
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(text.find("GS*"), Some(106), "{text}");
    assert!(text.contains("~HL*1**S~HL*2*1*O~PRF*99~HL*3*2*I~HL*4*2*I~SE*8*0001~GE*1*3~IEA*1*000000007~"), "{text}");
    assert_eq!(findings(&bytes), Vec::<String>::new());
    let bad = document.replace("4711", "47*11");
    let mut writer = InterchangeWriter::new(Vec::new(), &profile, Library::shipped(), header()).expect("a good header");
    assert!(writer.message(&kind("856", "", "004010", "X"), "1", &value(&bad)).is_err());
}

#[test]
fn a_ta1_may_stand_alone() {
    let profile = Profile::x12();
    let begun = || InterchangeWriter::new(Vec::new(), &profile, Library::shipped(), header()).expect("a good header");
    let line = Line::new("TA1").with("000000042").with("260101").with("1200").with("A").with("000");
    let mut writer = begun();
    writer.service(&line).expect("written");
    let bytes = writer.finish().expect("memory");
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.ends_with("~TA1*000000042*260101*1200*A*000~IEA*0*000000007~"), "{text}");
    assert_eq!(findings(&bytes), Vec::<String>::new());
    let mut writer = begun();
    writer.group(GroupHeader { function: "FA".into(), ..GroupHeader::default() }).expect("a good group");
    assert!(writer.service(&line).is_err());
    let mut writer = begun();
    assert!(writer.service(&line.with("a~b")).is_err());
}
