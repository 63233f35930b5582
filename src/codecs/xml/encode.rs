//! Document → XML text.

use super::{Charset, XmlSettings};
use crate::message::json::MAX_DEPTH;
use crate::message::{Fault, Map, Text, Value};

/// The bytes of a document that is a map with one root element, or that `root:` wraps.
pub fn document(document: &Value, settings: &XmlSettings) -> Result<Vec<u8>, Fault> {
    let mut writer = Writer { settings, out: String::new() };
    if settings.declaration {
        writer.out.push_str(&format!("<?xml version=\"1.0\" encoding=\"{}\"?>", label(settings.charset)));
        writer.out.push_str(if settings.indent { "\n" } else { "" });
    }
    let (name, value) = match (&settings.root, document) {
        (Some(root), value) => (root, value),
        (None, Value::Map(map)) if map.len() == 1 => map.iter().next().expect("its length was just looked at"),
        (None, other) => {
            let said = format!(
                "an XML document is a map with one key, the root element, found {}; `root:` names one",
                other.as_map().map_or_else(|| other.kind().to_owned(), |map| format!("{} keys", map.len()))
            );
            return Err(Fault::refuse("ENCODE-XML", said).at("$"));
        }
    };
    let written = if value.as_list().is_some() {
        Err(Unwritable { what: "the root element cannot be a list".into(), path: String::new() })
    } else {
        writer.element(name, value, 0)
    };
    written.map_err(|wrong| {
        let root = if settings.root.is_some() { String::new() } else { format!(".{name}") };
        Fault::refuse("ENCODE-XML", wrong.what).at(format!("${root}{}", wrong.path))
    })?;
    let mut bytes = Vec::with_capacity(writer.out.len());
    let encoded = settings.charset.encode(&writer.out, &mut bytes);
    encoded.map_err(|stranger| Fault::refuse("ENCODE-XML", format!("`{stranger}` cannot be written in a name")))?;
    Ok(bytes)
}

/// The name of an element or attribute (XML 1.0, production 5).
pub fn is_name(name: &str) -> bool {
    let first = |character: char| character.is_alphabetic() || matches!(character, '_' | ':');
    let further = |character: char| {
        first(character) || character.is_numeric() || matches!(character, '-' | '.' | '\u{B7}' | '\u{300}'..='\u{36F}')
    };
    name.starts_with(first) && name.chars().all(further)
}

/// A character XML 1.0 can carry at all (production 2).
pub fn is_character(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => true,
        '\u{FFFE}' | '\u{FFFF}' => false,
        other => other >= ' ',
    }
}

/// What keeps a value from being written, and the path to it from the root element.
struct Unwritable {
    what: String,
    path: String,
}

impl Unwritable {
    fn under(mut self, segment: &str) -> Unwritable {
        self.path.insert_str(0, segment);
        self
    }
}

struct Writer<'s> {
    settings: &'s XmlSettings,
    out: String,
}

impl Writer<'_> {
    fn element(&mut self, name: &Text, value: &Value, depth: usize) -> Result<(), Unwritable> {
        self.check_name(name)?;
        if depth >= MAX_DEPTH {
            return Err(wrong(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.out.push('<');
        self.out.push_str(name);
        let empty = match value {
            Value::Map(map) => self.map(map, depth)?,
            Value::Null => true,
            other => {
                let text = scalar(other)?;
                self.opened(text.is_empty());
                self.text(&text)?;
                text.is_empty()
            }
        };
        if empty {
            let open = self.out.ends_with('>');
            self.out.push_str(if open { "" } else { "/>" });
            return Ok(());
        }
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
        Ok(())
    }

    /// Ends the start tag, unless the element is `empty`.
    fn opened(&mut self, empty: bool) {
        if !empty {
            self.out.push('>');
        }
    }

    /// Attributes, then text or elements; true where there is neither of the two.
    fn map(&mut self, map: &Map, depth: usize) -> Result<bool, Unwritable> {
        for (name, value) in map.iter() {
            if let Some(attribute) = name.strip_prefix('@') {
                self.attribute(attribute, value).map_err(|wrong| wrong.under(&format!("['{name}']")))?;
            }
        }
        let text = match map.get("#text") {
            Some(value) => scalar(value).map_err(|wrong| wrong.under("['#text']"))?,
            None => Text::default(),
        };
        let is_element = |name: &Text| !name.starts_with('@') && name != "#text";
        let elements = map
            .iter()
            .filter(|(name, value)| is_element(name) && value.as_list().is_none_or(|items| !items.is_empty()));
        let mut elements = elements.peekable();
        if elements.peek().is_some() && !text.is_empty() {
            return Err(wrong("`#text` stands beside elements".into()));
        }
        let empty = elements.peek().is_none() && text.is_empty();
        self.opened(empty);
        self.text(&text)?;
        let mut has_elements = false;
        for (name, value) in elements {
            has_elements = true;
            self.elements(name, value, depth + 1)?;
        }
        if has_elements {
            self.line(depth);
        }
        Ok(empty)
    }

    fn elements(&mut self, name: &Text, value: &Value, depth: usize) -> Result<(), Unwritable> {
        let Value::List(items) = value else {
            self.line(depth);
            return self.element(name, value, depth).map_err(|wrong| wrong.under(&format!(".{name}")));
        };
        for (index, item) in items.iter().enumerate() {
            self.line(depth);
            self.element(name, item, depth).map_err(|wrong| wrong.under(&format!(".{name}[{index}]")))?;
        }
        Ok(())
    }

    fn attribute(&mut self, name: &str, value: &Value) -> Result<(), Unwritable> {
        if *value == Value::Null {
            return Ok(());
        }
        self.check_name(name)?;
        let text = scalar(value)?;
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("=\"");
        for character in text.chars() {
            match character {
                '"' => self.out.push_str("&quot;"),
                '\t' | '\n' | '\r' => self.reference(character),
                other => self.character(other)?,
            }
        }
        self.out.push('"');
        Ok(())
    }

    /// Blanks at both ends are written as references: plain ones would be taken for layout when read.
    fn text(&mut self, text: &str) -> Result<(), Unwritable> {
        let blank = |character: char| matches!(character, ' ' | '\t' | '\n' | '\r');
        let end = text.trim_end_matches(blank).len();
        let start = text.len() - text.trim_start_matches(blank).len();
        for (at, character) in text.char_indices() {
            if character == '\r' || (blank(character) && (at < start || at >= end)) {
                self.reference(character);
            } else {
                self.character(character)?;
            }
        }
        Ok(())
    }

    fn character(&mut self, character: char) -> Result<(), Unwritable> {
        match character {
            '&' => self.out.push_str("&amp;"),
            '<' => self.out.push_str("&lt;"),
            '>' => self.out.push_str("&gt;"),
            other if !is_character(other) => {
                return Err(wrong(format!("character {:#04X} cannot be written in XML", u32::from(other))));
            }
            other if !self.settings.charset.has(other) => self.reference(other),
            other => self.out.push(other),
        }
        Ok(())
    }

    fn reference(&mut self, character: char) {
        self.out.push_str(&format!("&#{};", u32::from(character)));
    }

    fn line(&mut self, depth: usize) {
        if self.settings.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n("  ", depth));
        }
    }

    fn check_name(&self, name: &str) -> Result<(), Unwritable> {
        if is_name(name) && name.chars().all(|character| self.settings.charset.has(character)) {
            return Ok(());
        }
        Err(wrong(format!("`{name}` cannot be the name of an element or attribute")))
    }
}

fn scalar(value: &Value) -> Result<Text, Unwritable> {
    match value {
        Value::Null => Ok(Text::default()),
        other => other
            .plain()
            .ok_or_else(|| wrong(format!("expected a text, a number or a boolean, found {}", other.kind()))),
    }
}

fn wrong(what: String) -> Unwritable {
    Unwritable { what, path: String::new() }
}

fn label(charset: Charset) -> &'static str {
    match charset {
        Charset::Utf8 => "UTF-8",
        Charset::Windows1252 => "windows-1252",
        Charset::Latin1 => "ISO-8859-1",
    }
}
