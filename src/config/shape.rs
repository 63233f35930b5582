//! The shape of settings: from it follow the JSON Schema and the reference pages.

use std::fmt::Write;

use super::Settings;
use crate::message::{Map, Value};

/// What may be written in a place.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A scalar; `pattern` is a regular expression it matches before references are replaced.
    Text {
        what: &'static str,
        pattern: Option<&'static str>,
        example: &'static str,
    },
    Boolean,
    Number,
    /// Any YAML value: constants, paths and formulas are templates. The text says what it becomes.
    Template(&'static str),
    Choice(Vec<Word>),
    List(fn() -> Box<Shape>),
    /// A map from free names.
    Named(fn() -> Box<Shape>),
    Struct(StructShape),
    /// A map with exactly one of these keys.
    OneOf(Vec<OneOf>),
    /// A struct whose fields depend on the word under `tag`.
    Tagged {
        tag: &'static str,
        about: &'static str,
        variants: Vec<(&'static str, StructShape)>,
    },
    /// Any of these.
    Either(Vec<Shape>),
}

#[derive(Clone, Debug)]
pub struct StructShape {
    pub name: &'static str,
    pub about: &'static str,
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug)]
pub struct Field {
    pub name: &'static str,
    pub about: &'static str,
    pub shape: fn() -> Shape,
    pub default: Option<&'static str>,
    pub required: bool,
}

#[derive(Clone, Debug)]
pub struct Word {
    pub word: &'static str,
    pub about: &'static str,
}

#[derive(Clone, Debug)]
pub struct OneOf {
    pub key: &'static str,
    pub about: &'static str,
    pub shape: fn() -> Shape,
}

impl StructShape {
    pub fn of<T: Settings>() -> StructShape {
        StructShape { name: T::NAME, about: T::ABOUT, fields: T::fields() }
    }

    /// The fields of another struct beside these.
    #[must_use]
    pub fn and(mut self, more: Vec<Field>) -> StructShape {
        self.fields.extend(more);
        self
    }
}

/// JSON Schema (draft 2020-12) of a shape, for the YAML language server.
pub fn schema(shape: &Shape, title: &str) -> Value {
    let mut root = map([("$schema", "https://json-schema.org/draft/2020-12/schema".into()), ("title", title.into())]);
    for (name, value) in of_shape(shape) {
        root.insert(name, value);
    }
    root.into()
}

fn of_shape(shape: &Shape) -> Map {
    match shape {
        Shape::Text { pattern, .. } => {
            // A number or a boolean written plain is read as the text it is; a reference stands for any text.
            let mut out = map([("type", list(["string", "number", "boolean"]))]);
            if let Some(pattern) = pattern {
                out.insert("pattern", format!("{pattern}|\\$\\{{"));
            }
            out
        }
        Shape::Boolean => map([("type", "boolean".into())]),
        Shape::Number => map([("type", list(["integer", "string"])), ("pattern", "^[0-9]+$|\\$\\{".into())]),
        Shape::Template(about) => map([("description", (*about).into())]),
        Shape::Choice(words) => {
            let one =
                |word: &Word| Value::Map(map([("const", word.word.into()), ("description", plain(word.about).into())]));
            map([("oneOf", words.iter().map(one).collect::<Vec<_>>().into())])
        }
        Shape::List(item) => map([("type", "array".into()), ("items", of_shape(&item()).into())]),
        Shape::Named(item) => map([("type", "object".into()), ("additionalProperties", of_shape(&item()).into())]),
        Shape::Struct(shape) => of_struct(shape, None),
        Shape::OneOf(keys) => {
            let property = |one: &OneOf| (one.key, described(of_shape(&(one.shape)()), one.about, None));
            let properties: Map = keys.iter().map(property).collect();
            let mut out = map([("type", "object".into()), ("properties", properties.into())]);
            out.insert("additionalProperties", false);
            out.insert("minProperties", 1_usize);
            out.insert("maxProperties", 1_usize);
            out
        }
        Shape::Tagged { tag, variants, .. } => {
            let one = |(word, shape): &(&'static str, StructShape)| Value::Map(of_struct(shape, Some((tag, word))));
            map([("oneOf", variants.iter().map(one).collect::<Vec<_>>().into())])
        }
        Shape::Either(shapes) => {
            map([("anyOf", shapes.iter().map(|shape| Value::Map(of_shape(shape))).collect::<Vec<_>>().into())])
        }
    }
}

fn of_struct(shape: &StructShape, tag: Option<(&str, &str)>) -> Map {
    let mut properties = Map::new();
    let mut required = Vec::new();
    if let Some((tag, word)) = tag {
        properties.insert(tag, map([("const", word.into()), ("description", plain(shape.about).into())]));
        required.push(Value::from(tag));
    }
    for field in &shape.fields {
        properties.insert(field.name, described(of_shape(&(field.shape)()), field.about, field.default));
        if field.required {
            required.push(field.name.into());
        }
    }
    let mut out = map([("type", "object".into()), ("properties", properties.into())]);
    out.insert("additionalProperties", false);
    if !required.is_empty() {
        out.insert("required", required);
    }
    out
}

fn described(mut shape: Map, about: &str, default: Option<&str>) -> Map {
    shape.insert("description", plain(about));
    if let Some(default) = default {
        shape.insert("default", default);
    }
    shape
}

/// Columns of a reference page.
const WIDTH: usize = 110;

/// The reference page of the thing at `path` inside `shape`; `None` where there is no such thing.
pub fn explain(shape: &Shape, path: &[&str]) -> Option<String> {
    explain_from(shape, path, "")
}

fn explain_from(shape: &Shape, path: &[&str], about: &str) -> Option<String> {
    let Some((first, rest)) = path.split_first() else {
        let mut out = plain(about);
        if !out.is_empty() {
            out.push_str("\n\n");
        }
        page(shape, &mut out);
        return Some(out);
    };
    match shape {
        Shape::Struct(of) => {
            of.fields.iter().find(|field| field.name == *first).and_then(|field| explain_field(field, rest))
        }
        Shape::OneOf(keys) => {
            let one = keys.iter().find(|one| one.key == *first)?;
            explain_from(&(one.shape)(), rest, one.about)
        }
        Shape::Tagged { variants, .. } => match variants.iter().find(|(word, _)| word == first) {
            Some((_, of)) => explain_from(&Shape::Struct(of.clone()), rest, ""),
            None => variants.iter().find_map(|(_, of)| explain_from(&Shape::Struct(of.clone()), path, "")),
        },
        Shape::List(item) => explain_from(&item(), path, about),
        // A free name may be skipped (`to.retry`) or stand there (`to.erp.retry`).
        Shape::Named(item) => explain_from(&item(), path, about).or_else(|| explain_from(&item(), rest, about)),
        Shape::Either(shapes) => shapes.iter().find_map(|shape| explain_from(shape, path, about)),
        _ => None,
    }
}

fn explain_field(field: &Field, rest: &[&str]) -> Option<String> {
    let page = explain_from(&(field.shape)(), rest, field.about)?;
    if !rest.is_empty() {
        return Some(page);
    }
    Some(match field.default {
        Some(default) => format!("{page}Default: {default}\n"),
        None if field.required => format!("{page}Required.\n"),
        None => format!("{page}Optional.\n"),
    })
}

fn page(shape: &Shape, out: &mut String) {
    match shape {
        Shape::Text { what, example: "", .. } => line(out, &format!("Value: {what}")),
        Shape::Text { what, example, .. } => line(out, &format!("Value: {what}, for instance {example}")),
        Shape::Boolean => line(out, "Value: true or false"),
        Shape::Number => line(out, "Value: whole number"),
        Shape::Template(what) => line(out, &format!("Value: {what}")),
        Shape::Choice(words) => {
            line(out, "One of:");
            words.iter().for_each(|word| entry(out, word.word, word.about, ""));
        }
        Shape::List(item) => {
            line(out, "A list of:");
            page(&item(), out);
        }
        Shape::Named(item) => {
            line(out, "Names of your choice, each with:");
            page(&item(), out);
        }
        Shape::Struct(of) => {
            // What the field has said already is not said again.
            if !plain(of.about).is_empty() && !out.starts_with(&plain(of.about)) {
                line(out, &plain(of.about));
                line(out, "");
            }
            of.fields.iter().for_each(|field| entry(out, field.name, field.about, &presence(field)));
        }
        Shape::OneOf(keys) => {
            line(out, "Exactly one of:");
            keys.iter().for_each(|one| entry(out, one.key, one.about, ""));
        }
        Shape::Tagged { tag, about, variants } => {
            line(out, &plain(about));
            line(out, &format!("`{tag}` is one of:"));
            variants.iter().for_each(|(word, of)| entry(out, word, of.about, ""));
        }
        Shape::Either(shapes) => {
            for (index, shape) in shapes.iter().enumerate() {
                if index > 0 {
                    line(out, "or");
                }
                page(shape, out);
            }
        }
    }
}

fn presence(field: &Field) -> String {
    match field.default {
        Some(default) => format!(" (default {default})"),
        None if field.required => " (required)".to_owned(),
        None => String::new(),
    }
}

/// A name and the first paragraph about it, wrapped beside the name.
fn entry(out: &mut String, name: &str, about: &str, suffix: &str) {
    let about = plain(about);
    let paragraph: Vec<&str> = about.lines().take_while(|line| !line.is_empty()).collect();
    let mut line = format!("  {name:<18} ");
    let mut width = line.chars().count();
    for word in format!("{}{suffix}", paragraph.join(" ")).split(' ') {
        if width + word.chars().count() > WIDTH {
            line.truncate(line.trim_end().len());
            line.push_str(&format!("\n{:21}", ""));
            width = 21;
        }
        line.push_str(word);
        line.push(' ');
        width += word.chars().count() + 1;
    }
    writeln!(out, "{}", line.trim_end()).expect("writing to a string does not fail");
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// Doc comments arrive with a blank before each line; what stands further in (an example in YAML) stays there.
fn plain(about: &str) -> String {
    let lines = about.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn map<const N: usize>(fields: [(&str, Value); N]) -> Map {
    fields.into_iter().collect()
}

fn list<const N: usize>(words: [&str; N]) -> Value {
    Value::List(words.into_iter().map(Value::from).collect())
}
