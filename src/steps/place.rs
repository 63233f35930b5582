//! Places in a document that a step writes to: the plain part of the path language, `$.customer.phones[0]`, `$.lines[*]`.
//!
//! A path of `formula` finds; a place can also be taken out or written to.

use crate::config::{Node, Reader, Setting, Shape};
use crate::message::{Fault, Text, Value};

/// A path of names, numbers and `[*]`, from the document's root.
#[derive(Clone, Debug)]
pub struct Place {
    text: Text,
    parts: Vec<Part>,
    optional: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Name(Text),
    Index(usize),
    Each,
}

impl Place {
    /// `None` where the text is no place, or a path that only `formula` can follow.
    pub fn parse(text: &str) -> Option<Place> {
        let rest = text.strip_prefix('$')?;
        let (mut rest, optional) = rest.strip_suffix('?').map_or((rest, false), |rest| (rest, true));
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let (part, after) = next_part(rest)?;
            parts.push(part);
            rest = after;
        }
        Some(Place { text: text.into(), parts, optional })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it names one value.
    pub fn is_singular(&self) -> bool {
        !self.parts.contains(&Part::Each)
    }

    pub fn is_root(&self) -> bool {
        self.parts.is_empty()
    }

    /// The items of a list: those of the list it names, or what it selects with `[*]`.
    pub fn items<'v>(&self, document: &'v Value) -> Result<Vec<&'v Value>, Fault> {
        let mut found = Vec::new();
        self.select(document, &self.parts, &mut found)?;
        match found.as_slice() {
            [Value::List(items)] if self.is_singular() => Ok(items.iter().collect()),
            [other] if self.is_singular() => Err(self.not_a_list(other)),
            _ => Ok(found),
        }
    }

    /// [`Place::items`], to change.
    pub fn items_mut<'v>(&self, document: &'v mut Value) -> Result<Vec<&'v mut Value>, Fault> {
        let mut found = Vec::new();
        self.select_mut(document, &self.parts, &mut found)?;
        if !self.is_singular() {
            return Ok(found);
        }
        match found.pop() {
            Some(Value::List(items)) => Ok(items.iter_mut().collect()),
            Some(other) => Err(self.not_a_list(other)),
            None => Ok(Vec::new()),
        }
    }

    /// Takes the value out of the document. `None` where it is optional and not there.
    pub fn remove(&self, document: &mut Value) -> Result<Option<Value>, Fault> {
        let Some((last, parents)) = self.parts.split_last() else { return Ok(None) };
        let mut found = Vec::new();
        self.select_mut(document, parents, &mut found)?;
        let removed = match (found.pop(), last) {
            (Some(Value::Map(map)), Part::Name(name)) => map.remove(name),
            (Some(Value::List(items)), Part::Index(index)) if *index < items.len() => Some(items.remove(*index)),
            _ => None,
        };
        if removed.is_none() && !self.optional { Err(self.missing()) } else { Ok(removed) }
    }

    /// Puts `with` over whatever the place holds; what is not there stays away.
    pub fn replace(&self, document: &mut Value, with: &Value) {
        replace(document, &self.parts, with);
    }

    /// Each value the place holds in `document`; what is not there is passed over.
    pub fn each<'v>(&self, document: &'v Value, see: &mut dyn FnMut(&'v Value)) {
        each(document, &self.parts, see);
    }

    fn select<'v>(&self, value: &'v Value, parts: &[Part], out: &mut Vec<&'v Value>) -> Result<(), Fault> {
        let Some((first, rest)) = parts.split_first() else {
            out.push(value);
            return Ok(());
        };
        let next = match (first, value) {
            (Part::Each, Value::List(items)) => return items.iter().try_for_each(|item| self.select(item, rest, out)),
            (Part::Each, Value::Map(map)) => return map.iter().try_for_each(|(_, item)| self.select(item, rest, out)),
            (Part::Each, other) => return Err(self.no_items(other)),
            (Part::Name(name), Value::Map(map)) => map.get(name),
            (Part::Index(index), Value::List(items)) => items.get(*index),
            _ => None,
        };
        match next {
            Some(next) => self.select(next, rest, out),
            None if self.optional => Ok(()),
            None => Err(self.missing()),
        }
    }

    fn select_mut<'v>(&self, value: &'v mut Value, parts: &[Part], out: &mut Vec<&'v mut Value>) -> Result<(), Fault> {
        let Some((first, rest)) = parts.split_first() else {
            out.push(value);
            return Ok(());
        };
        let next = match (first, value) {
            (Part::Each, Value::List(items)) => {
                return items.iter_mut().try_for_each(|item| self.select_mut(item, rest, out));
            }
            (Part::Each, Value::Map(map)) => {
                return map.iter_mut().try_for_each(|(_, item)| self.select_mut(item, rest, out));
            }
            (Part::Each, other) => return Err(self.no_items(other)),
            (Part::Name(name), Value::Map(map)) => map.get_mut(name),
            (Part::Index(index), Value::List(items)) => items.get_mut(*index),
            _ => None,
        };
        match next {
            Some(next) => self.select_mut(next, rest, out),
            None if self.optional => Ok(()),
            None => Err(self.missing()),
        }
    }

    fn missing(&self) -> Fault {
        let text = &self.text;
        Fault::refuse("FORMULA-MISSING", format!("`{text}` finds nothing; `{text}?` would make it optional"))
            .at(text.as_str())
    }

    fn no_items(&self, found: &Value) -> Fault {
        let said = format!("`[*]` of `{}` stands after {}, which has no items", self.text, found.kind());
        Fault::refuse("STEP-LIST", said).at(self.text.as_str())
    }

    fn not_a_list(&self, found: &Value) -> Fault {
        let said = format!("`{}` is {}, not a list", self.text, found.kind());
        Fault::refuse("STEP-LIST", said).at(self.text.as_str())
    }
}

/// The first part of `.name`, `['name']`, `[0]` or `[*]`, and what follows it.
fn next_part(rest: &str) -> Option<(Part, &str)> {
    if let Some(rest) = rest.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        return match name {
            "*" => Some((Part::Each, after)),
            name if is_name(name) => Some((Part::Name(name.into()), after)),
            _ => None,
        };
    }
    let rest = rest.strip_prefix('[')?;
    if let Some(quote) = rest.chars().next().filter(|first| matches!(first, '\'' | '"')) {
        let (name, after) = rest[1..].split_once(quote)?;
        let after = after.strip_prefix(']')?;
        return (!name.contains('\\')).then(|| (Part::Name(name.into()), after));
    }
    let (inside, after) = rest.split_once(']')?;
    match inside {
        "*" => Some((Part::Each, after)),
        digits if digits == "0" || !digits.starts_with(['0', '+']) => Some((Part::Index(digits.parse().ok()?), after)),
        _ => None,
    }
}

/// RFC 9535, section 2.5.1.1: letters, digits, `_` and everything beyond ASCII, no digit first.
fn is_name(name: &str) -> bool {
    let follows = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
    name.chars().all(follows) && name.chars().next().is_some_and(|first| !first.is_ascii_digit())
}

impl Setting for Place {
    fn shape() -> Shape {
        Shape::Text { what: "place in the document", pattern: Some("^\\$"), example: "$.customer.phone" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Place> {
        reader.parsed(
            node,
            "a place in the document: `$`, then names, numbers and `[*]`, as in `$.lines[*].price`",
            Place::parse,
        )
    }
}

fn each<'v>(value: &'v Value, parts: &[Part], see: &mut dyn FnMut(&'v Value)) {
    let Some((first, rest)) = parts.split_first() else { return see(value) };
    match (first, value) {
        (Part::Each, Value::List(items)) => items.iter().for_each(|item| each(item, rest, see)),
        (Part::Each, Value::Map(map)) => map.iter().for_each(|(_, item)| each(item, rest, see)),
        (Part::Name(name), Value::Map(map)) => map.get(name).into_iter().for_each(|item| each(item, rest, see)),
        (Part::Index(index), Value::List(items)) => {
            items.get(*index).into_iter().for_each(|item| each(item, rest, see))
        }
        _ => {}
    }
}

fn replace(value: &mut Value, parts: &[Part], with: &Value) {
    let Some((first, rest)) = parts.split_first() else {
        *value = with.clone();
        return;
    };
    match (first, value) {
        (Part::Each, Value::List(items)) => items.iter_mut().for_each(|item| replace(item, rest, with)),
        (Part::Each, Value::Map(map)) => map.iter_mut().for_each(|(_, item)| replace(item, rest, with)),
        (Part::Name(name), Value::Map(map)) => map.get_mut(name).into_iter().for_each(|item| replace(item, rest, with)),
        (Part::Index(index), Value::List(items)) => {
            items.get_mut(*index).into_iter().for_each(|item| replace(item, rest, with));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::json;

    fn items(place: &str, document: &str, expect: &str) {
        let mut document = json::read(document.as_bytes()).expect("the document is JSON");
        let place = Place::parse(place).expect(place);
        let show = |value: &Value| value.to_string();
        let found = match place.items(&document) {
            Ok(found) => found.into_iter().map(show).collect::<Vec<_>>().join(" "),
            Err(fault) => fault.to_string(),
        };
        assert_eq!(found, expect, "{}", place.text());
        as_a_path(&place, &document);
        let changeable = match place.items_mut(&mut document) {
            Ok(found) => found.iter().map(|value| value.to_string()).collect::<Vec<_>>().join(" "),
            Err(fault) => fault.to_string(),
        };
        assert_eq!(changeable, expect, "to change: {}", place.text());
    }

    /// The path language finds the same. (Only a part that is missing between two `[*]` is skipped there, and told here.)
    fn as_a_path(place: &Place, document: &Value) {
        let path = crate::formula::Path::parse(place.text()).expect("each place is a path");
        let scope = crate::steps::check::scope(document);
        let by_path = match path.find(&scope) {
            Ok(None) => Some(Vec::new()),
            Ok(Some(found)) => found.as_list().map(<[Value]>::to_vec),
            Err(_) => None,
        };
        let by_place = place.items(document).ok().map(|items| items.into_iter().cloned().collect::<Vec<_>>());
        assert!(by_place.is_none() || by_path == by_place, "{} in {document}: {by_path:?}", place.text());
    }

    #[test]
    fn items_are_found_to_read_and_to_change() {
        items("$.a", r#"{"a":[1,2]}"#, "1 2");
        items("$", "[1,2]", "1 2");
        items("$.a.b", r#"{"a":{"b":[]}}"#, "");
        items("$['a b'][0]", r#"{"a b":[[3]]}"#, "3");
        items("$.orders[*].lines[*]", r#"{"orders":[{"lines":[1,2]},{"lines":[]},{"lines":[3]}]}"#, "1 2 3");
        items("$.a?", "{}", "");
        items("$[*]", r#"{"x":1,"y":[2]}"#, "1 [2]");
        items("$.a[*]['b']?", r#"{"a":[{"b":1},{},{"b":3}]}"#, "1 3");
        items("$.a[1]?", r#"{"a":[1]}"#, "");
        items(
            "$.a[*]?",
            r#"{"a":7}"#,
            "STEP-LIST: `[*]` of `$.a[*]?` stands after a number, which has no items ($.a[*]?)",
        );
        items("$.a?", r#"{"a":null}"#, "STEP-LIST: `$.a?` is null, not a list ($.a?)");
        items("$.a.b?", r#"{"a":7}"#, "");
        items("$.a", "{}", "FORMULA-MISSING: `$.a` finds nothing; `$.a?` would make it optional ($.a)");
        items("$.a", r#"{"a":{}}"#, "STEP-LIST: `$.a` is a map, not a list ($.a)");
        items(
            "$.o[*].l[*]",
            r#"{"o":[{}]}"#,
            "FORMULA-MISSING: `$.o[*].l[*]` finds nothing; `$.o[*].l[*]?` would make it optional ($.o[*].l[*])",
        );
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in
            ["a", "", "$a", "$.", "$.a b", "$..a", "$[?@.x]", "$[-1]", "$[01]", "$[1:2]", "$.a[", "$.1a", "$.a??"]
        {
            assert!(Place::parse(text).is_none(), "{text}");
        }
    }
}
