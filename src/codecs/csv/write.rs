//! Writing rows.

use std::fmt::Write;

use super::Csv;
use crate::message::{Fault, Map, Text, Value};

/// What keeps a document from being written, and the field it stands in.
pub struct Unwritable {
    what: String,
    field: Option<Text>,
}

impl Unwritable {
    pub fn fault(self, place: &str) -> Fault {
        let place = match self.field {
            Some(field) => format!("{place}.{field}"),
            None => place.to_owned(),
        };
        Fault::refuse("ENCODE-CSV", self.what).at(place)
    }
}

impl Csv {
    pub fn write_header(&self, columns: &[Text], out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut text = String::new();
        for (index, name) in columns.iter().enumerate() {
            self.between(index, &mut text);
            self.write_cell(name, columns.len() == 1, &mut text);
        }
        self.finish(&mut text, out).map_err(|wrong| wrong.fault("$"))
    }

    /// Appends one row; on an error `out` is as it was.
    pub fn write_row(&self, row: &Value, columns: &[Text], out: &mut Vec<u8>) -> Result<(), Unwritable> {
        let Value::Map(map) = row else {
            let what = format!("a row is a map from column names to cells, found {}", row.kind());
            return Err(Unwritable { what, field: None });
        };
        let mut text = String::with_capacity(columns.len() * 12);
        let mut found = 0;
        for (index, name) in columns.iter().enumerate() {
            self.between(index, &mut text);
            let value = map.get(name);
            found += usize::from(value.is_some());
            self.write_value(name, value.unwrap_or(&Value::Null), columns.len() == 1, &mut text)?;
        }
        if found < map.len() {
            return Err(without_column(map, columns));
        }
        self.finish(&mut text, out)
    }

    fn between(&self, index: usize, text: &mut String) {
        if index > 0 {
            text.push(self.settings.delimiter);
        }
    }

    fn write_value(&self, name: &Text, value: &Value, alone: bool, text: &mut String) -> Result<(), Unwritable> {
        match value {
            Value::Null => self.write_cell("", alone, text),
            Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
            Value::Text(cell) => self.write_cell(cell, alone, text),
            Value::Number(number) if self.settings.decimal_comma => {
                self.write_cell(&number.to_string().replace('.', ","), alone, text);
            }
            Value::Number(number) => write!(text, "{number}").expect("writing to a string does not fail"),
            Value::List(_) | Value::Map(_) => {
                let what = format!("a cell holds text, a number or a boolean, found {}", value.kind());
                return Err(Unwritable { what, field: Some(name.clone()) });
            }
        }
        Ok(())
    }

    /// An empty cell that is `alone` in its row is quoted: a blank line would be no row.
    fn write_cell(&self, cell: &str, alone: bool, text: &mut String) {
        let (delimiter, quote) = (self.settings.delimiter as u8, self.settings.quote as u8);
        let special = |byte: u8| byte == delimiter || byte == quote || matches!(byte, b'\n' | b'\r');
        let blank = |byte: Option<&u8>| self.settings.trim && matches!(byte, Some(b' ' | b'\t'));
        let bytes = cell.as_bytes();
        let plain = !bytes.iter().any(|byte| special(*byte)) && !blank(bytes.first()) && !blank(bytes.last());
        if plain && !(alone && cell.is_empty()) {
            return text.push_str(cell);
        }
        text.push(self.settings.quote);
        for character in cell.chars() {
            if character == self.settings.quote {
                text.push(character);
            }
            text.push(character);
        }
        text.push(self.settings.quote);
    }

    fn finish(&self, text: &mut String, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        text.push_str(self.settings.line_end.text());
        self.settings.charset.encode(text, out).map_err(|stranger| {
            let what = format!("`{stranger}` cannot be written in {}", self.settings.charset.name());
            Unwritable { what, field: None }
        })
    }
}

fn without_column(map: &Map, columns: &[Text]) -> Unwritable {
    let field = map.iter().map(|(name, _)| name).find(|name| !columns.contains(name)).cloned();
    let what = "this field has no column; add it to `columns`, or leave it out of the document".to_owned();
    Unwritable { what, field }
}
