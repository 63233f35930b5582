//! Lists.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::{Body, Family, Function, Given, Kind, done, may, need};
use crate::formula::{MAX_ITEMS, evaluator, faults, path};
use crate::message::{Fault, Value};

pub const ALL: &[Function] = &[
    Function {
        name: "first",
        family: Family::Lists,
        parameters: &[need("list", Kind::List)],
        result: Kind::Any,
        about: "The first item; an empty list has none, a fault that `coalesce` takes.",
        example: "first($.lines[*].qty)",
        gives: "2",
        body: Body::Plain(|given| item(given, 0)),
    },
    Function {
        name: "last",
        family: Family::Lists,
        parameters: &[need("list", Kind::List)],
        result: Kind::Any,
        about: "The last item.",
        example: "last($.lines[*].qty)",
        gives: "1",
        body: Body::Plain(|given| item(given, -1)),
    },
    Function {
        name: "one",
        family: Family::Lists,
        parameters: &[need("list", Kind::List)],
        result: Kind::Any,
        about: "The only item: a list of several is a fault, so nothing is picked by chance.",
        example: "one($.lines[?@.qty == 1].gtin)",
        gives: "'96385074'",
        body: Body::Plain(one),
    },
    Function {
        name: "at",
        family: Family::Lists,
        parameters: &[need("list", Kind::List), need("index", Kind::Number)],
        result: Kind::Any,
        about: "The item at a place, counted from 0, or from the end if negative.",
        example: "at(split('a;b;c', ';'), 1)",
        gives: "'b'",
        body: Body::Plain(|given| item(given, given.whole(1, 0, -(MAX_ITEMS as i64), MAX_ITEMS as i64)?)),
    },
    Function {
        name: "unique",
        family: Family::Lists,
        parameters: &[need("list", Kind::List)],
        result: Kind::List,
        about: "The items without repeats, in the order they first come.",
        example: "unique(['a', 'b', 'a'])",
        gives: "['a', 'b']",
        body: Body::Plain(unique),
    },
    Function {
        name: "flatten",
        family: Family::Lists,
        parameters: &[need("list", Kind::List)],
        result: Kind::List,
        about: "The items, and in place of an item that is a list, its items; one level deep.",
        example: "flatten([['a'], 'b', ['c', 'd']])",
        gives: "['a', 'b', 'c', 'd']",
        body: Body::Plain(flatten),
    },
    Function {
        name: "sort",
        family: Family::Lists,
        parameters: &[need("list", Kind::List), may("field", Kind::Text)],
        result: Kind::List,
        about: "The items in ascending order: all numbers or all texts, or maps by one of their fields. Equals keep their order.",
        example: "sort([10, 9, 1])",
        gives: "[1, 9, 10]",
        body: Body::Plain(sort),
    },
];

fn item(given: &Given<'_>, index: i64) -> Result<Value, Fault> {
    let items = given.list(0);
    match path::position(index, items.len()) {
        Some(at) => Ok(items[at].clone()),
        None => Err(given.nothing(0, &format!("the list has {} items, none at {index}", items.len()))),
    }
}

fn one(given: &Given<'_>) -> Result<Value, Fault> {
    match given.list(0) {
        [only] => Ok(only.clone()),
        [] => Err(given.nothing(0, "the list is empty")),
        many => Err(given.refuse(0, format!("{} items where one is wanted", many.len()))),
    }
}

fn unique(given: &Given<'_>) -> Result<Value, Fault> {
    let mut seen = HashSet::new();
    // As text with trailing zeros dropped, so that 1.10 and 1.1 are one.
    let key = |item: &Value| match item.as_decimal() {
        Some(number) => number.normalize().to_string(),
        None => item.to_string(),
    };
    done(given.list(0).iter().filter(|item| seen.insert(key(item))).cloned().collect::<Vec<_>>())
}

fn flatten(given: &Given<'_>) -> Result<Value, Fault> {
    let mut out = Vec::new();
    for item in given.list(0) {
        match item {
            Value::List(items) => out.extend(items.iter().cloned()),
            other => out.push(other.clone()),
        }
        if out.len() > MAX_ITEMS {
            return Err(faults::limit(format!("`flatten` would give more than {MAX_ITEMS} items")));
        }
    }
    done(out)
}

fn sort(given: &Given<'_>) -> Result<Value, Fault> {
    let items = given.list(0);
    let field = given.get(1).and_then(Value::as_text);
    let key = |index: usize| -> Result<&Value, Fault> {
        let item = &items[index];
        match field {
            None => Ok(item),
            Some(field) => {
                item.get(field).ok_or_else(|| given.nothing(0, &format!("item {index} has no field `{field}`")))
            }
        }
    };
    let mut keyed = Vec::with_capacity(items.len());
    for index in 0..items.len() {
        let key = key(index)?;
        // Against the first: where all compare with it, all compare with each other.
        let first = keyed.first().map_or(key, |(first, _): &(&Value, usize)| *first);
        if evaluator::order(key, first).is_none() {
            let said =
                format!("`sort` wants numbers, or texts; item {index} is {} ({})", key.kind(), faults::shown(key));
            return Err(faults::at(faults::kind(said), &given.expressions[0]));
        }
        keyed.push((key, index));
    }
    keyed.sort_by(|(left, _), (right, _)| evaluator::order(left, right).unwrap_or(Ordering::Equal));
    done(keyed.into_iter().map(|(_, index)| items[index].clone()).collect::<Vec<_>>())
}
