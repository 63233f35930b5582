//! The acknowledgment an interchange would get, in words and as text.

use super::shown;
use crate::edi::acknowledgments::{GroupReceipt, MessageReceipt, Receipt, contrl, functional, ta1};
use crate::edi::directory::Library;
use crate::edi::document::Line;
use crate::edi::reader::{MessageType, Party};
use crate::edi::syntax::Dialect;
use crate::edi::writer::{GroupHeader, Header, InterchangeWriter, Newline, Profile};
use crate::message::Value;

/// One acknowledgment.
pub struct Answer {
    /// `CONTRL`, `997`, `TA1`.
    pub name: &'static str,
    pub said: String,
    /// Its segments, without the envelope, whose references are given when it is sent; or why there are none.
    pub text: Result<Vec<String>, String>,
}

/// What would be answered; nothing where nothing is.
pub fn answers(receipt: &Receipt) -> Vec<Answer> {
    match receipt.interchange.notation.dialect {
        Dialect::Edifact => contrl(receipt, false).map(|document| edifact(receipt, &document)).into_iter().collect(),
        Dialect::X12 => {
            let groups = receipt.groups.iter().filter_map(|group| Some((group, functional(group, false)?)));
            let groups = groups.map(|(group, document)| of_group(group, &document));
            std::iter::once(interchange(receipt)).chain(groups).collect()
        }
    }
}

fn edifact(receipt: &Receipt, document: &Value) -> Answer {
    let messages: Vec<&MessageReceipt> = receipt.groups.iter().flat_map(|group| &group.messages).collect();
    let said = match refused(&messages) {
        _ if receipt.refused() => "the whole interchange is refused (4)".to_owned(),
        (0, _) => "the interchange is acknowledged (7), and all it holds".to_owned(),
        (_, words) => format!("the interchange is acknowledged (7), but {words} (4)"),
    };
    // The syntax of the answer is that of the question.
    let fourth = receipt.interchange.notation.syntax == 4;
    let (version, release) = if fourth { ("4", "1") } else { ("D", "3") };
    let kind = MessageType {
        name: "CONTRL".to_owned(),
        version: version.to_owned(),
        release: release.to_owned(),
        agency: "UN".to_owned(),
        ..MessageType::default()
    };
    let version = if fourth { "4" } else { "3" }.to_owned();
    let profile = Profile { version, newline: Newline::Lf, ..Profile::edifact() };
    Answer { name: "CONTRL", said, text: written(&profile, &kind, None, document) }
}

/// How many are refused, and which.
fn refused(messages: &[&MessageReceipt]) -> (usize, String) {
    let refused: Vec<String> = messages
        .iter()
        .filter(|message| !message.accepted())
        .map(|message| format!("{} {}", message.kind.name, message.reference))
        .collect();
    let more = if refused.len() > 5 { format!(" and {} more", refused.len() - 5) } else { String::new() };
    let named = refused.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
    let (verb, count) = (if refused.len() == 1 { "is" } else { "are" }, messages.len());
    (refused.len(), shown(&format!("{named}{more} {verb} refused, {} of {count}", refused.len())))
}

fn interchange(receipt: &Receipt) -> Answer {
    let line = ta1(receipt);
    let said = match line.get(4) {
        "R" => "the interchange is refused (R)",
        "E" => "the interchange is taken, its envelope has errors (E)",
        _ => "the interchange is taken (A)",
    };
    let asked = match receipt.interchange.acknowledgment_asked {
        true => "; the sender asks for it",
        false => "; the sender does not ask for it",
    };
    Answer { name: "TA1", said: format!("{said}{asked}"), text: Ok(vec![segment(&line)]) }
}

fn segment(line: &Line) -> String {
    let elements = (1..=line.elements.len()).map(|number| line.get(number));
    let all: Vec<&str> = std::iter::once(line.tag.as_str()).chain(elements).collect();
    format!("{}~", all.join("*"))
}

fn of_group(group: &GroupReceipt, document: &Value) -> Answer {
    let messages: Vec<&MessageReceipt> = group.messages.iter().collect();
    let whole = document.get("AK9").and_then(|last| last.get("AK901")).and_then(Value::as_text).unwrap_or_default();
    let (_, words) = refused(&messages);
    let said = match whole {
        "A" => "is accepted (A)".to_owned(),
        "E" => "is accepted, with errors told (E)".to_owned(),
        "P" => format!("is accepted in part (P): {words}"),
        _ => format!("is refused (R): {words}"),
    };
    let said = format!("group {} of {} {said}", shown(&group.reference), shown(&group.function));
    let release = if group.version.is_empty() { "004010" } else { &group.version };
    let kind = MessageType {
        name: "997".to_owned(),
        release: release.to_owned(),
        agency: "X".to_owned(),
        ..MessageType::default()
    };
    let profile = Profile { newline: Newline::Lf, ..Profile::x12() };
    let around = GroupHeader { function: "FA".to_owned(), ..GroupHeader::default() };
    Answer { name: "997", said, text: written(&profile, &kind, Some(around), document) }
}

/// The segments of the message alone.
fn written(
    profile: &Profile,
    kind: &MessageType,
    group: Option<GroupHeader>,
    document: &Value,
) -> Result<Vec<String>, String> {
    let party = || Party { id: "A".to_owned(), qualifier: "ZZ".to_owned(), ..Party::default() };
    let header = Header {
        sender: party(),
        receiver: party(),
        date: "20000101".to_owned(),
        time: "0000".to_owned(),
        reference: "1".to_owned(),
        ..Header::default()
    };
    let bytes = || {
        let mut writer = InterchangeWriter::new(Vec::new(), profile, Library::shipped(), header)?;
        if let Some(group) = group {
            writer.group(group)?;
        }
        writer.message(kind, "1", document)?;
        writer.finish()
    };
    let bytes = bytes().map_err(|error: crate::edi::writer::WriteError| error.to_string())?;
    let (text, _) = profile.charset.decode(&bytes);
    let envelope =
        |line: &&str| ["UNA", "UNB", "UNZ", "ISA", "GS*", "GE*", "IEA"].iter().any(|tag| line.starts_with(tag));
    Ok(text.lines().filter(|line| !envelope(line)).map(str::to_owned).collect())
}
