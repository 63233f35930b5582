//! What a partner's guideline says beyond the definition: where segments go, and which codes are used.

use std::collections::HashMap;

use crate::edi::directory::{Directory, Field, Item, Position, SegmentDef};
use crate::edi::findings::{Code, Findings, Place, Policy};
use crate::edi::reader::Message;
use crate::edi::syntax::{Element, Segment, Tag};

/// What a guideline says; the default says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guide {
    pub hints: Vec<Hint>,
    pub codes: Codes,
}

/// Which of several places of a definition a segment goes to, by its qualifier: a guideline knows what the tag does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// The place, by the keys of a document: `LIN_group.NAD_group`, `DTM`.
    pub place: String,
    /// The element and component that decide, counted from 1.
    pub element: usize,
    pub component: usize,
    /// Only segments with one of these go there.
    pub values: Vec<String>,
}

/// The values allowed at places. At a place without a list any value is.
///
/// A place is the key of a document: `E6411`, `PO103`, `C00101`. Where that says too little, what is around stands before
/// it with dots: `NAD.E3035`, `CUX.C504.E6345`, `MEA04.C00101`; the longest that fits is taken. Places of the same element
/// in one segment (`E6345_2`) share a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codes {
    /// The places and their lists by the last key.
    lists: HashMap<String, Vec<List>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct List {
    /// The keys around, from the innermost out.
    around: Vec<String>,
    values: Vec<String>,
}

impl List {
    /// What is left out of a place may be anything: `CUX.E6345` is `CUX.C504.E6345` too.
    fn is_in(&self, around: &[&str]) -> bool {
        let mut outer = around.iter();
        self.around.iter().all(|key| outer.any(|found| bare(found) == key))
    }
}

impl Codes {
    /// Allows `values` at `place`, besides those allowed there before.
    pub fn allow(&mut self, place: &str, values: impl IntoIterator<Item = impl Into<String>>) {
        let mut keys = place.rsplit('.').map(|key| bare(key).to_owned());
        let Some(last) = keys.next() else { return };
        let around: Vec<String> = keys.collect();
        let lists = self.lists.entry(last).or_default();
        let at = lists.iter().position(|list| list.around == around).unwrap_or_else(|| {
            lists.push(List { around, values: Vec::new() });
            lists.len() - 1
        });
        if let Some(list) = lists.get_mut(at) {
            list.values.extend(values.into_iter().map(Into::into));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// The places with a list that no segment of any of `directories` has, in order: a key is misspelt there.
    pub fn unknown<'d>(&self, directories: impl IntoIterator<Item = &'d Directory>) -> Vec<String> {
        let of = |last: &str, list: &List| -> String {
            let keys = list.around.iter().rev().map(String::as_str).chain([last]);
            keys.collect::<Vec<_>>().join(".")
        };
        let lists = self.lists.iter().flat_map(|(last, lists)| lists.iter().map(move |list| (last, list)));
        let mut left: Vec<(&String, &List)> = lists.collect();
        for directory in directories {
            for keys in directory.value_places() {
                let (last, around) = (bare(keys[0]), &keys[1..]);
                left.retain(|(key, list)| key.as_str() != last || !list.is_in(around));
            }
        }
        let mut unknown: Vec<String> = left.into_iter().map(|(last, list)| of(last, list)).collect();
        unknown.sort_unstable();
        unknown
    }

    /// The values allowed at a place, given by its keys from the innermost out; none where any is.
    fn allowed(&self, key: &str, around: &[&str]) -> Option<&[String]> {
        let lists = self.lists.get(bare(key))?.iter();
        lists.filter(|list| list.is_in(around)).max_by_key(|list| list.around.len()).map(|list| list.values.as_slice())
    }

    /// Checks segment `index` of `message`.
    pub(super) fn check(
        &self,
        message: &Message,
        index: usize,
        segment: &Segment<'_>,
        def: &SegmentDef,
        policy: &Policy,
        findings: &mut Findings,
    ) {
        let mut check = Check { codes: self, message, index, released: segment.released, policy, findings };
        for (at, (element, position)) in segment.elements().zip(&def.positions).enumerate() {
            if element.is_void() {
                continue;
            }
            let several = !element.is_simple();
            for (again, repetition) in element.repetitions().enumerate() {
                let repetition_number = if again > 0 { again + 1 } else { 0 };
                let spot = (at + 1, repetition_number);
                check.element(&repetition, position, &def.fields, def.tag, spot, several);
            }
        }
    }
}

/// A key without the number of a further place of the same element.
fn bare(key: &str) -> &str {
    match key.rsplit_once('_') {
        Some((name, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => key,
    }
}

struct Check<'a> {
    codes: &'a Codes,
    message: &'a Message,
    index: usize,
    released: bool,
    policy: &'a Policy,
    findings: &'a mut Findings,
}

impl Check<'_> {
    /// One repetition of an element.
    fn element(
        &mut self,
        element: &Element<'_>,
        position: &Position,
        fields: &[Field],
        tag: Tag,
        (number, repetition): (usize, usize),
        several: bool,
    ) {
        let Some(field) = fields.get(usize::from(position.field)) else { return };
        for (at, component) in element.components().enumerate() {
            let (key, around) = match &position.item {
                Item::Element(_) if at == 0 => (field.key.as_str(), [tag.as_str(), ""]),
                Item::Element(_) => return,
                Item::Composite(_, parts, fields) => {
                    let Some(part) = parts.get(at).and_then(|part| fields.get(usize::from(part.field))) else { return };
                    (part.key.as_str(), [field.key.as_str(), tag.as_str()])
                }
            };
            let Some(allowed) = self.codes.allowed(key, &around).filter(|_| !component.raw.is_empty()) else {
                continue;
            };
            let value = self.message.notation.text(component.raw, self.released);
            if allowed.iter().any(|code| *code == *value) {
                continue;
            }
            let narrow = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
            let place = Place {
                element: narrow(number),
                repetition: narrow(repetition),
                component: if several || at > 0 { narrow(at + 1) } else { 0 },
                offset: self.message.record.offset() + component.at as u64,
                ..self.message.place(self.index)
            };
            let shown: String = value.chars().take(40).collect();
            let some: Vec<&str> = allowed.iter().take(SHOWN).map(String::as_str).collect();
            let more = if allowed.len() > SHOWN { ", …" } else { "" };
            self.findings.add(self.policy, Code::Unlisted, place, || {
                format!("`{shown}` is not among the codes allowed: {}{more} ({key})", some.join(", "))
            });
        }
    }
}

/// Codes shown of a list.
const SHOWN: usize = 8;
