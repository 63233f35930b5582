//! Character sets of text formats. A byte that means nothing is a fault with its place, never a replacement character.

use std::borrow::Cow;

use encoding_rs::WINDOWS_1252;

use crate::config::choice;

choice! {
    /// The character set of a text file.
    pub enum Charset {
        /// Unicode, as nearly everything writes today. A mark at the beginning of the file is taken away.
        Utf8 = "utf-8",
        /// Western Windows: what older tills and spreadsheets write ("ANSI"), with the euro sign.
        Windows1252 = "windows-1252",
        /// ISO 8859-1: older Unix and mainframe systems, without the euro sign.
        Latin1 = "latin1",
    }
}

/// The first byte that means nothing, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable {
    pub at: usize,
    pub byte: u8,
}

const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";

impl Charset {
    pub fn name(self) -> &'static str {
        match self {
            Charset::Utf8 => "utf-8",
            Charset::Windows1252 => "windows-1252",
            Charset::Latin1 => "latin1",
        }
    }

    /// How many bytes of mark stand at the beginning of a file; also of a line, where files were put together and because a
    /// line may have to be read alone.
    ///
    /// # Errors
    /// A sentence, where the mark belongs to another character set.
    pub fn mark(self, beginning: &[u8]) -> Result<usize, String> {
        match beginning {
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Err(format!("the file is UTF-16, not {}", self.name())),
            _ if !beginning.starts_with(UTF8_MARK) => Ok(0),
            _ if self == Charset::Utf8 => Ok(UTF8_MARK.len()),
            _ => Err(format!("the file begins with the mark of UTF-8, but `charset` is {}", self.name())),
        }
    }

    pub fn decode(self, bytes: &[u8]) -> Result<Cow<'_, str>, Undecodable> {
        match self {
            Charset::Utf8 => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Cow::Borrowed(text)),
                Err(error) => Err(undecodable(bytes, error.valid_up_to())),
            },
            // Five bytes have no meaning in windows-1252; encoding_rs, made for browsers, lets them pass.
            Charset::Windows1252 => {
                match bytes.iter().position(|byte| matches!(byte, 0x81 | 0x8D | 0x8F | 0x90 | 0x9D)) {
                    Some(at) => Err(undecodable(bytes, at)),
                    None => Ok(WINDOWS_1252.decode_without_bom_handling(bytes).0),
                }
            }
            Charset::Latin1 => Ok(encoding_rs::mem::decode_latin1(bytes)),
        }
    }

    /// Appends `text` to `out`.
    ///
    /// # Errors
    /// The first character this character set does not have; `out` is then as it was.
    pub fn encode(self, text: &str, out: &mut Vec<u8>) -> Result<(), char> {
        if self == Charset::Utf8 || text.is_ascii() {
            out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        if let Some(stranger) = text.chars().find(|character| !self.has(*character)) {
            return Err(stranger);
        }
        match self {
            Charset::Utf8 => {}
            Charset::Windows1252 => out.extend_from_slice(&WINDOWS_1252.encode(text).0),
            Charset::Latin1 => out.extend_from_slice(&encoding_rs::mem::encode_latin1_lossy(text)),
        }
        Ok(())
    }

    pub fn has(self, character: char) -> bool {
        match self {
            Charset::Utf8 => true,
            _ if character.is_ascii() => true,
            Charset::Latin1 => character <= '\u{FF}',
            Charset::Windows1252 => {
                let unmapped = WINDOWS_1252.encode(character.encode_utf8(&mut [0; 4])).2;
                !unmapped && !('\u{80}'..='\u{9F}').contains(&character)
            }
        }
    }
}

fn undecodable(bytes: &[u8], at: usize) -> Undecodable {
    Undecodable { at: at + 1, byte: bytes.get(at).copied().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(charset: Charset, bytes: &[u8], expect: Result<&str, usize>) {
        let decoded = charset.decode(bytes);
        assert_eq!(decoded.as_deref().map_err(|wrong| wrong.at), expect);
        if let Ok(text) = decoded {
            let mut back = Vec::new();
            assert_eq!(charset.encode(&text, &mut back), Ok(()));
            assert_eq!(back, bytes, "{charset:?}");
        }
    }

    #[test]
    fn bytes_are_read_or_refused() {
        check(Charset::Utf8, "prix 12 €".as_bytes(), Ok("prix 12 €"));
        check(Charset::Utf8, b"caf\xE9", Err(4));
        check(Charset::Utf8, b"caf\xC3", Err(4));
        check(Charset::Windows1252, b"caf\xE9 12 \x80", Ok("café 12 €"));
        check(Charset::Windows1252, b"a\x81", Err(2));
        check(Charset::Latin1, b"caf\xE9", Ok("café"));
        let all: Vec<u8> = (0..=255).collect();
        check(Charset::Latin1, &all, Ok(&all.iter().map(|byte| char::from(*byte)).collect::<String>()));
    }

    #[test]
    fn a_character_the_set_does_not_have_is_named() {
        assert_eq!(Charset::Latin1.encode("12 €", &mut Vec::new()), Err('€'));
        assert_eq!(Charset::Windows1252.encode("Łódź", &mut Vec::new()), Err('Ł'));
    }

    #[test]
    fn a_mark_is_taken_away_or_told() {
        assert_eq!(Charset::Utf8.mark(b"\xEF\xBB\xBFid"), Ok(3));
        assert_eq!(Charset::Utf8.mark(b"id"), Ok(0));
        assert!(Charset::Latin1.mark(b"\xEF\xBB\xBFid").is_err());
        assert!(Charset::Utf8.mark(b"\xFF\xFEi\0").is_err());
    }
}
