//! From a document to a draft: the definition says what comes after what.

use super::OTHER;
use super::draft::{Draft, Line};
use crate::edi::directory::{Definition, Directory, Field, Found, Item, Position, ValueKind};
use crate::edi::findings::{Code, Findings, Place, Policy};
use crate::message::{Map, Text, Value};

/// Lays a document out as segments. What the definition does not have, or has in another shape, is a finding; numbers are
/// written with `decimal` as their mark.
pub fn lay_out(document: &Value, found: Found<'_>, decimal: u8, policy: &Policy, findings: &mut Findings) -> Draft {
    let mut layout = Layout {
        directory: found.directory,
        definition: found.definition,
        decimal: char::from(decimal),
        policy,
        findings,
        draft: Draft::default(),
        path: vec!["$".to_owned()],
        levels: 0,
    };
    match document {
        Value::Map(map) => layout.group(0, map, None),
        other => layout.wrong(Code::Shape, format!("should be a map, not {}", other.kind())),
    }
    layout.draft
}

struct Layout<'a> {
    directory: &'a Directory,
    definition: &'a Definition,
    decimal: char,
    policy: &'a Policy,
    findings: &'a mut Findings,
    draft: Draft,
    path: Vec<String>,
    /// Hierarchical levels so far.
    levels: usize,
}

/// Documents are not nested deeper: hierarchical levels could be without end.
const DEEPEST: usize = 64;

impl Layout<'_> {
    fn wrong(&mut self, code: Code, why: String) {
        let path = self.path.concat();
        let place = Place { segment: self.draft.lines.len() as u32, ..Place::default() };
        self.findings.add(self.policy, code, place, || format!("`{path}`: {why}"));
    }

    fn under<T>(&mut self, name: String, act: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(name);
        let done = act(self);
        self.path.pop();
        done
    }

    /// The children of a group in the order of the definition; `parent` is the level above of a hierarchical one.
    fn group(&mut self, node: u32, map: &Map, parent: Option<&str>) {
        if self.path.len() > DEEPEST {
            return self.wrong(Code::Shape, "is nested too deep".to_owned());
        }
        let definition = self.definition;
        let children = definition.children(node);
        let around = definition.node(node);
        let hierarchical = around.group && around.tag.as_str() == "HL";
        for (key, _) in map.iter() {
            let below = hierarchical && *key == around.key;
            if !below && key != OTHER && !children.iter().any(|child| child.key == *key) {
                self.under(format!(".{key}"), |layout| {
                    let name = if around.key.is_empty() { &definition.name } else { around.key.as_str() };
                    layout.wrong(Code::UnknownField, format!("{name} has no such segment or group"));
                });
            }
        }
        let mut others = Others::of(map);
        let mut level = None;
        for (index, child) in children.iter().enumerate() {
            let Some(value) = map.get(&child.key) else { continue };
            let number = definition.child(node, index as u32);
            self.each(&child.key.clone(), child.list(), value, |layout, map| {
                others.before(layout);
                if child.group {
                    layout.group(number, map, None);
                } else {
                    layout.segment(number, map);
                    if hierarchical && index == 0 {
                        level = Some(layout.number_level(parent));
                    }
                }
            });
        }
        if let Some(value) = map.get(&around.key).filter(|_| hierarchical) {
            self.each(&around.key.clone(), true, value, |layout, map| {
                others.before(layout);
                layout.group(node, map, level.as_deref());
            });
        }
        others.rest(self);
    }

    /// Numbers the level just laid out where the document does not, and names its parent.
    fn number_level(&mut self, parent: Option<&str>) -> String {
        self.levels += 1;
        let levels = self.levels;
        let Some(line) = self.draft.lines.last_mut() else { return String::new() };
        if line.get(1).is_empty() {
            line.set(1, 1, levels.to_string());
        }
        if line.get(2).is_empty()
            && let Some(parent) = parent
        {
            line.set(2, 1, parent);
        }
        line.get(1).to_owned()
    }

    /// The maps under a key: one, or as many as the list has.
    fn each(&mut self, key: &Text, list: bool, value: &Value, mut act: impl FnMut(&mut Self, &Map)) {
        match (list, value) {
            (_, Value::Null) => {}
            (true, Value::List(items)) => {
                for (at, item) in items.iter().enumerate() {
                    self.under(format!(".{key}[{at}]"), |layout| match item {
                        Value::Map(map) => act(layout, map),
                        other => layout.wrong(Code::Shape, format!("should be a map, not {}", other.kind())),
                    });
                }
            }
            (false, Value::Map(map)) => self.under(format!(".{key}"), |layout| act(layout, map)),
            (list, other) => self.under(format!(".{key}"), |layout| {
                let wanted = if list { "a list of maps" } else { "a map" };
                layout.wrong(Code::Shape, format!("should be {wanted}, not {}", other.kind()));
            }),
        }
    }

    fn segment(&mut self, node: u32, map: &Map) {
        let node = self.definition.node(node);
        let directory = self.directory;
        let Some(def) = directory.segment(node) else { return };
        let mut elements = vec![Vec::new(); def.positions.len()];
        for (key, value) in map.iter() {
            self.under(format!(".{key}"), |layout| {
                let Some(places) = layout.places(key, &def.fields, &def.positions, node.tag.as_str()) else { return };
                let field = &def.fields[usize::from(def.positions[places.0].field)];
                layout.spread(field, places, value, |layout, at, value| {
                    let position = &def.positions[at];
                    if let Some(components) = layout.item(position, value) {
                        elements[at].push(components);
                    }
                });
            });
        }
        while elements.last().is_some_and(Vec::is_empty) {
            elements.pop();
        }
        self.draft.lines.push(Line { tag: Text::new(node.tag.as_str()), elements });
    }

    /// The first place of a field and how many it has.
    fn places(&mut self, key: &str, fields: &[Field], positions: &[Position], around: &str) -> Option<(usize, usize)> {
        let Some(field) = fields.iter().position(|field| field.key == key) else {
            self.wrong(Code::UnknownField, format!("{around} has no such element"));
            return None;
        };
        let is = |position: &&Position| usize::from(position.field) == field;
        Some((positions.iter().position(|position| is(&position))?, positions.iter().filter(is).count()))
    }

    /// Gives each value of a field its place: one after the other, or all repeated at one place.
    fn spread(
        &mut self,
        field: &Field,
        (first, count): (usize, usize),
        value: &Value,
        mut act: impl FnMut(&mut Self, usize, &Value),
    ) {
        match (field.list, value) {
            (_, Value::Null) => {}
            (false, value) => act(self, first, value),
            (true, Value::List(items)) => {
                if count > 1 && items.len() > count {
                    self.wrong(Code::Shape, format!("has {} values, at most {count} are allowed", items.len()));
                }
                let bound = if count > 1 { count } else { items.len() };
                for (at, item) in items.iter().take(bound).enumerate() {
                    self.under(format!("[{at}]"), |layout| {
                        act(layout, if count > 1 { first + at } else { first }, item)
                    });
                }
            }
            (true, other) => self.wrong(Code::Shape, format!("should be a list, not {}", other.kind())),
        }
    }

    /// The components of an element.
    fn item(&mut self, position: &Position, value: &Value) -> Option<Vec<Text>> {
        match (&position.item, value) {
            (Item::Element(_), value) => self.text(position, value).map(|text| vec![text]),
            (Item::Composite(id, parts, fields), Value::Map(map)) => {
                let mut components = vec![Text::default(); parts.len()];
                for (key, value) in map.iter() {
                    self.under(format!(".{key}"), |layout| {
                        let Some(places) = layout.places(key, fields, parts, id.as_str()) else { return };
                        let field = &fields[usize::from(parts[places.0].field)];
                        layout.spread(field, places, value, |layout, at, value| {
                            if let Some(text) = layout.text(&parts[at], value) {
                                components[at] = text;
                            }
                        });
                    });
                }
                while components.last().is_some_and(|text| text.is_empty()) {
                    components.pop();
                }
                Some(components)
            }
            (Item::Composite(..), other) => {
                self.wrong(Code::Shape, format!("should be a map, not {}", other.kind()));
                None
            }
        }
    }

    fn text(&mut self, position: &Position, value: &Value) -> Option<Text> {
        if *value == Value::Null {
            return None;
        }
        let Some(text) = value.plain() else {
            self.wrong(Code::Shape, format!("should be text, not {}", value.kind()));
            return None;
        };
        let numeric = matches!(&position.item, Item::Element(def) if def.kind == ValueKind::Numeric);
        if numeric && text.contains(['.', ',']) {
            return Some(Text::new(text.replace(['.', ','], self.decimal.encode_utf8(&mut [0; 4]))));
        }
        Some(text)
    }
}

/// The segments of a group that have no definition, and after how many others each stands.
struct Others<'a> {
    left: Vec<(usize, &'a Map)>,
    written: usize,
}

impl<'a> Others<'a> {
    fn of(map: &'a Map) -> Others<'a> {
        let items = map.get(OTHER).and_then(Value::as_list).unwrap_or_default().iter().filter_map(Value::as_map);
        let at =
            |item: &Map| item.get("at").and_then(Value::plain).and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
        let mut left: Vec<_> = items.map(|item| (at(item), item)).collect();
        left.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Others { left, written: 0 }
    }

    /// Writes those that stand before the next segment or group.
    fn before(&mut self, layout: &mut Layout<'_>) {
        while let Some((_, item)) = self.left.pop_if(|(at, _)| *at <= self.written) {
            layout.draft.lines.push(line(item));
            self.written += 1;
        }
        self.written += 1;
    }

    fn rest(&mut self, layout: &mut Layout<'_>) {
        while let Some((_, item)) = self.left.pop() {
            layout.draft.lines.push(line(item));
        }
    }
}

fn line(item: &Map) -> Line {
    let list = |value: &Value| value.as_list().unwrap_or_default().to_vec();
    let elements = item.get("elements").map(list).unwrap_or_default();
    let components = |value: &Value| list(value).iter().map(|text| text.plain().unwrap_or_default()).collect();
    let elements = elements.iter().map(|element| list(element).iter().map(components).collect()).collect();
    Line { tag: item.get("segment").and_then(Value::plain).unwrap_or_default(), elements }
}
