//! Logic. All but `fail` look at no more arguments than they need; the evaluator holds them.

use super::{Body, Family, Function, Given, Kind, Special, many, may, need};
use crate::formula::faults;
use crate::message::{Fault, Value};

pub const ALL: &[Function] = &[
    Function {
        name: "if",
        family: Family::Logic,
        parameters: &[need("condition", Kind::Boolean), need("then", Kind::Any), may("otherwise", Kind::Any)],
        result: Kind::Any,
        about: "One of two values. Without `otherwise`, nothing: in a template the field is left out.",
        example: "if($.price > 10, 'dear', 'cheap')",
        gives: "'dear'",
        body: Body::Special(Special::If),
    },
    Function {
        name: "switch",
        family: Family::Logic,
        parameters: &[need("value", Kind::Any), many("case, result", Kind::Any)],
        result: Kind::Any,
        about: "The result after the case that equals the value; a last argument alone is the default. \
                Without a default, a value no case names is a fault.",
        example: "switch($.status, 'paid', 'P', 'open', 'O', '?')",
        gives: "'P'",
        body: Body::Special(Special::Switch),
    },
    Function {
        name: "coalesce",
        family: Family::Logic,
        parameters: &[many("value", Kind::Any)],
        result: Kind::Any,
        about: "The first value that is there and not null. A missing path inside it is no fault, unless nothing is there.",
        example: "coalesce($.nickname, $.phone, 'none')",
        gives: "'none'",
        body: Body::Special(Special::Coalesce),
    },
    Function {
        name: "has",
        family: Family::Logic,
        parameters: &[need("path", Kind::Any)],
        result: Kind::Boolean,
        about: "Whether the path finds something: null is something, an empty selection is not.",
        example: "has($.phone) and not has($.fax) and has($.lines[?@.qty > 1])",
        gives: "true",
        body: Body::Special(Special::Has),
    },
    Function {
        name: "fail",
        family: Family::Logic,
        parameters: &[need("words", Kind::Plain)],
        result: Kind::Any,
        about: "Refuses the message with these words, for whoever looks at the dead letter: `FORMULA-FAIL`. It stands where a value \
                is asked for only if it is needed: last in `coalesce`, or in a branch of `if` and `switch`.",
        example: "coalesce($.name, fail('the order has no customer'))",
        gives: "'Zoé Martin'",
        body: Body::Plain(fail),
    },
];

fn fail(given: &Given<'_>) -> Result<Value, Fault> {
    Err(faults::fail(&given.plain(0), &given.expressions[0]))
}
