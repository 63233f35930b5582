//! What is true of every input, however odd. The fuzz targets and a test of the hub (`tests/it/edi_fuzz.rs`) share it.
//!
//! Each function takes any bytes and panics where something is not as it must be.

use raccord::edi::charset::Charset;
use raccord::edi::directory::Library;
use raccord::edi::document::document;
use raccord::edi::findings::{Code, Policy};
use raccord::edi::reader::{Event, Group, Interchange, Message, MessageType, Options, Party, Reader};
use raccord::edi::syntax::{Dialect, Limits, Segments, sniff};
use raccord::edi::tree::{Guide, Hint, Tree, View};
use raccord::edi::writer::{GroupHeader, Header, InterchangeWriter, Profile, WriteError};
use raccord::message::{Value, json};

#[path = "choices.rs"]
mod choices;

/// EDIFACT: pieces and events are the input byte for byte, however it comes in.
pub fn edifact(data: &[u8]) {
    read(&headed(data, b"UN", b"UNB+UNOC:3+ALPHA+BETA+260105:0930+1'"));
}

/// X12, as [`edifact`].
pub fn x12(data: &[u8]) {
    let isa =
        b"ISA*00*          *00*          *ZZ*ALPHA          *ZZ*BETA           *260105*0930*U*00401*000000001*0*P*>~";
    read(&headed(data, b"ISA", isa));
}

/// `data`, after a header that makes it the dialect it is meant to be.
fn headed(data: &[u8], begins: &[u8], header: &[u8]) -> Vec<u8> {
    if data.starts_with(begins) { data.to_vec() } else { [header, data].concat() }
}

fn read(data: &[u8]) {
    drop(sniff(data));
    // A short segment or message goes past small limits.
    let small = Limits { segment: 200, message: 2000, findings: 3 };
    for limits in [Limits::default(), small] {
        pieces(data, limits);
        let whole = events(data, limits);
        let mut drops = Drops { data, state: data.len() as u64 };
        assert_eq!(whole, events(&mut drops, limits), "the size of reads matters");
    }
}

fn pieces(data: &[u8], limits: Limits) {
    let mut segments = Segments::new(data, limits);
    let mut at = 0;
    while let Some(piece) = segments.read().expect("a slice does not fail") {
        assert_eq!(piece.offset, at as u64);
        assert_eq!(piece.raw, &data[at..at + piece.raw.len()], "a piece is other bytes than those that came in");
        at += piece.raw.len();
        for element in piece.segment.elements() {
            let parts: usize = element.components().map(|component| component.raw.len()).sum();
            assert!(parts <= element.raw().len(), "components are longer than their element");
            assert_eq!(element.is_void(), parts == 0);
            for repetition in element.repetitions() {
                repetition.components().for_each(|component| assert!(component.at >= element.at()));
            }
        }
    }
    assert_eq!(at, data.len(), "bytes are left out");
}

/// Each event in words; their raw bytes are those of the input.
fn events(source: impl std::io::Read, limits: Limits) -> Vec<(String, Vec<u8>)> {
    let mut reader = Reader::new(source, Options { limits, ..Options::default() });
    let (mut told, mut open) = (Vec::new(), false);
    while let Some(event) = reader.read().expect("a slice does not fail") {
        let name = match &event {
            Event::Interchange(interchange) => {
                assert!(!open, "an interchange begins in another");
                open = true;
                format!("interchange {} {:?} {:?}", interchange.reference, interchange.sender, interchange.notation)
            }
            Event::Group(Group { reference, version, .. }) => format!("group {reference} {version}"),
            Event::Message(message) => {
                assert!(open, "a message stands outside any interchange");
                format!("message {} {} {}", message.kind, message.reference, message.record.len())
            }
            Event::GroupEnd(trailer) => format!("group ends {}", trailer.messages),
            Event::InterchangeEnd(trailer) => {
                open = false;
                format!("interchange ends {} {}", trailer.groups, trailer.messages)
            }
            Event::Other(_) => "other".to_owned(),
        };
        assert!(event.findings().list().len() <= limits.findings);
        let findings: Vec<String> = event.findings().list().iter().map(ToString::to_string).collect();
        told.push((format!("{name} {findings:?}"), event.raw().to_vec()));
    }
    assert!(!open, "an interchange does not end");
    told
}

/// Gives a few bytes at a time, never the same number twice.
struct Drops<'a> {
    data: &'a [u8],
    state: u64,
}

impl std::io::Read for &mut Drops<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.state = self.state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let count = (1 + (self.state >> 33) as usize % 97).min(out.len()).min(self.data.len());
        let (given, rest) = self.data.split_at(count);
        out[..count].copy_from_slice(given);
        self.data = rest;
        Ok(count)
    }
}

/// Messages nest and check without harm, their documents are JSON, and what is written of them reads the same.
pub fn tree(data: &[u8]) {
    let mut reader = Reader::new(data, Options::default());
    let (mut interchange, mut group) = (Interchange::default(), None);
    let mut raw = Vec::new();
    while let Some(event) = reader.read().expect("a slice does not fail") {
        raw.extend_from_slice(event.raw());
        match event {
            Event::Interchange(opened) => (interchange, group) = (opened.clone(), None),
            Event::Group(opened) => group = Some(opened.clone()),
            Event::Message(message) => nested(message, &interchange, group.as_ref()),
            _ => {}
        }
    }
    assert_eq!(raw, data, "every byte is kept");
}

fn nested(message: &Message, interchange: &Interchange, group: Option<&Group>) {
    let library = Library::shipped();
    let tree = Tree::read(message, library, &Policy::default(), 100);
    let mut count = 0;
    walk(tree.root(), &mut count);
    assert!(count <= message.record.len(), "{count} segments stand in a tree of {}", message.record.len());
    // A hint moves segments and loses none.
    let hint = |place: &str, value: &str| Hint {
        place: place.to_owned(),
        element: 1,
        component: 1,
        values: vec![value.to_owned()],
    };
    let hints = vec![hint("LIN_group.NAD_group", "DP"), hint("DTM", "137"), hint("N1_loop", "ST")];
    let mut guide = Guide { hints, ..Guide::default() };
    guide.codes.allow("E3035", ["BY"]);
    let hinted = Tree::read_with(message, library, &Policy::tolerant(), 100, &guide);
    walk(hinted.root(), &mut 0);
    let whole = document(&tree);
    let text = json::to_text(&whole);
    assert_eq!(json::read(text.as_bytes()).as_ref(), Ok(&whole), "a document is JSON");
    drop(document(&hinted));
    let spotless = tree.found.is_some() && tree.findings.is_empty() && message.findings.is_empty();
    match written(&message.kind, &message.reference, &whole, interchange, group, Policy::default()) {
        Ok(out) if declared(interchange) && in_order(&tree) => agrees(&out, &message.kind, interchange, group),
        Ok(out) => assert!(again(&out.bytes, interchange, group).is_ok() || !declared(interchange)),
        Err(why) => assert!(!spotless || !plain(interchange), "a message without a finding is refused: {why}"),
    }
}

/// Whether an interchange like it can be written: usual delimiters, a character set that is declared.
fn plain(interchange: &Interchange) -> bool {
    interchange.stated && interchange.findings.is_empty() && interchange.notation.delimiters.fault().is_none()
}

/// Whether who reads what is written like it can know its character set.
fn declared(interchange: &Interchange) -> bool {
    let notation = interchange.notation;
    notation.dialect == Dialect::X12 || Charset::declared(&interchange.syntax) == Some(notation.charset)
}

/// Whether each segment has its place: those that have none are written where the definition has most room for them.
fn in_order(tree: &Tree<'_>) -> bool {
    let lost = [Code::Order, Code::UnknownSegment, Code::Repeats, Code::Hierarchy, Code::Tag, Code::MissingSegment];
    tree.found.is_some() && !tree.findings.list().iter().any(|finding| lost.contains(&finding.code))
}

/// Counts segments; groups count by what stands in them.
fn walk(view: View<'_>, count: &mut usize) {
    for child in view.children() {
        assert!(child.segment().is_some(), "a branch has no segment");
        if child.is_group() { walk(child, count) } else { *count += 1 }
    }
}

/// What was written, and whether all of it was as it should be.
struct Out {
    bytes: Vec<u8>,
    clean: bool,
}

/// A message in an interchange like another.
fn written(
    kind: &MessageType,
    reference: &str,
    document: &Value,
    interchange: &Interchange,
    group: Option<&Group>,
    policy: Policy,
) -> Result<Out, String> {
    let profile = Profile { policy, ..Profile::like(interchange) };
    let party = |id: &str| Party { id: id.to_owned(), qualifier: "ZZ".to_owned(), ..Party::default() };
    let (date, time) = ("20260105".to_owned(), "0930".to_owned());
    let (sender, receiver) = (party("ALPHA"), party("BETA"));
    let header = Header { sender, receiver, date, time, reference: "1".to_owned(), ..Header::default() };
    let why = |error: WriteError| match error {
        WriteError::Refused(findings) => {
            assert!(!findings.accepted(), "it is refused for nothing");
            findings.list().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
        WriteError::Io(error) => panic!("memory does not fail: {error}"),
    };
    let mut writer = InterchangeWriter::new(Vec::new(), &profile, Library::shipped(), header).map_err(why)?;
    if profile.dialect == Dialect::X12 {
        let version = group.map_or_else(|| kind.release.clone(), |group| group.version.clone());
        let header = GroupHeader {
            function: "ZZ".to_owned(),
            sender: party("ALPHA"),
            receiver: party("BETA"),
            reference: "1".to_owned(),
            agency: "X".to_owned(),
            version,
        };
        writer.group(header).map_err(why)?;
    }
    let findings = writer.message(kind, reference, document).map_err(why)?;
    assert!(findings.accepted(), "what is refused is written");
    Ok(Out { bytes: writer.finish().map_err(why)?, clean: findings.is_empty() })
}

/// What the writer wrote is one message, and is the same when it is read and written again. Where it was told that something
/// was not as it should be (a control character became a blank), that is true from the second time on.
fn agrees(out: &Out, kind: &MessageType, interchange: &Interchange, group: Option<&Group>) {
    let second = again(&out.bytes, interchange, group);
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (name, second) = second.unwrap_or_else(|why| panic!("{why} in {}", shown(&out.bytes)));
    if out.clean {
        assert_eq!(name, kind.name.trim());
        assert_eq!(shown(&second), shown(&out.bytes), "it is not the same again");
    }
    match again(&second, interchange, group) {
        Ok((_, third)) => assert_eq!(shown(&third), shown(&second), "it is not the same the third time"),
        Err(why) => panic!("{why} in {}", shown(&second)),
    }
}

/// Reads the one message of `bytes` and writes it again.
fn again(bytes: &[u8], interchange: &Interchange, group: Option<&Group>) -> Result<(String, Vec<u8>), String> {
    let mut reader = Reader::new(bytes, Options { policy: Policy::tolerant(), ..Options::default() });
    let mut found = Vec::new();
    while let Some(event) = reader.read().expect("a slice does not fail") {
        let Event::Message(message) = event else { continue };
        let tree = Tree::read(message, Library::shipped(), &Policy::tolerant(), 100);
        let (reference, document) = (&message.reference, document(&tree));
        let out = written(&message.kind, reference, &document, interchange, group, Policy::tolerant());
        found.push((message.kind.name.clone(), out?.bytes));
    }
    let count = found.len();
    found.pop().filter(|_| count == 1).ok_or(format!("{count} messages, not one"))
}

/// Documents made of the bytes, right and wrong ones, are refused or read back as they were.
pub fn writer(data: &[u8]) {
    let mut choices = choices::Choices::new(data);
    let (kind, dialect, document) = choices.document();
    let interchange = choices.interchange(dialect);
    let tolerant = choices.one_in(2);
    let policy = if tolerant { Policy::tolerant() } else { Policy::default() };
    if let Ok(out) = written(&kind, "1", &document, &interchange, None, policy) {
        agrees(&out, &kind, &interchange, None);
    }
}
