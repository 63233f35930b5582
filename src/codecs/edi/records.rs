//! The messages of a stream of interchanges, one in memory at a time.

use std::io::Read;

use bytes::Bytes;

use super::super::{Record, Records};
use super::{EdiCodec, FINDINGS, refusal};
use crate::edi::directory::Library;
use crate::edi::document::document;
use crate::edi::facts;
use crate::edi::reader::{Event, Group, Interchange, Message, Notation, Reader, Trailer};
use crate::edi::syntax::{Delimiters, Dialect};
use crate::edi::tree::Tree;
use crate::message::{Fault, Map, Value};

/// So much of a message over the limit is kept, to recognise it by.
const KEPT: usize = 4096;

/// What a reading is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// One message with the beginning of its envelope: its end need not be there.
    Alone,
    /// A file: the ends of its interchanges count.
    InFile,
}

impl Judged {
    /// The longest message. One that stands alone may have got a UNA.
    fn most(self, codec: &EdiCodec) -> usize {
        match self {
            Judged::Alone => codec.most.saturating_add(UNA),
            Judged::InFile => codec.most,
        }
    }
}

/// The length of a UNA.
const UNA: usize = 9;

pub struct Messages<'a> {
    codec: &'a EdiCodec,
    reader: Reader<Box<dyn Read + Send + 'a>>,
    judged: Judged,
    around: Around,
    position: u64,
    line: u64,
    /// Where the record handed out last ended.
    last: u64,
    /// Whether an interchange began.
    begun: bool,
    /// Whether bytes were there that belong to none.
    foreign: bool,
    ended: bool,
}

/// The envelope that messages stand in.
#[derive(Default)]
struct Around {
    interchange: Map,
    group: Option<Map>,
    notation: Notation,
    /// No UNB or ISA begins it.
    assumed: bool,
    begins: Vec<u8>,
    /// The bytes of the interchange's beginning, then those of the group's.
    header: Bytes,
    /// Why nothing in it is taken.
    refused: Option<Fault>,
    group_refused: Option<Fault>,
}

impl<'a> Messages<'a> {
    pub fn new(codec: &'a EdiCodec, input: Box<dyn Read + Send + 'a>, judged: Judged) -> Messages<'a> {
        let reader = Reader::new(input, codec.options(judged.most(codec)));
        let around = Around::default();
        Messages {
            codec,
            reader,
            judged,
            around,
            position: 0,
            line: 1,
            last: 0,
            begun: false,
            foreign: false,
            ended: false,
        }
    }

    pub fn resumed(
        codec: &'a EdiCodec,
        beginning: &mut (dyn Read + Send),
        rest: Box<dyn Read + Send + 'a>,
        position: u64,
        line: u64,
    ) -> Result<Messages<'a>, Fault> {
        let reader = Reader::resumed(beginning, position, rest, codec.options(codec.most))
            .map_err(|error| unreadable(error).at(format!("byte {position}")))?;
        let mut around = Around::default();
        around.begin(codec, reader.interchange());
        if let Some(group) = reader.group() {
            around.begin_group(codec, group);
        }
        Ok(Messages {
            codec,
            reader,
            judged: Judged::InFile,
            around,
            position,
            line,
            last: position,
            begun: position > 0,
            foreign: false,
            ended: false,
        })
    }

    fn record(&mut self) -> Result<Option<Record>, Fault> {
        loop {
            let most = self.judged.most(self.codec);
            let Messages { codec, reader, around, .. } = self;
            let event = match reader.read() {
                Ok(Some(event)) => event,
                Ok(None) => return self.end(),
                Err(error) => return Err(unreadable(error).at(format!("byte {}", self.position))),
            };
            self.position += event.raw().len() as u64;
            self.line += memchr::memchr_iter(b'\n', event.raw()).count() as u64;
            let record = match event {
                Event::Interchange(begun) => {
                    self.begun = true;
                    around.begin(codec, begun);
                    None
                }
                Event::Group(begun) => {
                    around.begin_group(codec, begun);
                    None
                }
                Event::GroupEnd(trailer) => {
                    let record = end_record(codec, self.judged, trailer, "the end of a group");
                    around.end_group();
                    record
                }
                Event::InterchangeEnd(trailer) => {
                    let fresh = self.position > self.last;
                    around
                        .empty(codec, trailer)
                        .filter(|_| fresh)
                        .or_else(|| end_record(codec, self.judged, trailer, "the end of the interchange"))
                }
                Event::Message(message) => Some(around.message(codec, message, most)),
                Event::Other(other) => {
                    self.foreign |= !other.record.raw().trim_ascii().is_empty();
                    let fault = refusal(codec.decode_code(), "between messages", &[&other.findings]);
                    fault.map(|fault| lost(other.record.raw(), fault))
                }
            };
            if record.is_some() {
                self.last = self.position;
                return Ok(record);
            }
        }
    }

    /// The end of the input. What holds no interchange is not of this format.
    fn end(&self) -> Result<Option<Record>, Fault> {
        if self.begun || !self.foreign {
            return Ok(None);
        }
        let begins = match self.codec.dialect {
            Dialect::Edifact => "EDIFACT begins with UNA or UNB",
            Dialect::X12 => "X12 begins with ISA",
        };
        Err(Fault::refuse(self.codec.decode_code(), format!("no interchange begins in it; {begins}")).at("line 1"))
    }
}

impl Around {
    fn begin(&mut self, codec: &EdiCodec, begun: &Interchange) {
        let mut interchange = facts::interchange(begun);
        // Which of its file: read alone, it is the first.
        interchange.remove("number");
        let dialect = begun.notation.dialect;
        let refused = if dialect == codec.dialect {
            refusal(codec.decode_code(), "the interchange", &[&begun.findings])
        } else {
            let name = facts::dialect_name(dialect);
            Some(Fault::refuse(codec.decode_code(), format!("this is {name}: `format: {name}` reads it")).at("line 1"))
        };
        self.begins = match (begun.stated, dialect) {
            // Those before it may have declared others.
            (false, Dialect::Edifact) if begun.notation.delimiters != Delimiters::EDIFACT => {
                begun.notation.delimiters.service_string().to_vec()
            }
            _ => begun.record.raw().to_vec(),
        };
        let header = Bytes::copy_from_slice(&self.begins);
        let begins = std::mem::take(&mut self.begins);
        let (notation, assumed) = (begun.notation, !begun.stated);
        *self = Around { interchange, notation, assumed, begins, header, refused, ..Around::default() };
    }

    fn begin_group(&mut self, codec: &EdiCodec, begun: &Group) {
        let mut group = facts::group(begun);
        group.remove("number");
        self.group = Some(group);
        let begins = if self.assumed && declares(begun.record.raw()) { &[][..] } else { &self.begins };
        self.header = [begins, begun.record.raw()].concat().into();
        self.group_refused = refusal(codec.decode_code(), "the group", &[&begun.findings]);
    }

    fn end_group(&mut self) {
        self.header = Bytes::copy_from_slice(&self.begins);
        (self.group, self.group_refused) = (None, None);
    }

    fn message(&self, codec: &EdiCodec, message: &Message, most: usize) -> Record {
        let kind = if message.kind.name.is_empty() { "a message" } else { &message.kind.name };
        let place = format!("{kind} {}", message.reference).trim().chars().take(80).collect::<String>();
        let whole = message.raw().len() <= most;
        let document = match self.refused.as_ref().or(self.group_refused.as_ref()) {
            Some(fault) => Err(Fault::refuse(fault.code(), fault.sentence()).at(fault.position().unwrap_or_default())),
            None if !whole => {
                let said = format!("the message is longer than `max_message` ({} bytes)", codec.most);
                Err(Fault::refuse(codec.decode_code(), said).at(place.clone()))
            }
            None if message.notation != self.notation => {
                let said = "the message is written with other delimiters than its interchange";
                Err(Fault::refuse(codec.decode_code(), said).at(place.clone()))
            }
            None => self.document(codec, message, &place),
        };
        let kept = if whole { message.raw() } else { message.raw().get(..KEPT).unwrap_or(message.raw()) };
        let raw = Bytes::copy_from_slice(kept);
        let header =
            if self.assumed && self.group.is_none() && declares(&raw) { Bytes::new() } else { self.header.clone() };
        Record { raw, header, document, place }
    }

    fn document(&self, codec: &EdiCodec, message: &Message, place: &str) -> Result<Value, Fault> {
        let tree = Tree::read(message, Library::shipped(), &codec.policy, FINDINGS);
        if let Some(fault) = refusal(codec.decode_code(), place, &[&message.findings, &tree.findings]) {
            return Err(fault);
        }
        let mut out = Map::with_capacity(4);
        out.insert("interchange", self.interchange.clone());
        if let Some(group) = &self.group {
            out.insert("group", group.clone());
        }
        out.insert("message", facts::message(&message.kind, &message.reference));
        out.insert("document", document(&tree));
        Ok(out.into())
    }

    /// An interchange without a message: it holds nothing that goes on, so people are told.
    fn empty(&self, codec: &EdiCodec, trailer: &Trailer) -> Option<Record> {
        if trailer.messages > 0 {
            return None;
        }
        let fault = match &self.refused {
            Some(fault) => Fault::refuse(fault.code(), fault.sentence()),
            None => Fault::refuse(codec.decode_code(), "the interchange holds no message"),
        };
        let record = lost(trailer.record.raw(), fault.at("the interchange"));
        Some(Record { header: self.header.clone(), ..record })
    }
}

/// The end of a group or interchange, where it refuses: messages before it have gone on by then.
fn end_record(codec: &EdiCodec, judged: Judged, trailer: &Trailer, what: &str) -> Option<Record> {
    let judges = judged == Judged::InFile || !trailer.record.is_empty();
    let fault = refusal(codec.decode_code(), what, &[&trailer.findings]).filter(|_| judges)?;
    Some(lost(trailer.record.raw(), fault))
}

/// What stands outside any interchange may begin with a UNA of its own.
fn declares(raw: &[u8]) -> bool {
    let tag = raw.iter().position(u8::is_ascii_alphabetic).and_then(|at| raw.get(at..));
    tag.is_some_and(|tag| tag.starts_with(b"UNA"))
}

/// Bytes that are no message.
fn lost(raw: &[u8], fault: Fault) -> Record {
    let place = fault.position().unwrap_or_default().to_owned();
    let raw = Bytes::copy_from_slice(raw.get(..KEPT).unwrap_or(raw));
    Record { raw, header: Bytes::new(), document: Err(fault), place }
}

fn unreadable(error: std::io::Error) -> Fault {
    Fault::retry("DECODE-READ", "the rest of the input could not be read").cause(error)
}

impl Records for Messages<'_> {
    fn next(&mut self) -> Option<Result<Record, Fault>> {
        if self.ended {
            return None;
        }
        let next = self.record().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn line(&self) -> u64 {
        self.line
    }
}
