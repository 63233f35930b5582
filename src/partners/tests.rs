//! Profiles read, and the rules of numbers and states.

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::config::{Environment, Files, Reader};
use crate::edi::reader::Party;
use crate::edi::syntax::Dialect;
use crate::message::{Fault, Value};
use crate::steps::CsvTables;

/// A folder with these files below `config/partners`, gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        let folder = Folder(std::env::temp_dir().join(format!("raccord-{}", crate::message::MessageId::draw())));
        for (name, text) in files {
            let path = folder.0.join("config/partners").join(name);
            std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("folders can be made");
            std::fs::write(path, text).expect("files can be written");
        }
        folder
    }

    fn load(&self) -> (Partners, Vec<String>) {
        let (files, environment) = (Files::default(), Environment { only: None, folder: self.0.clone() });
        let mut reader = Reader::new(&files, &environment);
        let partners = load(&self.0, Arc::new(CsvTables::default()), &mut reader);
        let told = reader.problems.iter().map(|problem| format!("{}; {}", problem.message, problem.label)).collect();
        (partners, told)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const LAMPES: &str = "\
about: Lampes Exemple.
dialect: edifact
us: { id: '3000000000014', qualifier: '14' }
them: { id: '3000000000021', qualifier: '14' }
documents:
  ORDERS: { direction: out, release: D.96A, map: maps/orders.yaml, codes: { E6411: [PCE] } }
  ORDRSP: { direction: in }
transport:
  in: { protocol: file, folder: in }
  out: { protocol: file, folder: out, name: $.interchange }
";

const MAP: (&str, &str) = ("maps/orders.yaml", "{ BGM: { E1004: $.number } }\n");

fn party(id: &str, qualifier: &str) -> Party {
    Party { id: id.into(), qualifier: qualifier.into(), internal: String::new() }
}

#[test]
fn a_profile_says_whose_interchange_it_is() {
    let other = LAMPES.replace("3000000000021", "3000000000038").replace("folder: in", "folder: post");
    let folder = Folder::new(&[
        ("lampes.yaml", LAMPES),
        ("outils.yaml", &other),
        ("vis.yaml", &other.replace("38", "45").replace("protocol: file, folder: post", "shared_with: outils")),
        MAP,
    ]);
    let (partners, told) = folder.load();
    assert_eq!(told, Vec::<String>::new());
    let us = party("3000000000014", "14");
    let of = |id: &str, qualifier: &str, receiver: &Party| {
        let found = partners.sender(Dialect::Edifact, &party(id, qualifier), receiver);
        found.map(|partner| partner.name.to_string()).map_err(|fault| fault.code())
    };
    assert_eq!(of("3000000000021", "14", &us), Ok("lampes".to_owned()));
    assert_eq!(of("3000000000045", "14", &us), Ok("vis".to_owned()));
    assert_eq!(of("3000000000021", "ZZ", &us), Err("PARTNER-UNKNOWN"));
    assert_eq!(of("3000000000021", "14", &party("9", "14")), Err("PARTNER-RECEIVER"));
    let x12 =
        partners.sender(Dialect::X12, &party("3000000000021", "14"), &us).map(|_| ()).map_err(|fault| fault.code());
    assert_eq!(x12, Err("PARTNER-UNKNOWN"), "of the other dialect");
    // One sends through the mailbox of another.
    let mailboxes: Vec<(&str, usize)> =
        partners.mailboxes.iter().map(|mailbox| (mailbox.name.as_str(), mailbox.partners.len())).collect();
    assert_eq!(mailboxes, [("lampes.in", 1), ("outils.in", 2)]);
}

#[test]
fn a_wrong_profile_is_told_with_what_would_be_right() {
    let check = |from: &str, to: &str, expect: &str| {
        assert!(LAMPES.contains(from), "{from}");
        let folder = Folder::new(&[("lampes.yaml", &LAMPES.replace(from, to)), MAP]);
        let (_, told) = folder.load();
        assert!(told.first().is_some_and(|told| told.contains(expect)), "{told:?} without {expect}");
    };
    check("dialect: edifact", "dialect: edifac", "unknown word `edifac`; did you mean `edifact`?");
    check("direction: out, release: D.96A", "direction: out", "`release` is missing");
    check(
        "release: D.96A",
        "release: '004010'",
        "`004010` is not a release of EDIFACT; expected something like `D.96A`",
    );
    check("maps/orders.yaml", "maps/absent.yaml", "cannot read config/partners/maps/absent.yaml");
    check("maps/orders.yaml", "../orders.yaml", "`../orders.yaml` is not a file beside the profile");
    check("  out: {", "  outt: {", "unknown key `outt`; did you mean `out`?");
    check(
        "transport:",
        "reads: { findings: { EDI-CONT: warn } }\ntransport:",
        "unknown finding `EDI-CONT`; did you mean `EDI-COUNT`?",
    );
    check(
        "transport:",
        "reads: { findings: { EDI-COUNT: warm } }\ntransport:",
        "unknown word `warm`; did you mean `warn`?",
    );
    check("folder: out", "folder: in", "files are taken from `in` too; what is sent would come in again");
    check("{ protocol: file, folder: in }", "{ shared_with: outils }", "unknown mailbox of `outils`");
    check("  in: { protocol: file, folder: in }\n", "", "`in` is missing; documents come in from this partner");
    check("id: '3000000000014'", "id: ''", "`` cannot identify anybody; expected 1 to 35 characters (UNB 0004)");
    check("transport:", "control_numbers: { width: 15 }\ntransport:", "a control number cannot have 15 digits");
    check("transport:", "batch: { most: 0 }\ntransport:", "0 documents cannot be one interchange");
    check("transport:", "writes: { delimiters: { element: ':' } }\ntransport:", "");
    check("codes: { E6411", "codes: { E641", "D.96A has no element `E641`");
    check(
        "ORDERS: { direction: out,",
        "ORDERS: { direction: out, message: ODERS,",
        "there is no definition of ODERS D.96A",
    );
    check(
        "direction: out, release: D.96A",
        "direction: out, release: D.97A",
        "there is no definition of ORDERS D.97A; taken for D.96A",
    );
    check("transport:", "reads: { charset: klingon }\ntransport:", "`klingon` is not a character set");
    let more = LAMPES.replace("folder: in", "folder: more");
    let folder = Folder::new(&[("lampes.yaml", LAMPES), ("more.yaml", &more), MAP]);
    assert_eq!(
        folder.load().1,
        ["`3000000000021` is already `them` of the partner `lampes`; whose interchange it is could not be told"]
    );
    let more = LAMPES.replace("3000000000021", "3000000000038");
    let folder = Folder::new(&[("lampes.yaml", LAMPES), ("more.yaml", &more), MAP]);
    assert_eq!(folder.load().1, ["`lampes` has the same mailbox; two would take the same files"]);
    let x12 = LAMPES
        .replace("dialect: edifact", "dialect: x12")
        .replace("D.96A", "'004010'")
        .replace(", codes: { E6411: [PCE] }", "");
    let folder = Folder::new(&[
        ("lampes.yaml", &x12.replace("them: { id: '3000000000021', qualifier: '14' }", "them: { id: LAMPES }")),
        MAP,
    ]);
    assert!(folder.load().1[0].starts_with("`qualifier` of X12 is two characters"), "{:?}", folder.load().1);
    let folder = Folder::new(&[("lampes.yml", LAMPES)]);
    assert_eq!(folder.load().1, ["config/partners/lampes.yml is not read; "]);
    let folder = Folder::new(&[("Lampes.yaml", LAMPES), MAP]);
    assert!(folder.load().1[0].contains("`Lampes` cannot name a partner"));
}

#[test]
fn numbers_are_as_wide_as_the_profile_says() {
    let folder = Folder::new(&[("lampes.yaml", LAMPES), MAP]);
    let (partners, _) = folder.load();
    let mut numbers = partners.get("lampes").expect("it is there").numbers.clone();
    assert_eq!(envelope::shown(&numbers, Dialect::Edifact, 1), "1");
    assert_eq!(envelope::shown(&numbers, Dialect::X12, 42), "000000042");
    assert_eq!(envelope::largest(&numbers), 999_999_999);
    (numbers.width, numbers.padded) = (4, true);
    assert_eq!(
        (envelope::shown(&numbers, Dialect::Edifact, 1), envelope::largest(&numbers)),
        ("0001".to_owned(), 9_999)
    );
    for (number, plain) in [("000000042", "42"), ("0", "0"), ("000", "000"), ("A01", "A01"), (" 7 ", "7")] {
        assert_eq!(tables::plain_number(number), plain);
    }
}

#[test]
fn bytes_and_faults_come_out_of_the_hand_over_as_they_went_in() {
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(hand_over::to_bytes(hand_over::from_bytes(&bytes).as_text().unwrap_or_default()), bytes);
    let check = |fault: Fault, code: &str, words: &str| {
        let back = hand_over::fault_of(&hand_over::fault_value(&fault));
        assert_eq!((back.code(), back.to_string().as_str()), (code, words));
        assert_eq!(back.said(), fault.said());
    };
    let fault = Fault::refuse("EDI-COUNT", "it has a finding").detail("UNT says `9`").at("segment 5 (UNT)");
    check(fault, "EDI-COUNT", "EDI-COUNT: it has a finding: UNT says `9` (segment 5 (UNT))");
    check(Fault::refuse("PARTNER-MODE", "a test"), "PARTNER-MODE", "PARTNER-MODE: a test");
    assert_eq!(hand_over::fault_of(&Value::Null).code(), "EDI-STRAY");
}

#[test]
fn a_message_taken_out_of_its_interchange_reads_as_one() {
    let folder = Folder::new(&[("lampes.yaml", LAMPES), MAP]);
    let (partners, _) = folder.load();
    let partner = partners.get("lampes").expect("it is there");
    let response = |reference| {
        format!(
            "UNH+{reference}+ORDRSP:D:96A:UN'BGM+231+R{reference}'DTM+137:20261122:102'RFF+ON:1'UNS+S'UNT+6+{reference}'\n"
        )
    };
    let input = format!(
        "UNA:+.? '\nUNB+UNOC:3+3000000000021:14+3000000000014:14+261122:1130+A?+7'\n{}{}UNZ+2+A?+7'\n",
        response(1),
        response(2)
    );
    let opened = interchange::open(partner, &partners.library, input.as_bytes(), true).expect("it can be read");
    assert_eq!((opened.header.reference.as_str(), opened.messages.len()), ("A+7", 2));
    for (at, message) in opened.messages.iter().enumerate() {
        let again = interchange::open(partner, &partners.library, &message.bytes, true).expect("it can be read");
        assert!(again.receipt.findings.is_empty(), "{:?}", again.receipt.findings);
        let [only] = &again.messages[..] else { panic!("one message is expected") };
        assert_eq!((only.reference.as_str(), &only.document), ((at + 1).to_string().as_str(), &message.document));
        assert!(only.fault.is_none() && message.fault.is_none());
    }
}
