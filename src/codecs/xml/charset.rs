//! The character set an XML file says it has (XML 1.0, appendix F).

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};

use super::super::Charset;
use crate::message::Fault;

/// The text of a file, without its mark.
///
/// # Errors
/// `DECODE-XML`, with the line and byte where they are known.
pub fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, Fault> {
    match bytes {
        [0xFF, 0xFE, rest @ ..] => strict(UTF_16LE, rest),
        [0xFE, 0xFF, rest @ ..] => strict(UTF_16BE, rest),
        [b'<', 0, ..] => strict(UTF_16LE, bytes),
        [0, b'<', ..] => strict(UTF_16BE, bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => ours(Charset::Utf8, rest),
        _ => match declared(bytes) {
            None => ours(Charset::Utf8, bytes),
            Some(label) => labelled(&label.to_ascii_lowercase(), bytes),
        },
    }
}

/// Length of the declaration `<?xml ...?>` at the beginning of a file, 0 without one.
pub fn declaration(bytes: &[u8]) -> usize {
    if !bytes.starts_with(b"<?xml") {
        return 0;
    }
    memchr::memmem::find(bytes, b"?>").map_or(0, |at| at + 2)
}

fn declared(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(&bytes[..declaration(bytes)]).ok()?;
    let (_, after) = text.split_once("encoding")?;
    let after = after.trim_start().strip_prefix('=')?.trim_start();
    let quote = after.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    after[1..].split_once(quote).map(|(label, _)| label)
}

fn labelled<'b>(label: &str, bytes: &'b [u8]) -> Result<Cow<'b, str>, Fault> {
    match label {
        "utf-8" | "utf8" | "us-ascii" | "ascii" => ours(Charset::Utf8, bytes),
        // Browsers read windows-1252 here; the declaration is taken at its word.
        "iso-8859-1" | "latin1" => ours(Charset::Latin1, bytes),
        "windows-1252" | "cp1252" => ours(Charset::Windows1252, bytes),
        other => match Encoding::for_label_no_replacement(other.as_bytes()) {
            Some(encoding) if encoding.is_ascii_compatible() => strict(encoding, bytes),
            Some(_) => Err(fault(format!("the file says it is {other}, and it is not"))),
            None => Err(fault(format!("the file says it is in `{other}`, which is not known"))),
        },
    }
}

fn ours(charset: Charset, bytes: &[u8]) -> Result<Cow<'_, str>, Fault> {
    charset.decode(bytes).map_err(|wrong| {
        let before = &bytes[..wrong.at - 1];
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        let column = wrong.at - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        fault(format!("byte {:02X} is not {}, which the file is in by its first line", wrong.byte, charset.name()))
            .at(format!("line {line} byte {column}"))
    })
}

fn strict<'b>(encoding: &'static Encoding, bytes: &'b [u8]) -> Result<Cow<'b, str>, Fault> {
    encoding
        .decode_without_bom_handling_and_without_replacement(bytes)
        .ok_or_else(|| fault(format!("the file has bytes that are not {}, which it says it is in", encoding.name())))
}

fn fault(what: String) -> Fault {
    Fault::refuse("DECODE-XML", what)
}
