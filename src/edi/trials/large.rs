//! Interchanges of no message, of very many, and of a very long one.

use std::fmt::Write;
use std::io::{self, Read};

use crate::edi::directory::Library;
use crate::edi::document::document;
use crate::edi::findings::Policy;
use crate::edi::reader::{Event, Options, Reader};
use crate::edi::tree::Tree;

/// An interchange of orders.
pub(super) fn edifact(messages: usize, lines: usize) -> String {
    let mut text = "UNB+UNOC:3+5412345000013:14+4012345500004:14+260101:1200+7'".to_owned();
    for number in 1..=messages {
        edifact_message(number, lines, &mut text);
    }
    write!(text, "UNZ+{messages}+7'").expect("memory");
    text
}

fn edifact_message(number: usize, lines: usize, text: &mut String) {
    let head = "BGM+220+4711+9'DTM+137:20260101:102'NAD+BY+5412345000013::9'NAD+SU+4012345500004::9'";
    write!(text, "UNH+{number}+ORDERS:D:96A:UN:EAN008'{head}").expect("memory");
    for line in 1..=lines {
        let item = "IMD+F++:::Walking shoe?, brown'QTY+21:12'PRI+AAA:24.5'";
        write!(text, "LIN+{line}++4012345678901:EN'{item}").expect("memory");
    }
    write!(text, "UNS+S'UNT+{}+{number}'", 7 + 4 * lines).expect("memory");
}

/// The same in X12.
pub(super) fn x12(messages: usize, lines: usize) -> String {
    let mut text =
        "ISA*00*          *00*          *ZZ*ALPHA          *ZZ*BETA           *260101*1200*U*00401*000000007*0*P*>~\
        GS*PO*ALPHA*BETA*20260101*1200*3*X*004010~"
            .to_owned();
    for number in 1..=messages {
        write!(text, "ST*850*{number:04}~BEG*00*SA*4711**20260101~N1*BY*Alpha Stores*92*0001~").expect("memory");
        for line in 1..=lines {
            write!(text, "PO1*{line}*12*EA*24.5**UP*614141000012~PID*F****Walking shoe~").expect("memory");
        }
        write!(text, "CTT*{lines}~SE*{}*{number:04}~", 5 + 2 * lines).expect("memory");
    }
    write!(text, "GE*{messages}*3~IEA*1*000000007~").expect("memory");
    text
}

/// Messages read and accepted, segments of the longest, and how many findings there were.
fn read(source: impl Read) -> (usize, usize, usize) {
    let (mut messages, mut longest, mut findings) = (0, 0, 0);
    let mut reader = Reader::new(source, Options::default());
    while let Some(event) = reader.read().expect("memory does not fail") {
        findings += event.findings().list().len();
        if let Event::Message(message) = event {
            let tree = Tree::read(message, Library::shipped(), &Policy::default(), 100);
            findings += tree.findings.list().len();
            messages += usize::from(tree.accepted());
            longest = longest.max(message.record.len());
        }
    }
    (messages, longest, findings)
}

#[test]
fn no_message_at_all() {
    assert_eq!(read(edifact(0, 0).as_bytes()), (0, 0, 0));
    assert_eq!(read(x12(0, 0).as_bytes()), (0, 0, 0));
    assert_eq!(read(&b""[..]), (0, 0, 0));
}

#[test]
fn a_hundred_thousand_messages() {
    assert_eq!(read(edifact(100_000, 1).as_bytes()), (100_000, 11, 0));
}

#[test]
fn a_message_of_two_hundred_thousand_lines() {
    let text = edifact(1, 200_000);
    // LIN counts six digits, and the definition allows 200000 of them.
    assert_eq!(read(text.as_bytes()), (1, 800_007, 0));
    let mut reader = Reader::new(text.as_bytes(), Options::default());
    while let Some(event) = reader.read().expect("memory does not fail") {
        if let Event::Message(message) = event {
            let document = document(&Tree::read(message, Library::shipped(), &Policy::default(), 100));
            let lines = document.get("LIN_group").and_then(|lines| lines.as_list()).map_or(0, <[_]>::len);
            assert_eq!(lines, 200_000);
        }
    }
}

/// Gives a byte at a time, as a slow wire may.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
        let Some(place) = out.first_mut() else { return Ok(0) };
        *place = *first;
        self.0 = rest;
        Ok(1)
    }
}

#[test]
fn the_size_of_reads_does_not_matter() {
    assert_eq!(read(Drops(edifact(300, 20).as_bytes())), (300, 87, 0));
    assert_eq!(read(Drops(x12(300, 20).as_bytes())), (300, 45, 0));
}
