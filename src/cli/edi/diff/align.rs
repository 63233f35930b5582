//! Which items of two lists belong together, and what they are known by.

use std::collections::HashMap;

use super::super::tag_label;
use super::compare::Compare;
use super::meaning::{DEEPEST, Leaf, collect, is_shaped, said};
use crate::edi::directory::{Node, ValueKind};
use crate::message::{Map, Value};

/// Elements whose value counts lines: 1082 of EDIFACT, 350 of X12.
pub const LINE_NUMBERS: [&str; 2] = ["1082", "350"];

/// Elements that name an article: 7140 of EDIFACT, 234 of X12.
const ARTICLES: [&str; 2] = ["7140", "234"];

/// The items of two lists that belong together.
#[derive(Default)]
pub struct Aligned {
    /// Their places in each, and whether they are equal; in the order of the first.
    pub pairs: Vec<(usize, usize, bool)>,
    pub removed: Vec<usize>,
    pub added: Vec<usize>,
    pub moved: bool,
}

impl Compare<'_> {
    pub fn align(&self, number: u32, node: &Node, one: &[&Map], other: &[&Map]) -> Aligned {
        let mut aligned = Aligned::default();
        let (mut left, mut right): (Vec<usize>, Vec<usize>) = ((0..one.len()).collect(), (0..other.len()).collect());
        let whole = |item: &Map| {
            let mut text = String::new();
            self.canonical(number, node, item, &mut text, 0);
            Some(text)
        };
        let first = (one.iter().map(|item| whole(item)).collect(), other.iter().map(|item| whole(item)).collect());
        join(&first, &mut left, &mut right, |pair| aligned.pairs.push((pair.0, pair.1, true)));
        if !left.is_empty() && !right.is_empty() {
            let keys = |items: &[&Map]| items.iter().map(|item| self.keys(number, node, item)).collect::<Vec<_>>();
            let (mut one, mut other) = (keys(one), keys(other));
            for at in 0..KEYS {
                let of = |keys: &mut Vec<Keys>| keys.iter_mut().map(|keys| keys[at].take()).collect::<Vec<_>>();
                let keys = (of(&mut one), of(&mut other));
                join(&keys, &mut left, &mut right, |pair| aligned.pairs.push((pair.0, pair.1, false)));
            }
        }
        aligned.pairs.sort_unstable();
        aligned.moved = aligned.pairs.windows(2).any(|two| two[0].1 > two[1].1);
        (aligned.removed, aligned.added) = (left, right);
        aligned
    }

    /// What an item is known by, from the strongest to the weakest.
    fn keys(&self, number: u32, node: &Node, item: &Map) -> Keys {
        let first = || item.get(&self.found?.definition.children(number).first()?.key);
        let beginning = if node.group { first().and_then(Value::as_map) } else { Some(item) };
        let def = self.found.and_then(|found| found.directory.segment(node));
        let (Some(beginning), Some(def)) = (beginning, def) else { return Keys::default() };
        let mut leaves = Vec::new();
        collect(&def.positions, &def.fields, beginning, true, &mut leaves);
        let Some(first) = leaves.first().filter(|leaf| leaf.first) else {
            // Nothing to know it by: by its place.
            return [articles(&leaves), Some(String::new()), None];
        };
        let is = |kind: ValueKind| matches!(kind, ValueKind::Numeric | ValueKind::Integer | ValueKind::Decimal);
        let number = first.def.is_some_and(|def| is(def.kind));
        if first.def.is_some_and(|def| LINE_NUMBERS.contains(&def.id.as_str())) {
            let both = articles(&leaves).map(|articles| format!("{} {articles}", first.text));
            return [both, articles(&leaves), Some(first.text.clone())];
        }
        let all: Vec<&str> = leaves.iter().map(|leaf| leaf.text.as_str()).collect();
        let joined = |leaves: &[&str]| Some(leaves.join("\u{1F}"));
        let weakest = if number { Some(String::new()) } else { Some(first.text.clone()) };
        [joined(&all), joined(&all[..all.len().min(2)]).filter(|_| !number), weakest]
    }

    /// `line 2`, `quantity 21`
    pub fn named(&self, number: u32, node: &Node, item: &Map) -> String {
        if !node.list() {
            return String::new();
        }
        let label = tag_label(self.dialect, self.found.as_ref(), node.tag).unwrap_or_default();
        let key = match self.keys(number, node, item) {
            [.., Some(key)] if !key.is_empty() => key,
            _ => return String::new(),
        };
        format!("{label} {key}").trim().to_owned()
    }

    /// An item as a text that is the same for all that mean the same.
    fn canonical(&self, number: u32, node: &Node, item: &Map, out: &mut String, depth: usize) {
        let Some(found) = self.found.filter(|_| depth < DEEPEST) else {
            return out.push_str(&said(&Value::Map(item.clone())));
        };
        if !node.group {
            let Some(def) = found.directory.segment(node) else { return };
            let mut leaves = Vec::new();
            collect(&def.positions, &def.fields, item, true, &mut leaves);
            for leaf in leaves {
                out.push_str(&leaf.key);
                out.push('\u{1F}');
                out.push_str(&leaf.text);
                out.push('\u{1E}');
            }
            return;
        }
        let mut below = |number: u32, child: &Node| {
            let value = item.get(&child.key);
            if let Some(value) = value.filter(|value| !is_shaped(value)) {
                out.push_str(&format!("{}\u{1D}{}\u{1C}", child.key, said(value)));
                return;
            }
            for item in items(value) {
                out.push_str(&child.key);
                out.push('\u{1D}');
                self.canonical(number, child, item, out, depth + 1);
                out.push('\u{1C}');
            }
        };
        for (index, child) in found.definition.children(number).iter().enumerate() {
            below(found.definition.child(number, index as u32), child);
        }
        if node.tag.as_str() == "HL" {
            below(number, node);
        }
        // What no definition knows, as it stands.
        let children = found.definition.children(number);
        let known = |key: &str| key == node.key || children.iter().any(|child| child.key == key);
        for (key, value) in item.iter().filter(|(key, _)| !known(key)) {
            out.push_str(&format!("{key}\u{1B}{}", said(value)));
        }
    }
}

const KEYS: usize = 3;
type Keys = [Option<String>; KEYS];

fn articles(leaves: &[Leaf<'_>]) -> Option<String> {
    let of = leaves.iter().filter(|leaf| leaf.def.is_some_and(|def| ARTICLES.contains(&def.id.as_str())));
    let of: Vec<&str> = of.map(|leaf| leaf.text.as_str()).collect();
    (!of.is_empty()).then(|| of.join("\u{1F}"))
}

/// Joins what is left of two lists where the keys are the same, the first with the first, the second with the second.
fn join(
    keys: &(Vec<Option<String>>, Vec<Option<String>>),
    left: &mut Vec<usize>,
    right: &mut Vec<usize>,
    mut pair: impl FnMut((usize, usize)),
) {
    let mut waiting: HashMap<&str, Vec<usize>> = HashMap::new();
    for at in right.iter().rev() {
        if let Some(key) = keys.1.get(*at).and_then(Option::as_deref) {
            waiting.entry(key).or_default().push(*at);
        }
    }
    let mut taken = Vec::new();
    left.retain(|at| {
        let with = keys.0.get(*at).and_then(Option::as_deref).and_then(|key| waiting.get_mut(key)?.pop());
        let Some(with) = with else { return true };
        pair((*at, with));
        taken.push(with);
        false
    });
    taken.sort_unstable();
    right.retain(|at| taken.binary_search(at).is_err());
}

/// The maps under a key.
pub fn items(value: Option<&Value>) -> Vec<&Map> {
    match value {
        Some(Value::List(items)) => items.iter().filter_map(Value::as_map).collect(),
        Some(Value::Map(map)) => vec![map],
        _ => Vec::new(),
    }
}
