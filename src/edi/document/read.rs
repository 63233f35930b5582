//! From a tree to a document.

use super::OTHER;
use crate::edi::directory::{Field, Item, Position, SegmentDef};
use crate::edi::reader::Message;
use crate::edi::syntax::{Element, Segment};
use crate::edi::tree::{Tree, View};
use crate::message::{Map, Text, Value};

/// The message as a document.
pub fn document(tree: &Tree<'_>) -> Value {
    Value::Map(group(tree, tree.root()))
}

fn group(tree: &Tree<'_>, around: View<'_>) -> Map {
    let mut map = Map::new();
    for (at, view) in around.children().enumerate() {
        let Some(segment) = view.segment() else { continue };
        let definition = view.node().zip(tree.found);
        let known = definition.and_then(|(node, found)| Some((node, found.directory.segment(node)?)));
        let Some((node, def)) = known.filter(|(node, _)| node.list() || !map.contains(&node.key)) else {
            list(&mut map, &Text::new_static(OTHER)).push(other(tree.message, &segment, at));
            continue;
        };
        let value = match view.is_group() {
            true => group(tree, view),
            false => fields(tree.message, &segment, def),
        };
        if node.list() {
            list(&mut map, &node.key).push(Value::Map(value));
        } else {
            map.append(node.key.clone(), Value::Map(value));
        }
    }
    map
}

/// The list under `key`, made where there is none.
fn list<'m>(map: &'m mut Map, key: &Text) -> &'m mut Vec<Value> {
    if !map.contains(key) {
        map.append(key.clone(), Value::List(Vec::new()));
    }
    match map.get_mut(key) {
        Some(Value::List(list)) => list,
        _ => unreachable!("only lists are put under the key of a list"),
    }
}

fn fields(message: &Message, segment: &Segment<'_>, def: &SegmentDef) -> Map {
    let mut map = Map::new();
    let mut run = Run::default();
    for (element, position) in segment.elements().zip(&def.positions) {
        let place = run.next(position.field);
        if element.is_void() {
            continue;
        }
        let field = &def.fields[usize::from(position.field)];
        let mut repetitions = element.repetitions();
        let first = repetitions.next().map(|element| item(message, segment.released, &element, position));
        put(&mut map, field, place, first.unwrap_or_default(), position);
        if field.list {
            for element in repetitions {
                let value = item(message, segment.released, &element, position);
                list(&mut map, &field.key).push(value);
            }
        }
    }
    map
}

/// Counts places of the same field.
#[derive(Default)]
struct Run {
    field: Option<u16>,
    place: usize,
}

impl Run {
    fn next(&mut self, field: u16) -> usize {
        self.place = if self.field == Some(field) { self.place + 1 } else { 0 };
        self.field = Some(field);
        self.place
    }
}

/// Puts a value at its place of a field; places passed over are empty.
fn put(map: &mut Map, field: &Field, place: usize, value: Value, position: &Position) {
    if !field.list {
        map.append(field.key.clone(), value);
        return;
    }
    let list = list(map, &field.key);
    while list.len() < place {
        list.push(match position.item {
            Item::Element(_) => Value::text(""),
            Item::Composite(..) => Value::Map(Map::new()),
        });
    }
    list.push(value);
}

fn item(message: &Message, released: bool, element: &Element<'_>, position: &Position) -> Value {
    let text = |raw| Value::Text(Text::new(message.notation.text(raw, released)));
    let Item::Composite(_, parts, fields) = &position.item else {
        return text(element.components().next().map_or(&[][..], |component| component.raw));
    };
    let mut map = Map::new();
    let mut run = Run::default();
    for (component, part) in element.components().zip(parts) {
        let place = run.next(part.field);
        if !component.raw.is_empty() {
            put(&mut map, &fields[usize::from(part.field)], place, text(component.raw), part);
        }
    }
    Value::Map(map)
}

/// A segment without definition: elements, their repetitions, their components.
fn other(message: &Message, segment: &Segment<'_>, at: usize) -> Value {
    let components = |element: &Element<'_>| -> Value {
        let text = |raw| Value::Text(Text::new(message.notation.text(raw, segment.released)));
        Value::List(element.components().map(|part| text(part.raw)).collect())
    };
    let repetitions =
        |element: &Element<'_>| Value::List(element.repetitions().map(|part| components(&part)).collect());
    let elements = segment.elements().map(|element| repetitions(&element));
    let mut map = Map::new();
    let tag = String::from_utf8_lossy(segment.raw_tag());
    map.insert(Text::new_static("at"), Value::text(at.to_string()));
    map.insert(Text::new_static("segment"), Value::text(&*tag));
    map.insert(Text::new_static("elements"), Value::List(elements.collect()));
    Value::Map(map)
}
