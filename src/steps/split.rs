//! `split`: the Splitter.

use std::borrow::Cow;
use std::collections::HashMap;

use super::place::Place;
use super::tables::key_part;
use super::{Answer, Context, Outcome, Step, StepPlace, gathered, kind};
use crate::config::{Node, Reader, Setting, settings};
use crate::formula::{Condition, Path, Scope, Template, in_item};
use crate::message::{Fault, Text, Value};

/// Most memory the documents written by `map` may take together, by estimate: each may repeat the whole document.
const MAX_MEMORY: usize = 256 << 20;

kind! {
    /// Makes several documents of one: each item of a list goes on as its own document.
    ///
    /// `keep` leaves items out. `map` writes each document (`$item` is the item, `$` still the whole document); without it
    /// the item itself is the document. `group_by` makes one document of all items with the same value instead,
    /// `{ key, items }`, in the order the values first come.
    ///
    /// The documents go on through the following steps in their order. A list that is empty, or of which nothing is kept,
    /// ends the message here, as `filter` would.
    ///
    /// ```yaml
    /// - split:
    ///     each: $.lines
    ///     keep: has($item.supplier)
    ///     group_by: $item.supplier
    /// ```
    "split", Settings::shape, read
}

settings! {
    /// What to cut into, and how.
    pub struct Settings {
        /// The list: a path to one, or a path that selects the items (`$.orders[*].lines[*]`).
        each: Path,
        /// Only the items for which this condition holds.
        keep: Option<Condition>,
        /// What items have in common to stay together: a path or formula over `$item` that gives a text, a number or a boolean.
        group_by: Option<Template>,
        /// What is written of each item; the item as it is, if not stated.
        map: Option<Template>,
    }
}

#[derive(Debug)]
struct Split {
    settings: Settings,
    /// Set where the items can be taken out of the document instead of being copied.
    list: Option<Place>,
}

/// An item that goes on.
struct Chosen {
    index: usize,
    /// The value items have in common, and the text that tells it from others.
    key: Key,
    mapped: Option<Value>,
}

fn read(node: &Node, reader: &mut Reader<'_>, _place: &StepPlace<'_>) -> Option<Box<dyn Step>> {
    let settings = Settings::read(node, reader)?;
    let list = Place::parse(settings.each.text()).filter(Place::is_singular);
    Some(Box::new(Split { settings, list }))
}

impl Step for Split {
    fn apply(
        &self,
        mut document: Value,
        context: &Context<'_>,
        _answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        let (chosen, copied) = self.choose(&context.scope(&document))?;
        let mut items = match &self.list {
            Some(list) if self.settings.map.is_none() => {
                list.items_mut(&mut document)?.into_iter().map(std::mem::take).collect()
            }
            _ => copied,
        };
        drop(document);
        if chosen.is_empty() {
            out.filtered += 1;
        }
        let made = chosen.into_iter().map(|item| {
            let document = item.mapped.unwrap_or_else(|| std::mem::take(&mut items[item.index]));
            (item.key, document)
        });
        if self.settings.group_by.is_some() { group(made, out) } else { each_alone(made, out) }
    }
}

impl Split {
    /// The items that go on, and all items where they cannot be taken out of the document.
    fn choose(&self, scope: &Scope<'_>) -> Result<(Vec<Chosen>, Vec<Value>), Fault> {
        let found = self.settings.each.find(scope)?;
        let items = match found.as_deref() {
            None => &[],
            Some(Value::List(items)) => items.as_slice(),
            Some(other) => {
                let path = self.settings.each.text();
                return Err(Fault::refuse("STEP-LIST", format!("`{path}` is {}, not a list", other.kind())).at(path));
            }
        };
        let mut chosen = Vec::new();
        let mut memory = 0;
        for (index, item) in items.iter().enumerate() {
            let scope = Scope { item: Some((item, index)), ..*scope };
            let item = self.choose_item(index, &scope, &mut memory);
            chosen.extend(item.map_err(|fault| in_item(fault, self.settings.each.text(), index))?);
        }
        let copies = self.list.is_none() && self.settings.map.is_none();
        let copied = found.filter(|_| copies).map(Cow::into_owned);
        Ok((chosen, if let Some(Value::List(items)) = copied { items } else { Vec::new() }))
    }

    fn choose_item(&self, index: usize, scope: &Scope<'_>, memory: &mut usize) -> Result<Option<Chosen>, Fault> {
        if let Some(keep) = &self.settings.keep
            && !keep.holds(scope)?
        {
            return Ok(None);
        }
        let key = self.settings.group_by.as_ref().map(|by| key_of(by, scope)).transpose()?;
        let mapped = self.settings.map.as_ref().map(|map| map.render(scope)).transpose()?;
        if let Some(None) = mapped {
            return Err(Fault::refuse("MAP-NOTHING", "`map` is one optional path, and it finds nothing in an item"));
        }
        *memory += mapped.iter().flatten().map(memory_of).sum::<usize>();
        if *memory > MAX_MEMORY {
            return Err(Fault::refuse(
                "STEP-LIMIT",
                "the documents `map` makes of this message take more than 256 MB; write only the fields they need",
            ));
        }
        Ok(Some(Chosen { index, key, mapped: mapped.flatten() }))
    }
}

fn key_of(by: &Template, scope: &Scope<'_>) -> Result<(Text, Value), Fault> {
    let key = by.render(scope)?.unwrap_or_default();
    let name = key_part(&key).ok_or_else(|| {
        let said = format!("`group_by` gives {}; expected a text, a number or a boolean", key.kind());
        Fault::refuse("SPLIT-KEY", said)
    })?;
    Ok((name, key))
}

type Key = Option<(Text, Value)>;

fn each_alone(items: impl Iterator<Item = (Key, Value)>, out: &mut Outcome) -> Result<(), Fault> {
    items.into_iter().try_for_each(|(_, document)| out.push(document))
}

/// One document for all items of one key; keys in the order they first come.
fn group(items: impl Iterator<Item = (Key, Value)>, out: &mut Outcome) -> Result<(), Fault> {
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    let mut known: HashMap<Text, usize> = HashMap::new();
    for (key, item) in items {
        let (name, key) = key.unwrap_or_default();
        let at = *known.entry(name).or_insert(groups.len());
        if at == groups.len() {
            groups.push((key, Vec::new()));
        }
        groups[at].1.push(item);
    }
    groups.into_iter().try_for_each(|(key, items)| out.push(gathered(key, items)))
}

/// About how many bytes a document takes.
fn memory_of(value: &Value) -> usize {
    let inside: usize = match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.iter().map(memory_of).sum(),
        Value::Map(map) => map.iter().map(|(_, value)| size_of::<Text>() + memory_of(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    size_of::<Value>() + inside
}

#[cfg(test)]
mod tests {
    use crate::steps::check::{check, refused};

    const LINES: &str = r#"{"n":1,"lines":[{"s":"acme","q":1},{"s":"bolt","q":2},{"q":9},{"s":"acme","q":3}]}"#;

    #[test]
    fn each_item_becomes_a_document() {
        check("- split: { each: $.l }", r#"{"l":[1,{"a":2}]}"#, "1\n{\"a\":2}");
        check("- split: { each: $.l, keep: $item > 1 }", r#"{"l":[1,2,3]}"#, "2\n3");
        check("- split: { each: '$.o[*].l[*]' }", r#"{"o":[{"l":[1]},{"l":[2,3]}]}"#, "1\n2\n3");
        check("- split: { each: $ }", "[1,2]", "1\n2");
    }

    #[test]
    fn map_sees_item_and_document() {
        let step = "- split: { each: $.lines, keep: has($item.s), map: { order: $.n, quantity: $item.q } }";
        let expect = r#"{"order":1,"quantity":1}
{"order":1,"quantity":2}
{"order":1,"quantity":3}"#;
        check(step, LINES, expect);
    }

    #[test]
    fn items_of_one_key_stay_together() {
        let step = "- split: { each: $.lines, keep: has($item.s), group_by: $item.s }";
        let expect = r#"{"key":"acme","items":[{"s":"acme","q":1},{"s":"acme","q":3}]}
{"key":"bolt","items":[{"s":"bolt","q":2}]}"#;
        check(step, LINES, expect);
        let mapped = "- split: { each: $.lines, keep: has($item.s), group_by: $item.s, map: $item.q }";
        check(mapped, LINES, "{\"key\":\"acme\",\"items\":[1,3]}\n{\"key\":\"bolt\",\"items\":[2]}");
        let numbers = r#"[{"k":1.0,"v":1},{"k":1.00,"v":2}]"#;
        check("- split: { each: $, group_by: $item.k, map: $item.v }", numbers, r#"{"key":1.0,"items":[1,2]}"#);
    }

    #[test]
    fn a_key_must_name_something() {
        check("- split: { each: $.lines, group_by: $item.s }", LINES, "FORMULA-MISSING (steps[0] split, $.lines[2].s)");
        check("- split: { each: $.lines, group_by: $item.s? }", LINES, "SPLIT-KEY (steps[0] split, $.lines[2])");
    }

    #[test]
    fn nothing_to_split_ends_the_message() {
        check("- split: { each: $.l }", r#"{"l":[]}"#, "filtered 1");
        check("- split: { each: $.l? }", "{}", "filtered 1");
        check("- split: { each: $.l, keep: false }", r#"{"l":[1]}"#, "filtered 1");
        check("- split: { each: $.l }", "{}", "FORMULA-MISSING (steps[0] split, $.l)");
        check("- split: { each: $.l }", r#"{"l":7}"#, "STEP-LIST (steps[0] split, $.l)");
    }

    #[test]
    fn documents_are_bounded() {
        let many = |count: usize| format!("{{\"l\":[{}0]}}", "0,".repeat(count - 1));
        check("- split: { each: $.l }", &many(100_001), "STEP-LIMIT (steps[0] split)");
        let wide = format!("{{\"l\":[{}0],\"w\":\"{}\"}}", "0,".repeat(3000), "w".repeat(100_000));
        check("- split: { each: $.l, map: { whole: $ } }", &wide, "STEP-LIMIT (steps[0] split, $.l[1367])");
    }

    #[test]
    fn settings_are_checked() {
        refused("- split: { eech: $.l }", "`each` is missing");
        refused("- split: { eech: $.l }", "1:12 unknown key `eech`; did you mean `each`?");
    }
}
