//! Character sets: what UNB declares, what a profile says, and what to do when the bytes say something else.

use std::borrow::Cow;

use encoding_rs::{
    Encoding, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6, ISO_8859_7, ISO_8859_8, ISO_8859_15,
    WINDOWS_1252, WINDOWS_1254,
};

/// The character set of the values of an interchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charset {
    kind: Kind,
    level: Level,
    /// A profile says so: then the bytes are not looked at for a better guess.
    configured: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ascii,
    Utf8,
    Latin1,
    /// One byte a character, beyond ISO 8859-1.
    Single(&'static Encoding),
}

/// How much of ASCII an interchange may use: UNOA is level A, UNOB level B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    A,
    B,
    All,
}

impl Charset {
    pub const ASCII: Charset = Charset::new(Kind::Ascii);
    pub const UTF_8: Charset = Charset::new(Kind::Utf8);
    pub const LATIN_1: Charset = Charset::new(Kind::Latin1);

    const fn new(kind: Kind) -> Charset {
        Charset { kind, level: Level::All, configured: false }
    }

    /// What a syntax identifier of UNB (`UNOC`) declares.
    pub fn declared(identifier: &str) -> Option<Charset> {
        let kind = match identifier {
            "UNOA" | "UNOB" => Kind::Ascii,
            "UNOC" => Kind::Latin1,
            "UNOD" => Kind::Single(ISO_8859_2),
            "UNOE" => Kind::Single(ISO_8859_5),
            "UNOF" => Kind::Single(ISO_8859_7),
            "UNOG" => Kind::Single(ISO_8859_3),
            "UNOH" => Kind::Single(ISO_8859_4),
            "UNOI" => Kind::Single(ISO_8859_6),
            "UNOJ" => Kind::Single(ISO_8859_8),
            "UNOK" => Kind::Single(WINDOWS_1254),
            "UNOL" => Kind::Single(ISO_8859_15),
            // ISO 10646, and code extension by ISO 2022, which those who declare it do not use.
            "UNOW" | "UNOX" | "UNOY" => Kind::Utf8,
            _ => return None,
        };
        let level = match identifier {
            "UNOA" => Level::A,
            "UNOB" => Level::B,
            _ => Level::All,
        };
        Some(Charset { level, ..Charset::new(kind) })
    }

    /// The same set without the bounds of levels A and B: to answer in the words of one who did not keep to them.
    #[must_use]
    pub fn broad(self) -> Charset {
        Charset { level: Level::All, ..self }
    }

    /// Whether only a part of ASCII is allowed.
    #[inline]
    pub(crate) fn is_narrow(&self) -> bool {
        self.level != Level::All
    }

    /// Whether `byte` is ASCII, and beyond levels A or B: lower case in A, `#$@[\]^{|}~` and the backtick in both. `_` is in
    /// them from syntax 4 on, and let pass before.
    pub(crate) fn is_beyond(&self, byte: u8) -> bool {
        match (self.level, byte) {
            (Level::All, _) => false,
            (level, b'a'..=b'z') => level == Level::A,
            (_, b'#' | b'$' | b'@' | b'[' | b'\\' | b']' | b'^' | b'`' | b'{'..=b'~') => true,
            _ => false,
        }
    }

    /// What a profile names: `utf-8`, `latin1`, `ascii`, or any single-byte set of the WHATWG list (`windows-1250`).
    pub fn configured(name: &str) -> Option<Charset> {
        let kind = match name.to_ascii_lowercase().as_str() {
            "ascii" | "us-ascii" => Kind::Ascii,
            "utf-8" | "utf8" => Kind::Utf8,
            "latin1" | "iso-8859-1" => Kind::Latin1,
            other => Encoding::for_label(other.as_bytes()).filter(|found| found.is_single_byte()).map(Kind::Single)?,
        };
        Some(Charset { configured: true, ..Charset::new(kind) })
    }

    pub fn name(&self) -> &'static str {
        match self.kind {
            _ if self.level == Level::A => "UNOA",
            _ if self.level == Level::B => "UNOB",
            Kind::Ascii => "ASCII",
            Kind::Utf8 => "UTF-8",
            Kind::Latin1 => "ISO 8859-1",
            Kind::Single(encoding) => encoding.name(),
        }
    }

    /// The text of `bytes`, and the name of the set it was read with if that is not this one.
    ///
    /// Never fails: bytes that this set does not have are read as UTF-8 if they are that, else as windows-1252.
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> (Cow<'a, str>, Option<&'static str>) {
        if bytes.is_ascii() {
            // Checked to be ASCII just above.
            return (String::from_utf8_lossy(bytes), None);
        }
        let utf_8 = std::str::from_utf8(bytes).ok();
        let declared = match (self.kind, utf_8) {
            (Kind::Utf8, Some(text)) => return (Cow::Borrowed(text), None),
            // Letters of other sets hardly ever form UTF-8 by chance.
            (Kind::Latin1 | Kind::Single(_), Some(text)) if !self.configured => {
                return (Cow::Borrowed(text), Some("UTF-8"));
            }
            (Kind::Ascii | Kind::Utf8, _) => None,
            (Kind::Latin1, _) => Some(encoding_rs::mem::decode_latin1(bytes)),
            (Kind::Single(encoding), _) => encoding.decode_without_bom_handling_and_without_replacement(bytes),
        };
        match (declared, utf_8) {
            (Some(text), _) => (text, None),
            (None, Some(text)) => (Cow::Borrowed(text), Some("UTF-8")),
            (None, None) => (WINDOWS_1252.decode_without_bom_handling(bytes).0, Some("windows-1252")),
        }
    }

    /// How many characters `bytes` are.
    pub fn count(&self, bytes: &[u8]) -> usize {
        if bytes.is_ascii() { bytes.len() } else { self.decode(bytes).0.chars().count() }
    }

    /// Appends `text` to `out`.
    ///
    /// # Errors
    /// The first character this set does not have; `out` then holds what stands before it.
    pub fn encode(&self, text: &str, out: &mut Vec<u8>) -> Result<(), char> {
        if self.kind == Kind::Utf8 || text.is_ascii() {
            out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        let mut buffer = [0; 4];
        for character in text.chars() {
            match self.kind {
                _ if character.is_ascii() => out.push(character as u8),
                Kind::Latin1 if character <= '\u{FF}' => out.push(character as u8),
                Kind::Single(encoding) => match encoding.encode(character.encode_utf8(&mut buffer)) {
                    (bytes, _, false) => out.extend_from_slice(&bytes),
                    _ => return Err(character),
                },
                Kind::Ascii | Kind::Latin1 | Kind::Utf8 => return Err(character),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(charset: Charset, bytes: &[u8], expect: &str, instead: Option<&str>) {
        let (text, other) = charset.decode(bytes);
        assert_eq!((&*text, other), (expect, instead), "{charset:?}");
        if instead.is_none() {
            let mut back = Vec::new();
            assert_eq!(charset.encode(expect, &mut back), Ok(()));
            assert_eq!(back, bytes);
        }
    }

    #[test]
    fn bytes_are_read_as_declared_or_as_they_look() {
        let declared = |name| Charset::declared(name).expect("known");
        check(declared("UNOA"), b"ABC", "ABC", None);
        check(declared("UNOA"), b"CAF\xC9", "CAFÉ", Some("windows-1252"));
        check(declared("UNOA"), "CAFÉ".as_bytes(), "CAFÉ", Some("UTF-8"));
        check(declared("UNOC"), b"CAF\xC9", "CAFÉ", None);
        check(declared("UNOC"), "CAFÉ".as_bytes(), "CAFÉ", Some("UTF-8"));
        check(declared("UNOD"), b"\xA3\xF3d\xBC", "Łódź", None);
        check(declared("UNOY"), "Łódź".as_bytes(), "Łódź", None);
        check(declared("UNOY"), b"caf\xE9", "café", Some("windows-1252"));
        let latin = Charset::configured("latin1").expect("known");
        check(latin, "É".as_bytes(), "Ã\u{89}", None);
        assert_eq!(Charset::configured("klingon"), None);
        assert_eq!(Charset::declared("IATB"), None);
    }

    #[test]
    fn levels_a_and_b_are_less_than_ascii() {
        let beyond = |name: &str| -> String {
            let charset = Charset::declared(name).expect("known");
            (b' '..0x7F).filter(|byte| charset.is_beyond(*byte)).map(char::from).collect()
        };
        assert_eq!(beyond("UNOB"), r"#$@[\]^`{|}~");
        assert_eq!(beyond("UNOA"), r"#$@[\]^`abcdefghijklmnopqrstuvwxyz{|}~");
        assert_eq!(beyond("UNOC"), "");
        let broad = Charset::declared("UNOA").expect("known").broad();
        assert!(!broad.is_narrow() && !broad.is_beyond(b'a'));
    }

    #[test]
    fn a_character_the_set_does_not_have_is_named() {
        assert_eq!(Charset::LATIN_1.encode("12 €", &mut Vec::new()), Err('€'));
        assert_eq!(Charset::ASCII.encode("é", &mut Vec::new()), Err('é'));
    }
}
