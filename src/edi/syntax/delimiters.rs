//! The bytes that part one value from the next.

/// The two families of EDI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// UN/EDIFACT, ISO 9735: `UNB … UNZ`.
    Edifact,
    /// ASC X12: `ISA … IEA`.
    X12,
}

/// The delimiters in force for one interchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiters {
    /// Between elements: `+`, `*`.
    pub element: u8,
    /// Between the components of a composite: `:`, `>`.
    pub component: u8,
    /// Between the repetitions of an element: EDIFACT syntax 4, X12 from 00402.
    pub repetition: Option<u8>,
    /// Before a delimiter that is meant as text: EDIFACT only.
    pub release: Option<u8>,
    /// After each segment: `'`, `~`.
    pub segment: u8,
    /// The mark of decimals that numbers are written with.
    pub decimal: u8,
}

impl Delimiters {
    /// EDIFACT without a UNA, level A.
    pub const EDIFACT: Delimiters = Delimiters {
        element: b'+',
        component: b':',
        repetition: None,
        release: Some(b'?'),
        segment: b'\'',
        decimal: b'.',
    };

    /// X12 as most partners write it.
    pub const X12: Delimiters =
        Delimiters { element: b'*', component: b'>', repetition: None, release: None, segment: b'~', decimal: b'.' };

    /// Whether `byte` needs a release character before it.
    pub fn is_special(&self, byte: u8) -> bool {
        byte == self.element
            || byte == self.component
            || byte == self.segment
            || Some(byte) == self.repetition
            || Some(byte) == self.release
    }

    /// The UNA that declares them.
    pub fn service_string(&self) -> [u8; 9] {
        let Delimiters { element, component, repetition, release, segment, decimal } = *self;
        let (release, repetition) = (release.unwrap_or(b' '), repetition.unwrap_or(b' '));
        [b'U', b'N', b'A', component, element, decimal, release, repetition, segment]
    }

    /// Why these delimiters cannot work: two that are equal, or one that is a letter or digit.
    pub fn fault(&self) -> Option<String> {
        let named = [
            ("element separator", Some(self.element)),
            ("component separator", Some(self.component)),
            ("segment terminator", Some(self.segment)),
            ("repetition separator", self.repetition),
            ("release character", self.release),
        ];
        for (at, (name, byte)) in named.iter().enumerate() {
            let Some(byte) = *byte else { continue };
            if byte.is_ascii_alphanumeric() {
                return Some(format!("the {name} is `{}`, a letter or digit", char::from(byte)));
            }
            if let Some((other, _)) = named[..at].iter().find(|(_, earlier)| *earlier == Some(byte)) {
                return Some(format!("the {other} and the {name} are both {}", shown(byte)));
            }
        }
        None
    }
}

/// A byte for a person: itself where it can be seen, else its number.
pub(crate) fn shown(byte: u8) -> String {
    match byte {
        0x21..=0x7E => format!("`{}`", char::from(byte)),
        b' ' => "a blank".to_owned(),
        b'\n' => "a line feed".to_owned(),
        b'\r' => "a carriage return".to_owned(),
        _ => format!("byte 0x{byte:02X}"),
    }
}
