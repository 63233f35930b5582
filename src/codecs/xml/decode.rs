//! XML text → document.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;

use super::encode::{is_character, is_name};
use super::{Namespaces, Wrong, XmlSettings};
use crate::message::json::MAX_DEPTH;
use crate::message::{Map, Text, Value};

/// What `lists:` says, cut at the dots.
#[derive(Debug)]
pub struct Lists(Vec<Vec<Text>>);

impl Lists {
    pub fn new(written: &[Text]) -> Lists {
        Lists(written.iter().map(|path| path.split('.').map(Text::new).collect()).collect())
    }

    /// Whether element `name` inside the elements `open` is always a list.
    fn has(&self, open: &[Frame], name: &str) -> bool {
        let matches = |path: &Vec<Text>| {
            let Some((last, parents)) = path.split_last() else { return false };
            last == name
                && parents.len() <= open.len()
                && open[open.len() - parents.len()..].iter().zip(parents).all(|(frame, parent)| frame.name == *parent)
        };
        self.0.iter().any(matches)
    }
}

/// The document of a whole text: a map whose only key is the root element.
pub fn document(text: &str, settings: &XmlSettings, lists: &Lists) -> Result<Value, Wrong> {
    let mut reader = Reader::from_str(text);
    let mut tree = Tree { settings, lists, open: Vec::new(), root: None };
    loop {
        let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let event = reader.read_event().map_err(|error| Wrong {
            what: format!("the message is not XML: {error}"),
            at: usize::try_from(reader.error_position()).unwrap_or(at),
        })?;
        if event == Event::Eof {
            return tree.finish().map_err(|what| Wrong { what, at });
        }
        tree.event(event).map_err(|what| Wrong { what, at })?;
    }
}

struct Tree<'s> {
    settings: &'s XmlSettings,
    lists: &'s Lists,
    open: Vec<Frame>,
    root: Option<(Text, Value)>,
}

/// An element that is not closed yet.
struct Frame {
    name: Text,
    fields: Map,
    text: String,
    /// So much of `text` is kept though it ends in blanks: they were written as references or in CDATA.
    solid: usize,
    has_elements: bool,
}

/// Reasons are whole sentences; the caller adds the place.
impl Tree<'_> {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::Empty(tag) => self.start(&tag).and_then(|()| self.end()),
            Event::End(_) => self.end(),
            Event::Text(text) => self.text(&text.xml10_content(), false),
            Event::CData(text) => self.text(&text.xml10_content(), true),
            Event::GeneralRef(reference) => {
                let character = resolve(&reference)?;
                self.text(character.encode_utf8(&mut [0; 4]), true)
            }
            Event::DocType(_) => Err("a DOCTYPE is not accepted: no entity is expanded and no other file is read; \
                                      have the sender leave it out"
                .into()),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::Eof => Ok(()),
        }
    }

    fn start(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        if self.open.is_empty() && self.root.is_some() {
            return Err("a second root element".into());
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        let name = self.name(tag.name().into_inner())?;
        let fields = self.attributes(tag)?;
        self.open.push(Frame { name, fields, text: String::new(), solid: 0, has_elements: false });
        Ok(())
    }

    fn attributes(&self, tag: &BytesStart<'_>) -> Result<Map, String> {
        let mut fields = Map::new();
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|error| format!("an attribute is not XML: {error}"))?;
            let written = attribute.key.into_inner();
            let strip = self.settings.namespaces == Namespaces::Strip;
            if strip && (written == "xmlns" || written.starts_with("xmlns:")) {
                continue;
            }
            let name = self.name(written)?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
            if let Some(bad) = value.chars().find(|character| !is_character(*character)) {
                return Err(format!("character {:#04X} is not allowed in XML", u32::from(bad)));
            }
            if fields.insert(format!("@{name}"), Value::text(&*value)).is_some() {
                return Err(format!("without prefixes two attributes are called `{name}`"));
            }
        }
        Ok(fields)
    }

    fn name(&self, written: &str) -> Result<Text, String> {
        if !is_name(written) {
            return Err(format!("`{written}` is not a name"));
        }
        Ok(match self.settings.namespaces {
            Namespaces::Strip => written.rsplit(':').next().unwrap_or(written).into(),
            Namespaces::Keep => written.into(),
        })
    }

    /// `solid` text is kept as it is; of other text the blanks at both ends of the element are taken away.
    fn text(&mut self, text: &str, solid: bool) -> Result<(), String> {
        if let Some(bad) = text.chars().find(|character| !is_character(*character)) {
            return Err(format!("character {:#04X} is not allowed in XML", u32::from(bad)));
        }
        let Some(frame) = self.open.last_mut() else {
            return if trim(text).is_empty() { Ok(()) } else { Err("text outside the root element".into()) };
        };
        frame.text.push_str(if !solid && frame.text.is_empty() { text.trim_start_matches(BLANKS) } else { text });
        if solid {
            frame.solid = frame.text.len();
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(mut frame) = self.open.pop() else { return Err("an end without its beginning".into()) };
        let end = frame.text.trim_end_matches(BLANKS).len().max(frame.solid);
        frame.text.truncate(end);
        if frame.has_elements && !frame.text.is_empty() {
            return Err(format!(
                "text stands beside elements in <{}>; such mixed content has no place in a document",
                frame.name
            ));
        }
        let value = if frame.fields.is_empty() {
            Value::from(frame.text)
        } else {
            if !frame.text.is_empty() {
                frame.fields.insert("#text", frame.text);
            }
            Value::Map(frame.fields)
        };
        self.attach(frame.name, value);
        Ok(())
    }

    fn attach(&mut self, name: Text, value: Value) {
        let always = self.lists.has(&self.open, &name);
        let Some(parent) = self.open.last_mut() else {
            self.root = Some((name, value));
            return;
        };
        parent.has_elements = true;
        match parent.fields.get_mut(&name) {
            Some(Value::List(items)) => items.push(value),
            Some(first) => {
                let items = vec![std::mem::take(first), value];
                *first = Value::List(items);
            }
            None if always => drop(parent.fields.insert(name, vec![value])),
            None => drop(parent.fields.insert(name, value)),
        }
    }

    fn finish(self) -> Result<Value, String> {
        match (self.open.last(), self.root) {
            (Some(frame), _) => Err(format!("the text ends inside <{}> (truncated?)", frame.name)),
            (None, Some(root)) => Ok(Value::Map([root].into_iter().collect())),
            (None, None) => Err("there is no root element".into()),
        }
    }
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

fn trim(text: &str) -> &str {
    text.trim_matches(BLANKS)
}

fn resolve(reference: &BytesRef<'_>) -> Result<char, String> {
    if let Some(character) = reference.resolve_char_ref().map_err(|error| error.to_string())? {
        return Ok(character);
    }
    Ok(match &**reference {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "apos" => '\'',
        "quot" => '"',
        other => return Err(format!("entity `&{other};` is not known: only the five of XML itself are")),
    })
}
