//! What holds whatever is written and whatever comes in. A failure prints the case, made small, and its seed.

use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use jsonpath_rust::query::queryable::Queryable;
use proptest::prelude::*;

use super::language::Sample;
use super::{Formula, Need, Path, Template, all};
use crate::config::{Environment, Files, Reader, Setting, parse};
use crate::message::{Map, Number, Value, json};

/// How `jsonpath-rust` sees a document, for comparing with it and measuring it.
impl Queryable for Value {
    fn get(&self, key: &str) -> Option<&Self> {
        Value::get(self, key)
    }

    fn as_array(&self) -> Option<&Vec<Self>> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    fn as_object(&self) -> Option<Vec<(&str, &Self)>> {
        self.as_map().map(|map| map.iter().map(|(name, value)| (name.as_str(), value)).collect())
    }

    fn as_str(&self) -> Option<&str> {
        self.as_text()
    }

    fn as_i64(&self) -> Option<i64> {
        None
    }

    fn as_f64(&self) -> Option<f64> {
        self.as_decimal()?.to_string().parse().ok()
    }

    fn as_bool(&self) -> Option<bool> {
        Value::as_bool(self)
    }

    fn null() -> Self {
        Value::Null
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Number::read(&number.to_string()).map_or(Value::Null, Value::Number)
    }
}

/// Text that looks like the language, and text that does not.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        r#"[$@.\[\]()?*'"a-z0-9=<>!&|,+/ \\:#{}-]{0,60}"#,
        r"(\$(item|index)?(\.[a-c]|\[[0-9*:,-]{0,3}\]|\[\?@\.[a-c] ?[=<>!]{0,2} ?[0-9'a]{0,3}\]|\.\.[a-c*]|\?){0,5}[ +*,)(]?){1,3}",
    ]
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-2000_i64..2000).prop_map(Value::from),
        (any::<i64>(), 0_u32..20).prop_map(|(digits, scale)| rust_decimal::Decimal::new(digits, scale).into()),
        "[a-c]{0,3}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(Value::Number(Number::read("1e400").expect("a number"))),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            prop::collection::vec(("[a-c]", inner), 0..4).prop_map(|fields| fields.into_iter().collect::<Map>().into()),
        ]
    })
}

fn path() -> impl Strategy<Value = String> {
    r"\$(\.[a-c]|\[[0-2]\]|\[-1\]|\[\*\]|\[0:2\]|\[::-1\]|\[\?@\.a\]|\[\?@\.b == 1\]|\[\?@ > 'a'\]|\.\.a|\.\.\*){0,4}\??"
}

/// Formulas put together from what the language has, right or wrong in kind.
fn formula() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        path(),
        "[0-9]{1,12}(\\.[0-9]{1,8})?".prop_map(|digits| digits.trim_start_matches('0').to_owned()).prop_map(|digits| {
            if digits.is_empty() || digits.starts_with('.') { format!("0{digits}") } else { digits }
        }),
        "'[a-z0-9%: .-]{0,8}'",
        prop::sample::select(vec!["true", "false", "null", "'Europe/Paris'", "'%d/%m/%Y'", "'2026-11-02'", "28"])
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let operators = vec!["+", "-", "*", "/", "==", "!=", "<", "<=", ">", ">=", "in", "and", "or"];
        let names: Vec<_> = all().map(|function| (function.name, function.parameters.len())).collect();
        prop_oneof![
            (inner.clone(), prop::sample::select(operators), inner.clone())
                .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            inner.clone().prop_map(|a| format!("(not {a})")),
            inner.clone().prop_map(|a| format!("-{a}")),
            prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(", "))),
            (prop::sample::select(names), prop::collection::vec(inner, 5))
                .prop_map(|((name, count), arguments)| { format!("{name}({})", arguments[..count].join(", ")) }),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_upsets_the_parser(text in any_text()) {
        let _ = Path::parse(&text);
        if let Err(issues) = Formula::parse(&text) {
            // Every issue marks a piece of the text that can be cut out.
            for issue in issues {
                prop_assert!(text.get(issue.from..issue.to).is_some(), "{issue:?}");
            }
        }
    }

    #[test]
    fn no_file_upsets_the_reader(text in any_text(), key in "[a-z]{0,3}(: =|: \\$|: )") {
        let text = format!("{key}{text}");
        let (mut files, environment) = (Files::default(), Environment { only: Some(Default::default()), ..Default::default() });
        let file = files.add("map.yaml", text.as_str());
        let mut reader = Reader::new(&files, &environment);
        let template = parse(file, &text, &mut reader.problems).and_then(|node| Template::read(&node, &mut reader));
        prop_assert!(template.is_some() || !reader.problems.is_empty());
        for problem in &reader.problems {
            prop_assert!(text.get(problem.span.start as usize..problem.span.end as usize).is_some(), "{problem:?}");
        }
    }

    #[test]
    fn every_formula_ends_in_a_value_or_a_fault(text in formula(), document in document()) {
        let Ok(formula) = Formula::parse(&text) else { return Ok(()) };
        let mut sample = Sample::new("null");
        sample.document = document;
        match formula.evaluate(&sample.scope()) {
            Ok(_) => {}
            Err(fault) => {
                prop_assert!(fault.code().starts_with("FORMULA-"), "{fault}");
                prop_assert!(fault.position().is_some(), "{fault}");
            }
        }
    }

    #[test]
    fn every_path_ends_in_values_or_a_fault(text in path(), document in document()) {
        let mut sample = Sample::new("null");
        sample.document = document;
        let path = Path::parse(&text).expect("it is a path");
        match path.find(&sample.scope()) {
            Ok(found) => prop_assert!(found.is_some() || text.ends_with('?')),
            Err(fault) => prop_assert!(fault.position().is_some(), "{fault}"),
        }
    }

    /// Where neither the tail rule nor long numbers come in, both select the same.
    #[test]
    fn selection_agrees_with_jsonpath_rust(text in path(), document in document()) {
        let text = text.trim_end_matches('?');
        if !text.ends_with([']', '*']) {
            return Ok(());
        }
        let mut sample = Sample::new("null");
        sample.document = document;
        let path = Path::parse(text).expect("it is a path");
        let Ok(Some(found)) = path.find(&sample.scope()) else { return Ok(()) };
        let query = parse_json_path(text).expect("it is a path");
        let theirs: Vec<Value> = js_path_process(&query, &sample.document)
            .expect("it can be selected").into_iter().map(|found| found.val.clone()).collect();
        let ours = if path.is_singular() { vec![found.into_owned()] } else { found.as_list().expect("a list").to_vec() };
        // RFC 9535 leaves the order below `..` open.
        let sorted = |values: Vec<Value>| { let mut texts: Vec<_> = values.iter().map(json::to_text).collect(); texts.sort(); texts };
        prop_assert_eq!(sorted(ours), sorted(theirs), "{}", text);
    }

    /// Against whole numbers of the smallest unit, counted in 128 bits.
    #[test]
    fn amounts_are_exact(a in -10_i64.pow(12)..10_i64.pow(12), b in -10_i64.pow(12)..10_i64.pow(12), scale in 0_u32..8) {
        let unit = |digits: i128, scale: u32| rust_decimal::Decimal::from_i128_with_scale(digits, scale);
        let (one, two) = (unit(i128::from(a), scale), unit(i128::from(b), scale));
        let sample = Sample::new("null");
        let run = |text: String| Formula::parse(&text).expect("a formula").evaluate(&sample.scope()).expect("a value");
        prop_assert_eq!(run(format!("({one}) + ({two})")), unit(i128::from(a) + i128::from(b), scale).into());
        prop_assert_eq!(run(format!("({one}) - ({two})")), unit(i128::from(a) - i128::from(b), scale).into());
        prop_assert_eq!(run(format!("({one}) * ({two})")), unit(i128::from(a) * i128::from(b), 2 * scale).into());
        prop_assert_eq!(run(format!("({one}) < ({two})")), Value::Bool(a < b));
    }

    #[test]
    fn no_data_upsets_a_function(text in any_text()) {
        let sample = Sample { document: Value::from(text), ..Sample::new("null") };
        for function in ["number($)", "date($)", "date($, '%d/%m/%Y %H:%M')", "phone($, 'FR')", "email($)", "gtin($)", "sscc($)",
            "luhn($)", "country($)", "ascii($)", "url($)", "substring($, -3, 2)", "extract($, '[0-9]+')", "split($, ',')"] {
            let _ = Formula::parse(function).expect("a formula").evaluate(&sample.scope());
        }
    }

    /// Tax and net always add up to the amount.
    #[test]
    fn vat_and_net_add_up(cents in -10_i64.pow(9)..10_i64.pow(9), rate in 0_u32..1000) {
        let amount = rust_decimal::Decimal::new(cents, 2);
        let rate = rust_decimal::Decimal::new(i64::from(rate), 1);
        let sample = Sample::new("null");
        let text = format!("net_of_vat({amount}, {rate}) + vat_of({amount}, {rate}) == {amount}");
        prop_assert_eq!(Formula::parse(&text).expect("a formula").evaluate(&sample.scope()).expect("a value"), Value::Bool(true));
    }
}

#[test]
fn the_generator_reaches_every_function() {
    // Were a function's parameters more than the generator gives, it would never be called.
    assert!(all().all(|function| function.parameters.len() <= 5));
    assert!(
        all().all(|function| function
            .parameters
            .iter()
            .rev()
            .skip(1)
            .all(|parameter| parameter.need != Need::Repeated))
    );
}
