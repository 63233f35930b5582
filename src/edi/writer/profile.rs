//! How a partner wants interchanges written.

use crate::edi::charset::Charset;
use crate::edi::findings::Policy;
use crate::edi::reader::{Notation, Party};
use crate::edi::syntax::{Delimiters, Dialect};
use crate::edi::tree::Guide;

/// Whether a UNA is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceString {
    #[default]
    Always,
    Never,
    /// Where the delimiters are not those of level A.
    WhenNeeded,
}

/// What is written after each segment, for those who read the file as lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Newline {
    #[default]
    None,
    Lf,
    CrLf,
}

impl Newline {
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Newline::None => b"",
            Newline::Lf => b"\n",
            Newline::CrLf => b"\r\n",
        }
    }
}

/// How interchanges are written.
#[derive(Clone, Debug)]
pub struct Profile {
    pub dialect: Dialect,
    pub delimiters: Delimiters,
    pub charset: Charset,
    /// `UNOC`; of EDIFACT only.
    pub syntax: String,
    /// `3` of EDIFACT, `00401` of X12.
    pub version: String,
    pub service_string: ServiceString,
    pub newline: Newline,
    /// What is refused.
    pub policy: Policy,
    /// What is written is judged by it too.
    pub guide: Guide,
}

impl Profile {
    /// UNOC, syntax 3, the usual delimiters.
    pub fn edifact() -> Profile {
        Profile {
            dialect: Dialect::Edifact,
            delimiters: Delimiters::EDIFACT,
            charset: Charset::LATIN_1,
            syntax: "UNOC".to_owned(),
            version: "3".to_owned(),
            service_string: ServiceString::Always,
            newline: Newline::None,
            policy: Policy::default(),
            guide: Guide::default(),
        }
    }

    /// Version 00401, the usual delimiters.
    pub fn x12() -> Profile {
        Profile {
            dialect: Dialect::X12,
            delimiters: Delimiters::X12,
            charset: Charset::ASCII,
            syntax: String::new(),
            version: "00401".to_owned(),
            ..Profile::edifact()
        }
    }

    /// The profile that writes as an interchange was written, even where that did not keep to level A or B.
    pub fn like(interchange: &crate::edi::reader::Interchange) -> Profile {
        let Notation { dialect, delimiters, charset, .. } = interchange.notation;
        let profile = if dialect == Dialect::X12 { Profile::x12() } else { Profile::edifact() };
        // X12 declares no character set, and UTF-8 was read without a word.
        let silent = dialect == Dialect::X12 && charset == Charset::ASCII;
        let charset = if silent { Charset::UTF_8 } else { charset.broad() };
        let (syntax, version) = (interchange.syntax.clone(), interchange.version.clone());
        Profile { delimiters, charset, syntax, version, ..profile }
    }

    pub(crate) fn notation(&self) -> Notation {
        let syntax = match self.dialect {
            Dialect::Edifact => self.version.parse().unwrap_or(3),
            Dialect::X12 => 0,
        };
        Notation { dialect: self.dialect, delimiters: self.delimiters, charset: self.charset, syntax }
    }
}

/// Who to whom, when, under which reference.
#[derive(Clone, Debug, Default)]
pub struct Header {
    pub sender: Party,
    pub receiver: Party,
    /// `YYYYMMDD`; shortened where the version wants it.
    pub date: String,
    /// `HHMM`, or with seconds, which only the group of X12 has.
    pub time: String,
    pub reference: String,
    pub test: bool,
    pub acknowledgment_asked: bool,
    /// EDIFACT 0026.
    pub application: String,
}

/// The group messages go into: X12 has always one, EDIFACT hardly ever.
#[derive(Clone, Debug, Default)]
pub struct GroupHeader {
    /// `PO`, `ORDERS`.
    pub function: String,
    pub sender: Party,
    pub receiver: Party,
    pub reference: String,
    /// `X`, `UN`.
    pub agency: String,
    /// `004010VICS`, `D:96A`.
    pub version: String,
}
