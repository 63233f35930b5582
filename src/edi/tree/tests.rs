//! Messages nested and checked: the tree as one line, and what was found.

use super::*;
use crate::edi::findings::Finding;
use crate::edi::reader::{Event, Options, Reader};

/// The first message of `text` as `UNH BGM NAD_group(NAD CTA_group(CTA COM))`, and its findings.
fn shown(text: &str) -> (String, Vec<String>) {
    let mut reader = Reader::new(text.as_bytes(), Options::default());
    while let Some(event) = reader.read().expect("a slice does not fail") {
        let Event::Message(message) = event else { continue };
        let tree = Tree::read(message, Library::shipped(), &Policy::default(), 100);
        let findings = tree.findings.list().iter().map(ToString::to_string).collect();
        return (children(tree.root()), findings);
    }
    panic!("no message in {text}");
}

fn children(view: View<'_>) -> String {
    let name = |view: View<'_>| match (view.node(), view.segment()) {
        (Some(node), _) if view.is_group() => format!("{}({})", node.key, children(view)),
        (Some(node), _) => node.key.to_string(),
        (None, Some(segment)) => format!("?{}", segment.tag),
        (None, None) => String::new(),
    };
    view.children().map(name).collect::<Vec<_>>().join(" ")
}

fn check(segments: &str, tree: &str, findings: &[&str]) {
    let count = segments.matches('\'').count() + 2;
    let text = format!("UNB+UNOC:3+ALPHA+BETA+260101:1200+7'UNH+1+ORDERS:D:96A:UN'{segments}UNT+{count}+1'UNZ+1+7'");
    let (found_tree, found) = shown(&text);
    assert_eq!(found_tree, format!("UNH {tree} UNT"), "{segments}");
    let found: Vec<&str> = found.iter().map(|finding| finding.strip_prefix("EDI-").unwrap_or(finding)).collect();
    assert_eq!(found, findings, "{segments}");
}

#[test]
fn groups_nest_by_definition() {
    check(
        "BGM+220+1'DTM+137:20260101:102'RFF+ON:7'DTM+171:20260101:102'NAD+BY+1::9'CTA+OC'COM+1:TE'NAD+SU+2::9'\
         LIN+1++4012345678901:EN'QTY+21:5'PRI+AAA:2.5'LIN+2'QTY+21:1'UNS+S'MOA+79:12'",
        "BGM DTM RFF_group(RFF DTM) NAD_group(NAD CTA_group(CTA COM)) NAD_group(NAD) \
         LIN_group(LIN QTY PRI_group(PRI)) LIN_group(LIN QTY) UNS MOA",
        &[],
    );
}

#[test]
fn what_does_not_fit_is_kept_and_told() {
    check(
        "BGM+220+1'XYZ+1'DTM+137:20260101:102'NAD+BY+1::9'FTX+AAI'LIN+1'UNS+S'",
        "BGM ?XYZ DTM NAD_group(NAD) FTX LIN_group(LIN) UNS",
        &[
            "UNKNOWN-SEGMENT in message 1 at segment 3 (XYZ), byte 68: ORDERS has no segment `XYZ`",
            "ORDER in message 1 at segment 6 (FTX), byte 107: FTX stands after what it should stand before",
        ],
    );
    check(
        "BGM+220+1'LIN+1'",
        "BGM LIN_group(LIN)",
        &[
            "MISSING-SEGMENT in message 1 after segment 2 (DTM), byte 68: DTM is missing in ORDERS, after segment 2 (BGM)",
            "MISSING-SEGMENT in message 1 after segment 3 (UNS), byte 74: UNS is missing in ORDERS, after segment 3 (LIN)",
        ],
    );
    check(
        "BGM+220'DTM+137:20260101:102'PAI+::1'PAI+::2'PAI+::3'UNS+S'",
        "BGM DTM PAI PAI PAI UNS",
        &["REPEATS in message 1 at segment 5 (PAI), byte 95: there are more PAI than the 1 allowed here"],
    );
}

#[test]
fn a_missing_segment_stands_after_one() {
    let text = "ISA*00*          *00*          *ZZ*ALPHA          *ZZ*BETA           *260101*1200*U*00401*000000001*0*P*>~\
        GS*PO*ALPHA*BETA*20260101*1200*1*X*004010~ST*850*0001~AMT*1*5~FA1*AC~PO1*1*1*EA~LS*A~LDT*AA*1*DA~QTY*38*5~N9*ZZ*1~\
        MSG*a~CTT*1~SE*11*0001~GE*1*1~IEA*1*000000001~";
    let (_, findings) = shown(text);
    let sentences: Vec<_> = findings.iter().map(|finding| finding.rsplit(": ").next().unwrap_or_default()).collect();
    assert_eq!(
        sentences,
        [
            "FA2 is missing in FA1_loop, after segment 3 (FA1)",
            "LE is missing in LS_loop, after segment 7 (QTY)",
            "BEG is missing in 850, after segment 1 (ST)",
        ]
    );
    assert!(findings[1].starts_with("EDI-MISSING-SEGMENT in message 1 after segment 7 (LE), byte"), "{}", findings[1]);
}

#[test]
fn elements_are_checked() {
    check(
        "BGM+220+x:y'DTM'DTM+:20260101:102+9'LIN+1234567'QTY+21:five'UNS+DE'",
        "BGM DTM DTM LIN_group(LIN QTY) UNS",
        &[
            "EXTRA-ELEMENT in message 1 at segment 2 (BGM) element 2 component 2, byte 68: the element has only 1 components",
            "MISSING-ELEMENT in message 1 at segment 3 (DTM) element 1, byte 73: mandatory C507 is missing",
            "MISSING-ELEMENT in message 1 at segment 4 (DTM) element 1 component 1, byte 78: mandatory 2005 is missing",
            "EXTRA-ELEMENT in message 1 at segment 4 (DTM) element 2, byte 92: the segment has only 1 elements",
            "TOO-LONG in message 1 at segment 5 (LIN) element 1, byte 98: `1234567` is 7 long, at most 6 are allowed (1082)",
            "TYPE in message 1 at segment 6 (QTY) element 1 component 2, byte 113: `five` should be a number (6060)",
            "TOO-LONG in message 1 at segment 7 (UNS) element 1, byte 122: `DE` is 2 long, at most 1 are allowed (0081)",
        ],
    );
}

#[test]
fn hierarchical_levels_nest_by_their_parent() {
    let text = "ISA*00*          *00*          *ZZ*ALPHA          *ZZ*BETA           *260101*1200*U*00401*000000001*0*P*>~\
        GS*SH*ALPHA*BETA*20260101*1200*1*X*004010~ST*856*0001~BSN*00*12*20260101*1200~HL*1**S~HL*2*1*O~PRF*7~HL*3*2*I~\
        SN1**1*EA~HL*4*1*O~HL*5*9*O~CTT*4~SE*12*0001~GE*1*1~IEA*1*000000001~";
    let (tree, findings) = shown(text);
    let expect = "ST BSN HL_loop(HL HL_loop(HL PRF HL_loop(HL SN1)) HL_loop(HL)) HL_loop(HL) CTT SE";
    assert_eq!(tree, expect);
    assert_eq!(
        findings,
        ["EDI-HIERARCHY in message 1 at segment 9 (HL) element 2, byte 235: no level before it has the id `9`"]
    );
}

#[test]
fn another_release_only_warns() {
    let (_, findings) = shown("UNB+UNOC:3+A+B+260101:1200+7'UNH+1+ORDERS:D:97A:UN'BGM+220'UNT+3+1'UNZ+1+7'");
    assert!(findings[0].contains("it was checked as one of D.96A"), "{findings:?}");
    let text = "UNB+UNOC:3+A+B+260101:1200+7'UNH+1+ORDERS:D:97A:UN'BGM+220'UNT+3+1'UNZ+1+7'";
    let mut reader = Reader::new(text.as_bytes(), Options::default());
    while let Some(event) = reader.read().expect("a slice does not fail") {
        let Event::Message(message) = event else { continue };
        assert!(Tree::read(message, Library::shipped(), &Policy::default(), 100).accepted());
    }
}

#[test]
fn a_hint_tells_what_the_tag_leaves_open() {
    let text = "UNB+UNOC:3+A+B+260101:1200+7'UNH+1+ORDERS:D:96A:UN'BGM+220'DTM+137:20260101:102'LIN+1'RFF+ON:7'DTM+171:20260101:102'\
        LOC+7'DTM+2:20260101:102'UNS+S'UNT+10+1'UNZ+1+7'";
    let place = "LIN_group.RFF_group.DTM".to_owned();
    let hints = vec![Hint { place, element: 1, component: 1, values: vec!["999".to_owned()] }];
    let guide = Guide { hints, ..Guide::default() };
    let mut reader = Reader::new(text.as_bytes(), Options::default());
    while let Some(event) = reader.read().expect("a slice does not fail") {
        let Event::Message(message) = event else { continue };
        let shown =
            |guide: &Guide| children(Tree::read_with(message, Library::shipped(), &Policy::default(), 9, guide).root());
        let none = Guide::default();
        assert!(shown(&none).contains("RFF_group(RFF DTM)"), "{}", shown(&none));
        assert!(!shown(&guide).contains("RFF_group(RFF DTM)"), "{}", shown(&guide));
    }
}

/// What is found in the first message where `codes` are allowed: `place values`.
fn unlisted(text: &str, codes: &[(&str, &str)]) -> Vec<String> {
    let mut guide = Guide::default();
    for (place, values) in codes {
        guide.codes.allow(place, values.split(' '));
    }
    let mut reader = Reader::new(text.as_bytes(), Options::default());
    while let Some(event) = reader.read().expect("a slice does not fail") {
        let Event::Message(message) = event else { continue };
        let tree = Tree::read_with(message, Library::shipped(), &Policy::default(), 100, &guide);
        assert!(tree.accepted());
        let without_bytes = |finding: &Finding| {
            let Finding { sentence, .. } = finding;
            format!("{}: {sentence}", finding.to_string().split(", byte").next().unwrap_or_default())
        };
        return tree.findings.list().iter().map(without_bytes).collect();
    }
    panic!("no message in {text}");
}

#[test]
fn codes_are_those_of_the_lists() {
    let text = "UNB+UNOC:3+A+B+260101:1200+7'UNH+1+ORDERS:D:96A:UN'BGM+220'DTM+137:20260101:102'ALI+BE++AB:1+CD'\
        NAD+BY+1::9'CUX+2:EUR:9+3:USD:4'LIN+1'QTY+21:5:PCE'QTY+12:5'UNS+S'UNT+11+1'UNZ+1+7'";
    let extra =
        "EDI-EXTRA-ELEMENT in message 1 at segment 4 (ALI) element 3 component 2: the element has only 1 components";
    let check = |codes: &[(&str, &str)], expect: &[&str]| {
        let found = unlisted(text, codes);
        let found: Vec<&str> = found.iter().map(String::as_str).filter(|found| *found != extra).collect();
        assert_eq!(found, expect, "{codes:?}");
    };
    check(&[("E6411", "PCE KGM"), ("E2379", "102 203"), ("E1001", "220"), ("E4183", "AB CD")], &[]);
    check(
        &[("E6411", "KGM"), ("E6063", "12"), ("E1001", "105")],
        &[
            "EDI-CODE in message 1 at segment 2 (BGM) element 1: `220` is not among the codes allowed: 105 (E1001)",
            "EDI-CODE in message 1 at segment 8 (QTY) element 1 component 1: `21` is not among the codes allowed: 12 (E6063)",
            "EDI-CODE in message 1 at segment 8 (QTY) element 1 component 3: `PCE` is not among the codes allowed: KGM (E6411)",
        ],
    );
    // A list is of the place it names, and of both places in a row.
    let cux = "EDI-CODE in message 1 at segment 6 (CUX) element 2 component 2: `USD` is not among the codes allowed: EUR (E6345)";
    check(&[("E6345", "EUR")], &[cux]);
    check(&[("CUX.C504.E6345", "EUR")], &[cux]);
    check(&[("CUX.E6345", "EUR")], &[cux]);
    check(&[("MOA.E6345", "EUR"), ("FII.E3035", "X"), ("C506.E1153", "X")], &[]);
    check(&[("E6345", "X"), ("CUX.E6345", "EUR USD")], &[]);
    check(
        &[("E4183", "AB")],
        &["EDI-CODE in message 1 at segment 4 (ALI) element 4: `CD` is not among the codes allowed: AB (E4183)"],
    );
}

#[test]
fn a_misspelt_place_is_told() {
    let directory = |dialect, name: &str, version: &str, release: &str| {
        let (name, version, release) = (name.to_owned(), version.to_owned(), release.to_owned());
        let kind = crate::edi::reader::MessageType { name, version, release, ..Default::default() };
        Library::shipped().find(dialect, &kind, 3).expect("shipped").directory
    };
    let orders = directory(crate::edi::syntax::Dialect::Edifact, "ORDERS", "D", "96A");
    let set = directory(crate::edi::syntax::Dialect::X12, "850", "", "004010");
    let mut codes = Codes::default();
    for place in ["E6411", "NAD.E3035", "CUX.C504.E6345_2", "CUX.E6345", "PO103", "MEA04.C00101", "BEG.BEG02"] {
        codes.allow(place, ["1"]);
    }
    assert_eq!(codes.unknown([orders, set]), Vec::<String>::new());
    assert_eq!(codes.unknown([orders]), ["BEG.BEG02", "MEA04.C00101", "PO103"]);
    for place in ["E64111", "NAD.E6345", "C504.CUX.E6345", "PO199", ""] {
        codes.allow(place, ["1"]);
    }
    assert_eq!(codes.unknown([orders, set]), ["", "C504.CUX.E6345", "E64111", "NAD.E6345", "PO199"]);
}

#[test]
fn codes_of_x12_are_by_place() {
    let text = "ISA*00*          *00*          *ZZ*ALPHA          *ZZ*BETA           *260101*1200*U*00401*000000001*0*P*>~\
        GS*PO*ALPHA*BETA*20260101*1200*1*X*004010~ST*850*0001~BEG*00*SA*4711**20260101~PO1*1*12*CS*2.5**UP*614141000012~\
        MEA**WT*5*LB>1~CTT*1~SE*6*0001~GE*1*1~IEA*1*000000001~";
    assert_eq!(
        unlisted(text, &[("PO103", "EA CA"), ("C00101", "KG"), ("BEG02", "SA NE"), ("PO1.PO106", "UP")]),
        [
            "EDI-CODE in message 1 at segment 3 (PO1) element 3: `CS` is not among the codes allowed: EA, CA (PO103)",
            "EDI-CODE in message 1 at segment 4 (MEA) element 4 component 1: `LB` is not among the codes allowed: KG (C00101)",
        ]
    );
    assert_eq!(unlisted(text, &[("MEA04.C00101", "LB"), ("SLN05.C00101", "KG")]), Vec::<String>::new());
}

#[test]
fn levels_without_end_are_cut() {
    let levels: String = (2..50_000).map(|level| format!("HL*{level}*{}*I~", level - 1)).collect();
    let text = format!(
        "ISA*00*          *00*          *ZZ*ALPHA          *ZZ*BETA           *260101*1200*U*00401*000000001*0*P*>~\
         GS*SH*ALPHA*BETA*20260101*1200*1*X*004010~ST*856*0001~BSN*00*12*20260101*1200~HL*1**S~{levels}SE*50002*0001~"
    );
    let (tree, findings) = shown(&text);
    assert!(findings[0].contains("more than 32 levels"), "{}", findings[0]);
    assert!(!tree.contains(&"HL_loop(HL ".repeat(40)));
}
