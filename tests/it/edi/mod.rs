//! `raccord edi` as a person uses it: a supplier's file with a wrong count and a missing segment, JSON and back, files that are
//! no EDI.

mod diff;
mod import;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use raccord::message::{Value, json};

use super::sources::root;

fn sample(name: &str) -> PathBuf {
    root().join("tests/edi").join(name)
}

fn raccord(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raccord"));
    command.arg("edi").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary was built with the tests");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    // A command that does not read all of it closes the pipe.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it does not panic");
    output
}

/// What it printed, after its exit code was looked at.
fn told(arguments: &[&str], code: i32) -> String {
    let output = raccord(arguments, b"");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stdout}{stderr}");
    stdout.into_owned()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the folder's name is plain")
}

fn holds(shown: &str, parts: &[&str]) {
    for part in parts {
        assert!(shown.contains(part), "`{part}` is not in: {shown}");
    }
}

#[test]
fn explain_says_what_to_tell_the_supplier() {
    let shown = told(&["explain", path(&sample("orders.edi"))], 1);
    holds(
        &shown,
        &[
            "Message 1: ORDERS D.96A (EAN008), reference 1: accepted",
            "C212.E7140  article number          4006381000017",
            "Message 2: ORDERS D.96A (EAN008), reference 2: REFUSED",
            "What the sender must correct, or the message is refused\n  \
             - DTM (date or period): DTM is missing in ORDERS, after segment 2 (BGM) (EDI-MISSING-SEGMENT)\n  \
             - segment 9 UNT (message ends), element 1 (segments): UNT says there are `11` segments, but there are 9 (EDI-COUNT)\n",
            "`a dozen` should be a number",
            "CONTRL: the interchange is acknowledged (7), but ORDERS 2 is refused, 1 of 2 (4)",
            "UCM+2+ORDERS:D:96A:UN:EAN008+4+29'",
        ],
    );
    assert!(!shown.contains('\x1b'), "there is no terminal");
    let shown = told(&["explain", path(&sample("850.x12"))], 1);
    holds(
        &shown,
        &[
            "PO107  article number          4006381000017",
            "- segment 5 SE (set ends), element 1 (segments): SE says there are `7` segments, but there are 5 (EDI-COUNT)\n",
            "PO1 (order line): PO1_loop is missing in 850, after segment 3 (N1) (EDI-MISSING-SEGMENT)\n",
            "TA1: the interchange is taken (A); the sender asks for it\n      TA1*000000042*260105*0930*A*000~",
            "997: group 42 of PO is accepted in part (P): 850 0002 is refused, 1 of 2",
            "AK2*850*0002~\n      AK3*PO1*4**3~\n      AK5*R*4*5~\n      AK9*P*2*2*1~",
        ],
    );
}

#[test]
fn explain_tells_machines_the_same() {
    let shown = told(&["explain", "--json", path(&sample("orders.edi"))], 1);
    let read = json::read(shown.as_bytes()).expect("JSON");
    let all = read.as_list().expect("a list");
    let is: Vec<&str> = all.iter().filter_map(|item| item.get("is")?.as_text()).collect();
    assert_eq!(is, ["interchange", "message", "message", "answer"]);
    assert_eq!(all[1].get("accepted"), Some(&Value::Bool(true)));
    let codes = all[2].get("findings").and_then(Value::as_list).expect("findings").iter();
    let codes: Vec<&str> = codes.filter_map(|finding| finding.get("code")?.as_text()).collect();
    assert_eq!(codes, ["EDI-COUNT", "EDI-TYPE", "EDI-MISSING-SEGMENT"]);
}

#[test]
fn check_tells_a_finding_a_line() {
    let (orders, sets) = (sample("orders.edi"), sample("850.x12"));
    let shown = told(&["check", path(&orders), path(&sets)], 1);
    let lines: Vec<&str> = shown.lines().collect();
    let expect = [
        (":15: ORDERS 2, error EDI-MISSING-SEGMENT, DTM (date or period): ", &orders),
        (":19: ORDERS 2, warning EDI-TYPE, segment 6 QTY (quantity)", &orders),
        (":22: ORDERS 2, error EDI-COUNT, segment 9 UNT (message ends), element 1 (segments): ", &orders),
        (":11: 850 0002, error EDI-MISSING-SEGMENT, ", &sets),
        (":13: 850 0002, error EDI-COUNT, ", &sets),
    ];
    assert_eq!(lines.len(), expect.len(), "{shown}");
    for (line, (part, file)) in lines.iter().zip(expect) {
        assert!(line.starts_with(&format!("{}{part}", file.display())), "{line}");
    }
    let shown = told(&["check", "--json", path(&sets)], 1);
    let read = json::read(shown.as_bytes()).expect("JSON");
    let at = read.as_list().expect("a list").iter().filter_map(|finding| finding.get("at")?.plain());
    assert_eq!(at.collect::<Vec<_>>(), ["11", "13"]);
}

#[test]
fn to_json_and_back_is_the_same() {
    for (name, code, refused) in
        [("orders.edi", 1, "ORDERS 2, is not written"), ("850.x12", 1, "850 0002, is not written")]
    {
        let before = std::fs::read_to_string(sample(name)).expect("it ships");
        let documents = told(&["convert", path(&sample(name))], code);
        assert_eq!(documents.lines().count(), 2, "{documents}");
        let back = raccord(&["convert", "--lines", "-"], documents.as_bytes());
        holds(&String::from_utf8_lossy(&back.stderr), &[refused, "EDI-MISSING-SEGMENT"]);
        assert_eq!(back.status.code(), Some(1));
        // Only the good one is in it: up to its end it is what it was.
        let after = String::from_utf8_lossy(&back.stdout);
        let good = before.split("UNH+2").next().and_then(|text| text.split("ST*850*0002").next()).expect("it has two");
        assert!(after.starts_with(good), "{after}");
        let again = raccord(&["check", "-"], &back.stdout);
        assert!(String::from_utf8_lossy(&again.stdout).starts_with("No problem found in 1 message."), "{after}");
        // A pretty text of one document is as good as a line.
        let first = json::read(documents.lines().next().expect("two").as_bytes()).expect("JSON");
        let pretty = raccord(&["convert", "--lines", "-"], json::to_pretty(&first).as_bytes());
        assert_eq!((pretty.status.code(), &pretty.stdout), (Some(0), &back.stdout));
    }
}

#[test]
fn an_interchange_of_nothing_is_not_written() {
    let documents = told(&["convert", path(&sample("850.x12"))], 1);
    let refused = documents.lines().last().expect("two");
    let output = raccord(&["convert", "-"], refused.as_bytes());
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    holds(&String::from_utf8_lossy(&output.stderr), &["850 0002, is not written"]);
}

#[test]
fn what_is_no_edi_is_said_in_a_sentence() {
    let check = |input: &[u8], expect: &str| {
        for command in ["explain", "convert", "check"] {
            let output = raccord(&[command, "-"], input);
            let shown = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert_eq!(output.status.code(), Some(1), "{command}: {shown}");
            assert!(shown.contains(expect) && !shown.contains("panicked"), "{command}: {shown}");
        }
    };
    check(b"", "is empty");
    check(b" \r\n\t\n", "holds nothing but blanks");
    check(b"PK\x03\x04\x14\0\0\0", "it looks like a zip archive");
    check(b"\x7FELF\x02\x01\0\0\0\0", "it looks like a binary file");
    check(b"<?xml version='1.0'?><order/>", "it looks like XML");
    check(b"Dear supplier, the order is attached.", "EDIFACT begins with UNA or UNB, X12 with ISA");
    let said = |input: &[u8], expect: &str| {
        let output = raccord(&["convert", "-"], input);
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && shown.contains(expect), "{shown}");
    };
    said(b"{\"order\": 1}", "JSON document 1 has no map `interchange`");
    said(b"{\"interchange\": {}, \"message\": {}, \"document\": {}}", "does not say `interchange.dialect`");
    said(b"{\"interchange\": ", "is not JSON");
    let gone = raccord(&["explain", "/no/such/file.edi"], b"");
    holds(&String::from_utf8_lossy(&gone.stderr), &["cannot read /no/such/file.edi"]);
    assert_eq!(gone.status.code(), Some(3));
}

#[test]
fn json_that_quotes_edi_is_json() {
    // The document number reads as the beginning of an interchange.
    let order = "UNB+UNOC:3+A:14+B:14+260105:0930+1'UNH+1+ORDERS:D:96A:UN'BGM+220+UNA+9'DTM+137:20260105:102'UNS+S'UNT+5+1'UNZ+1+1'";
    let documents = raccord(&["convert", "-"], order.as_bytes());
    let back = raccord(&["convert", "-"], &documents.stdout);
    let shown = String::from_utf8_lossy(&back.stdout);
    assert!(back.status.success() && shown.contains("BGM+220+UNA+9'"), "{shown}");
}

#[test]
fn a_value_cannot_steer_the_terminal() {
    let text = b"UNB+UNOC:3+A:14+B:14+260105:0930+1'UNH+1+ORDERS:D:96A:UN'BGM+220+\x1b[31mred+9'UNT+3+1'UNZ+1+1'";
    for command in ["explain", "check"] {
        let output = raccord(&[command, "-"], text);
        assert!(!output.stdout.contains(&0x1b), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
