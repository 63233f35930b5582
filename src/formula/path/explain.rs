//! Where in a document something stands or is missing, in words.

use std::fmt::Write;

use super::compile::{is_name, is_name_start};
use super::{Root, Step};
use crate::config::nearest;
use crate::formula::faults;
use crate::message::{Map, Value};

pub fn absent_root(root: Root) -> &'static str {
    match root {
        Root::Item | Root::Index => "`$item` and `$index` exist only inside `each`",
        Root::Outer => "`$outer` exists only in an `each` inside another `each`",
        Root::Partner => "this message has no partner",
        Root::Connection => "`$connection` exists only in a connector's manifest",
        Root::Local(_) => "it exists only in a connector's manifest, where its page says",
        Root::Document | Root::Headers | Root::Meta => "it is not there",
    }
}

/// Where below `base` the very value `wanted` stands; asked only for a fault's sentence.
pub fn locate(base: &Value, wanted: &Value, place_of: String) -> Option<String> {
    if std::ptr::eq(base, wanted) {
        return Some(place_of);
    }
    match base {
        Value::List(items) => {
            items.iter().enumerate().find_map(|(index, item)| locate(item, wanted, format!("{place_of}[{index}]")))
        }
        Value::Map(map) => {
            map.iter().find_map(|(name, value)| locate(value, wanted, place(&place_of, &[Step::Name(name.clone())])))
        }
        _ => None,
    }
}

pub fn place(base: &str, steps: &[Step]) -> String {
    let mut out = base.to_owned();
    for step in steps {
        match step {
            Step::Name(name) if is_plain_name(name) => write!(out, ".{name}"),
            Step::Name(name) => write!(out, "['{}']", name.replace('\\', "\\\\").replace('\'', "\\'")),
            Step::Index(index) => write!(out, "[{index}]"),
        }
        .expect("writing to a string does not fail");
    }
    out
}

fn is_plain_name(name: &str) -> bool {
    name.chars().next().is_some_and(is_name_start) && name.chars().all(is_name)
}

pub fn explain(path: &str, base: &str, owner: &Value, step: &Step) -> String {
    let why = match (step, owner) {
        (_, Value::Null) => format!("`{base}` is null"),
        (_, Value::Map(map)) => return explain_field(path, base, map, step),
        (Step::Name(name), other) => format!("`{base}` is {}, it has no field `{}`", other.kind(), faults::cut(name)),
        (Step::Index(index), Value::List(items)) => format!("`{base}` has {} items, none at [{index}]", items.len()),
        (Step::Index(_), other) => format!("`{base}` is {}, not a list", other.kind()),
    };
    format!("`{path}` finds nothing: {why}")
}

pub fn explain_field(path: &str, base: &str, map: &Map, step: &Step) -> String {
    let Step::Name(name) = step else {
        return format!("`{path}` finds nothing: `{base}` is a map, not a list");
    };
    // Names come from outside: only so many, only so long.
    let names = map.iter().map(|(name, _)| name.as_str()).filter(|name| name.len() <= 64).take(200);
    let near = match nearest(name, names) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    };
    format!("`{path}` finds nothing: `{base}` has no field `{name}`{near}")
}
