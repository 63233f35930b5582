//! Interchange and group: who to whom, when, under which reference.

use super::super::charset::Charset;
use super::super::findings::{Code, Findings, Place, Policy};
use super::super::syntax::Dialect;
use super::message::{Notation, Record};
use super::states::narrow;

/// One end of an interchange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Party {
    pub id: String,
    /// What kind of id it is: `14` (GLN), `ZZ`.
    pub qualifier: String,
    /// Address within the company: EDIFACT 0008 or 0014.
    pub internal: String,
}

/// The beginning of an interchange: UNB or ISA.
#[derive(Clone, Debug, Default)]
pub struct Interchange {
    /// Which interchange of the input, counted from 1.
    pub number: u32,
    pub notation: Notation,
    pub sender: Party,
    pub receiver: Party,
    /// As written: `YYMMDD` or `YYYYMMDD`, and `HHMM`.
    pub date: String,
    pub time: String,
    /// Interchange control reference or number, as written.
    pub reference: String,
    /// `UNOC` of EDIFACT, empty for X12.
    pub syntax: String,
    /// `3` of EDIFACT, `00401` of X12.
    pub version: String,
    pub test: bool,
    /// The sender asks for an acknowledgment: 0031, or ISA14.
    pub acknowledgment_asked: bool,
    /// EDIFACT 0026: what the interchange is for.
    pub application: String,
    /// Its first segment stands in the input; an interchange without one is only assumed.
    pub stated: bool,
    pub record: Record,
    pub findings: Findings,
}

/// The beginning of a group: UNG or GS.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Which group of its interchange, counted from 1.
    pub number: u32,
    /// 0038 or GS01: `ORDERS`, `PO`.
    pub function: String,
    pub sender: Party,
    pub receiver: Party,
    pub date: String,
    pub time: String,
    pub reference: String,
    pub agency: String,
    /// GS08: `004010VICS`; of EDIFACT the components of S008: `D:96A`.
    pub version: String,
    pub record: Record,
    pub findings: Findings,
}

/// The end of a group or an interchange: UNE, GE, UNZ, IEA; its record is empty if that is missing.
#[derive(Clone, Debug, Default)]
pub struct Trailer {
    /// How many messages were read in it.
    pub messages: u32,
    /// How many groups were read in it.
    pub groups: u32,
    pub record: Record,
    pub findings: Findings,
}

impl Interchange {
    /// Reads the header in `record`; what is missing is a finding.
    pub(super) fn read(&mut self, policy: &Policy, configured: Option<Charset>) {
        let Some(segment) = self.record.get(0) else { return };
        let mut notation = self.notation;
        let mandatory: &[(u16, &str)] = match notation.dialect {
            Dialect::Edifact => {
                self.syntax = notation.value(&segment, 1, 1).trim().to_ascii_uppercase();
                self.version = notation.value(&segment, 1, 2).trim().to_owned();
                notation.syntax =
                    self.version.parse().ok().filter(|version| (1..=4).contains(version)).unwrap_or_default();
                let declared = Charset::declared(&self.syntax);
                notation.charset = configured.or(declared).unwrap_or(Charset::ASCII);
                let text = |element, component| notation.value(&segment, element, component).trim().to_owned();
                self.sender = Party { id: text(2, 1), qualifier: text(2, 2), internal: text(2, 3) };
                self.receiver = Party { id: text(3, 1), qualifier: text(3, 2), internal: text(3, 3) };
                (self.date, self.time, self.reference) = (text(4, 1), text(4, 2), text(5, 1));
                self.application = text(7, 1);
                (self.acknowledgment_asked, self.test) = (text(9, 1) == "1", text(11, 1) == "1");
                if declared.is_none() && configured.is_none() {
                    let (syntax, place) = (self.syntax.clone(), Place { element: 1, component: 1, ..self.place() });
                    self.findings.add(policy, Code::Charset, place, || {
                        format!("the syntax identifier `{syntax}` declares no known character set; values are read as they look")
                    });
                }
                &[(1, "the syntax identifier"), (2, "the sender"), (3, "the receiver"), (5, "the control reference")]
            }
            Dialect::X12 => {
                notation.charset = configured.unwrap_or(Charset::ASCII);
                // Delimiters stand in ISA11 and ISA16 as text, so elements are taken whole.
                let element = |number: usize| {
                    let bytes = segment.element(number).map_or(&b""[..], |element| element.raw());
                    notation.text(bytes, false).trim().to_owned()
                };
                self.sender = Party { id: element(6), qualifier: element(5), internal: String::new() };
                self.receiver = Party { id: element(8), qualifier: element(7), internal: String::new() };
                (self.date, self.time, self.version) = (element(9), element(10), element(12));
                self.reference = element(13);
                (self.acknowledgment_asked, self.test) = (element(14) == "1", element(15) == "T");
                &[(6, "the sender"), (8, "the receiver"), (13, "the control number")]
            }
        };
        let empty = |number: u16| match number {
            1 => self.syntax.is_empty(),
            2 | 6 => self.sender.id.is_empty(),
            3 | 8 => self.receiver.id.is_empty(),
            _ => self.reference.is_empty(),
        };
        narrow(segment.raw(), &notation, policy, self.record.place(0, 0), &mut self.findings);
        let missing: Vec<_> = mandatory.iter().filter(|(number, _)| empty(*number)).collect();
        self.notation = notation;
        for (number, what) in missing {
            let place = Place { element: *number, ..self.place() };
            self.findings.add(policy, Code::Envelope, place, || format!("{what} of the interchange is missing"));
        }
    }

    pub(super) fn place(&self) -> Place {
        self.record.place(0, 0)
    }
}

impl Group {
    pub(super) fn read(&mut self, notation: &Notation) {
        let Some(segment) = self.record.get(0) else { return };
        let text = |element, component| notation.value(&segment, element, component).trim().to_owned();
        let party = |element| match notation.dialect {
            Dialect::Edifact => Party { id: text(element, 1), qualifier: text(element, 2), internal: String::new() },
            Dialect::X12 => Party { id: text(element, 1), ..Party::default() },
        };
        (self.function, self.sender, self.receiver) = (text(1, 1), party(2), party(3));
        match notation.dialect {
            Dialect::Edifact => {
                (self.date, self.time, self.reference) = (text(4, 1), text(4, 2), text(5, 1));
                let version = [1, 2, 3].map(|component| text(7, component)).join(":");
                (self.agency, self.version) = (text(6, 1), version.trim_end_matches(':').to_owned());
            }
            Dialect::X12 => {
                (self.date, self.time, self.reference) = (text(4, 1), text(5, 1), text(6, 1));
                (self.agency, self.version) = (text(7, 1), text(8, 1));
            }
        }
    }
}
