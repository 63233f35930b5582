//! The language as its users meet it: a text in, a value or a sentence out.

use super::language::Sample;
use super::{Condition, Formula, Path, SAMPLE};

const ORDER: &str = r#"{
  "number": "1042", "odd name": 1, "a-b": 2, "qty": "5", "nothing": null, "empty": [], "big": 340123450000000017, "bigger": 340123450000000018,
  "customer": { "name": "Ada Exemple", "telephone": "0612345678" },
  "lines": [
    { "gtin": "4006381333931", "qty": 2, "price": 9.99, "type": "sale", "tags": ["a", "b"] },
    { "gtin": "96385074", "qty": 1, "price": 5.00, "type": "gift", "tags": [] },
    { "gtin": "12345670", "qty": 3, "type": "sale", "tags": ["c"] }
  ]
}"#;

/// What a path finds, `-` for nothing, or `CODE @ place: sentence`.
fn find(text: &str) -> String {
    let sample = Sample::new(ORDER);
    let path = Path::parse(text).unwrap_or_else(|issues| panic!("{text}: {issues:?}"));
    match path.find(&sample.scope()) {
        Ok(Some(value)) => value.to_string(),
        Ok(None) => "-".to_owned(),
        Err(fault) => format!("{} @ {}: {}", fault.code(), fault.position().unwrap_or_default(), fault.sentence()),
    }
}

fn finds(text: &str, expect: &str) {
    assert_eq!(find(text), expect, "{text}");
}

#[test]
fn singular_paths_find_one_value() {
    finds("$.number", "\"1042\"");
    finds("$.customer.name", "\"Ada Exemple\"");
    finds("$['odd name']", "1");
    finds("$[\"a-b\"]", "2");
    finds("$.lines[0].gtin", "\"4006381333931\"");
    finds("$.lines[-1].qty", "3");
    finds("$.nothing", "null");
    finds("$.nothing?", "null");
    finds("$.customer.phone?", "-");
    finds("$.lines[7].qty?", "-");
    finds("$headers.content_type", "\"application/json\"");
    finds("$meta.attempt", "1");
    finds("$partner.name?", "-");
}

#[test]
fn what_is_missing_is_told_with_what_is_there() {
    finds(
        "$.customer.telefone",
        "FORMULA-MISSING @ $.customer.telefone: `$.customer.telefone` finds nothing: `$.customer` has no field `telefone`; \
         did you mean `telephone`?",
    );
    finds("$.lines[9]", "FORMULA-MISSING @ $.lines[9]: `$.lines[9]` finds nothing: `$.lines` has 3 items, none at [9]");
    finds(
        "$.number.x",
        "FORMULA-MISSING @ $.number.x: `$.number.x` finds nothing: `$.number` is text, it has no field `x`",
    );
    finds("$.nothing.x", "FORMULA-MISSING @ $.nothing.x: `$.nothing.x` finds nothing: `$.nothing` is null");
    finds(
        "$item.x",
        "FORMULA-MISSING @ $item.x: `$item.x` finds nothing: `$item` and `$index` exist only inside `each`",
    );
    finds("$headers.x", "FORMULA-MISSING @ $headers.x: `$headers.x` finds nothing: `$headers` has no field `x`");
}

#[test]
fn other_paths_find_lists() {
    finds("$.lines[*].qty", "[2,1,3]");
    finds("$.lines[0:2].qty", "[2,1]");
    finds("$.lines[::-1].qty", "[3,1,2]");
    finds("$.lines[0,2].qty", "[2,3]");
    finds("$.empty[*].anything", "[]");
    finds("$..gtin", "[\"4006381333931\",\"96385074\",\"12345670\"]");
    finds("$.lines[*].tags[*]", "[\"a\",\"b\",\"c\"]");
    finds("$.customer.*", "[\"Ada Exemple\",\"0612345678\"]");
    finds("$.absent[*]?", "-");
}

#[test]
fn each_selected_element_has_the_tail_or_is_named() {
    finds("$.lines[*].price?", "[9.99,5.00]");
    finds(
        "$.lines[*].price",
        "FORMULA-MISSING @ $.lines[2].price: `$.lines[*].price` finds nothing: `$.lines[2]` has no field `price`",
    );
    finds(
        "$.lines[?@.type == 'sale'].price",
        "FORMULA-MISSING @ $.lines[2].price: `$.lines[?@.type == 'sale'].price` finds nothing: `$.lines[2]` has no field `price`",
    );
    finds("$.lines[?@.type == 'sale'].price?", "[9.99]");
    finds("$.number[*]", "FORMULA-TYPE @ $.number[*]: `$.number[*]` wants a list or a map, and `$.number` is text");
    finds("$.nothing[*]", "FORMULA-MISSING @ $.nothing[*]: `$.nothing[*]` finds nothing: `$.nothing` is null");
}

#[test]
fn filters_are_exact_and_bounded() {
    finds("$.lines[?@.qty > 1].gtin", "[\"4006381333931\",\"12345670\"]");
    finds("$.lines[?@.price == 5].gtin", "[\"96385074\"]");
    finds("$.lines[?@.price < 9.99 || !@.price].gtin", "[\"96385074\",\"12345670\"]");
    finds("$.lines[?@.gtin == $.lines[1].gtin].qty", "[1]");
    finds("$.lines[?length(@.tags) == 2].qty", "[2]");
    finds("$.lines[?count(@.tags[*]) >= 1 && @.type == 'sale'].qty", "[2,3]");
    finds("$.lines[?match(@.gtin, '[0-9]{8}')].qty", "[1,3]");
    finds("$.lines[?search(@.gtin, '381')].qty", "[2]");
    // As binary floating point, big and bigger would be the same.
    finds("$[?@ == $.big]", "[340123450000000017]");
    let wide = format!("[{}]", vec!["1"; 1500].join(","));
    let sample = Sample::new(&wide);
    let path = Path::parse("$[?$[?@ == 2]]").expect("a path");
    assert_eq!(path.find(&sample.scope()).expect_err("too much work").code(), "FORMULA-LIMIT");
}

#[test]
fn filters_see_what_a_manifest_sees() {
    let sample = Sample::new(ORDER);
    let connection = Sample::new(r#"{ "type": "sale" }"#).document;
    let locals = [("calls", Sample::new(r#"{ "found": { "gtin": "96385074" } }"#).document), ("cursor", 2_i64.into())];
    let locals: crate::message::Map = locals.into_iter().collect();
    let scope = super::Scope { connection: Some(&connection), locals: Some(&locals), ..sample.scope() };
    let finds = |path: &str, expect: &str| {
        let path = Path::parse(path).unwrap_or_else(|issues| panic!("{path}: {issues:?}"));
        let found = path.find(&scope).expect("it finds a list").expect("it is not optional");
        assert_eq!(found.to_string(), expect, "{}", path.text());
    };
    finds("$.lines[?@.gtin == $calls.found.gtin].qty", "[1]");
    finds("$.lines[?@.type == $connection.type].qty", "[2,3]");
    finds("$.lines[?@.qty > $cursor].qty", "[3]");
    finds("$.lines[?@.gtin == $calls['found'].gtin && $calls.found].qty", "[1]");
    finds("$.lines[?@.gtin == $calls.other.gtin].qty", "[]");
    finds("$.lines[?@.gtin == '$headers'].qty", "[]");
    let refused = |path: &str| Path::parse(path).expect_err(path).remove(0);
    let issue = refused("$.lines[?@.gtin == $headers.gtin]");
    assert_eq!((issue.from, issue.to), (19, 27));
    assert_eq!(issue.message, "a filter does not see `$headers`");
    assert!(issue.help.is_some_and(|help| help.contains("`keep: $item.id == $headers`")));
    assert_eq!(refused("$.lines[?@.gtin == $call.gtin]").label, "did you mean `$calls`?");
}

/// What a formula gives, or `CODE @ place: sentence`.
fn evaluate(text: &str) -> String {
    let sample = Sample::new(ORDER);
    let formula = Formula::parse(text).unwrap_or_else(|issues| panic!("{text}: {issues:?}"));
    match formula.evaluate(&sample.scope()) {
        Ok(value) => value.to_string(),
        Err(fault) => format!("{} @ {}: {}", fault.code(), fault.position().unwrap_or_default(), fault.sentence()),
    }
}

fn gives(text: &str, expect: &str) {
    assert_eq!(evaluate(text), expect, "{text}");
}

#[test]
fn operators_bind_as_the_manual_says() {
    gives("1 + 2 * 3", "7");
    gives("(1 + 2) * 3", "9");
    gives("-2 * -3", "6");
    gives("10 - 2 - 3", "5");
    gives("1 + 1 == 2 and not 1 > 2", "true");
    gives("true or false and false", "true");
    gives("not 'a' in ['b', 'c']", "true");
    gives("not true == false", "true");
    gives("$.lines[0].qty*$.lines[1].qty", "2");
    gives("$.lines[0].price-1", "8.99");
    gives("'l''heure'", "\"l'heure\"");
    gives("[1, 'a', null, [true]]", "[1,\"a\",null,[true]]");
}

#[test]
fn amounts_are_exact() {
    gives("0.1 + 0.2", "0.3");
    gives("3 * 272.333", "816.999");
    gives("19.99 * 3", "59.97");
    gives("1.10 + 1.10", "2.20");
    gives("1 / 3 * 3 == 1", "false");
    gives("round(1 / 3, 2)", "0.33");
    gives("1 / 0", "FORMULA-ARITHMETIC @ formula `1 / 0`: 1 / 0: no division by zero");
    gives(
        "9999999999999999999999999999 * 100",
        "FORMULA-ARITHMETIC @ formula `9999999999999999999999999999 * 100`: \
         9999999999999999999999999999 * 100 is too large to be exact (28 digits)",
    );
}

#[test]
fn what_is_missing_stops_a_formula() {
    gives("has($.number) and not has($.fax) and has($.nothing)", "true");
    gives("has($.lines[?@.qty > 2]) and not has($.lines[?@.qty > 9])", "true");
    gives("coalesce($.fax, $.nothing, 'none')", "\"none\"");
    gives("coalesce(number($.fax), 0)", "0");
    gives("coalesce($.fax, $.nothing)", "null");
    gives("$.nothing == null", "true");
    gives("$.number != null", "true");
    assert!(evaluate("coalesce($.fax, $.telex)").starts_with("FORMULA-MISSING @ $.fax"));
    assert!(
        evaluate("upper($.fax?)")
            .starts_with("FORMULA-MISSING @ $.fax?: `$.fax?` finds nothing, and a value is wanted")
    );
    assert!(evaluate("if(false, 1)").starts_with("FORMULA-MISSING"));
    assert!(
        evaluate("switch($.number, 'a', 1)")
            .starts_with("FORMULA-MISSING @ $.number: `$.number` is text ('1042'), which no case")
    );
    assert!(evaluate("first($.empty)").starts_with("FORMULA-MISSING @ $.empty"));
}

#[test]
fn what_is_not_needed_is_not_evaluated() {
    gives("false and $.fax", "false");
    gives("true or 1 / 0 == 1", "true");
    gives("if(true, 'a', 1 / 0)", "\"a\"");
    gives("switch(2, 1, 1 / 0, 2, 'b', 1 / 0)", "\"b\"");
    gives("coalesce('a', 1 / 0)", "\"a\"");
}

#[test]
fn kinds_are_not_guessed() {
    gives(
        "$.qty * 2",
        "FORMULA-TYPE @ $.qty: `$.qty` is text ('5'); arithmetic wants numbers: `number($.qty)` reads one from text",
    );
    gives("number($.qty) * 2", "10");
    gives(
        "$.qty == 5",
        "FORMULA-TYPE @ $.qty: cannot compare: `$.qty` is text ('5'), 5 is a number; \
         `number(…)` reads a number from text, `concat(…)` makes text of a number",
    );
    gives("$.qty in ['5']", "true");
    assert!(evaluate("$.qty in [5]").starts_with("FORMULA-TYPE @ $.qty"));
    assert!(evaluate("$.nothing < 5").starts_with("FORMULA-TYPE @ $.nothing: cannot compare: `$.nothing` is null"));
    assert!(evaluate("$.number and true").starts_with("FORMULA-TYPE @ $.number"));
    assert!(
        evaluate("upper($.lines[0].qty)").contains("`upper` wants text as `text`: `$.lines[0].qty` is a number (2)")
    );
    gives("$.lines[1] == $.lines[1]", "true");
}

#[test]
fn credentials_are_not_shown() {
    let sample = Sample::new(ORDER);
    let connection = Sample::new(r#"{ "key": "s3cret" }"#).document;
    let scope = super::Scope { connection: Some(&connection), ..sample.scope() };
    for text in [
        "$connection.key * 2",
        "concat('Bearer ', $connection.key) == 5",
        "email($connection.key)",
        "fail(concat('no ', $connection.key))",
        "$connection.key in [1]",
    ] {
        let Ok(formula) = Formula::parse(text) else { continue };
        let said = formula.evaluate(&scope).expect_err(text).to_string();
        assert!(said.contains("$connection") && !said.contains("s3cret"), "{said}");
    }
    assert_eq!(
        Formula::parse("$connection.key").expect("a path").evaluate(&scope).expect("a value").to_string(),
        "\"s3cret\""
    );
}

#[test]
fn results_are_bounded() {
    let text = "replace(pad_left('', 1000000, 'x'), 'x', pad_left('', 1000, 'y'))";
    assert!(evaluate(text).starts_with("FORMULA-LIMIT"), "{}", evaluate(text));
    assert!(evaluate("pad_left('', 1000000000)").starts_with("FORMULA-VALUE"));
    assert!(evaluate("count(split(pad_left('', 200000, ','), ','))").starts_with("FORMULA-LIMIT"));
}

#[test]
fn functions_refuse_what_is_wrong() {
    let refuses = |text: &str, why: &str| {
        let said = evaluate(text);
        assert!(said.starts_with("FORMULA-VALUE") && said.contains(why), "{text}: {said}");
    };
    refuses("gtin('4006381333932')", "the check digit should be 1");
    refuses("gtin('123')", "3 digits, expected 8, 12, 13, 14");
    refuses("gln('301234500000A')", "it wants digits");
    refuses("gtin('14006381333938', 13)", "more than 13 digits");
    refuses("number('12,50')", "not a number with `.`");
    refuses("number('1.5', ',', '.')", "between thousands");
    refuses("number('')", "not a number");
    refuses("number('--5')", "not a number");
    refuses("number('5.')", "not a number");
    refuses("date('31/02/2026', '%d/%m/%Y')", "not a date of the form");
    refuses("add_days('tomorrow', 1)", "not an ISO date");
    refuses("in_zone('2026-11-02', 'Europe/Paris')", "in no zone");
    refuses("format_date('2026-11-02', '%H')", "does not hold all");
    refuses("email('nobody')", "no `@`");
    refuses("email('a@b')", "no domain");
    refuses("phone('12', 'FR')", "not a telephone number in FR");
    refuses("country('XX')", "ISO 3166");
    refuses("one($.lines)", "3 items where one is wanted");
    refuses("net_of_vat(10, 200)", "from 0 to 100");
    refuses("round(1, 1.5)", "whole number from 0 to 28");
}

#[test]
fn dates_keep_their_form() {
    gives("date('2026-11-02T10:30:00+01:00')", "\"2026-11-02T10:30:00+01:00\"");
    gives("date('2026-11-02 10:30:00')", "\"2026-11-02T10:30:00\"");
    gives("date('2026-11-02T10:30:00.250Z')", "\"2026-11-02T10:30:00.25Z\"");
    gives("date(1793611800, '%s')", "\"2026-11-02T09:30:00Z\"");
    gives("add_days('2026-11-02T10:30:00+01:00', 30)", "\"2026-12-02T10:30:00+01:00\"");
    gives("date('0211261030', '%d%m%y%H%M', 'Europe/Paris')", "\"2026-11-02T10:30:00+01:00\"");
    gives("format_date('2026-11-02', '%Y%m%d')", "\"20261102\"");
    // The hour that clocks skip is taken with the offset before the change.
    gives("in_zone('2026-03-29T02:30:00', 'Europe/Paris')", "\"2026-03-29T03:30:00+02:00\"");
}

/// The issues of a formula: `from..to message; label; help`.
fn issues(text: &str) -> Vec<String> {
    let issues = Condition::parse(text).map(drop).expect_err(text);
    let line = |issue: &super::Issue| {
        let help = issue.help.as_deref().map(|help| format!("; {help}")).unwrap_or_default();
        format!("`{}` {}; {}{help}", &text[issue.from..issue.to], issue.message, issue.label)
    };
    issues.iter().map(line).collect()
}

fn refused(text: &str, expect: &[&str]) {
    assert_eq!(issues(text), expect, "{text}");
}

#[test]
fn mistakes_are_told_with_their_place() {
    refused("rond($.a) > 1", &["`rond` unknown function `rond`; did you mean `round`?"]);
    refused("$.a = 1", &["`=` `=` is no part of a formula; equal is written `==`"]);
    refused(
        "first($.lines).a == 1",
        &["`.` `.` is no part of a formula; a field is chosen inside the path: first($.lines[*].name)"],
    );
    refused("$.a && $.b", &["`&&` `&&` is no part of a formula; write `and`"]);
    refused("$.a == \"x\"", &["`\"` `\"` is no part of a formula; text stands between single quotes: 'text'"]);
    refused("$.a == paid", &["`paid` unknown word `paid`; a text is written 'paid', a field `$.paid`"]);
    refused("1 < $.a < 3", &["`<` comparisons do not chain; the second one; write `a < b and b < c`"]);
    refused("($.a == 1", &["`(` the `)` of this one is missing; opened here"]);
    refused("$.a ==", &["`` the formula ends too early; a value is missing here"]);
    refused("", &["`` the formula ends too early; a value is missing here"]);
    refused("$.a 1", &["`1` an operator is missing; between what stands before and this"]);
    refused("$.a not in [1]", &["`not` `not` stands before what it denies; here; write `not x in [a, b]`"]);
    refused("$items.a == 1", &["`$items` unknown root `$items`; did you mean `$item`?"]);
    refused(
        "$.a.0 == 1",
        &["`.a.0` `$.a.0` is not a path; not RFC 9535 JSONPath; an item of a list stands in brackets: `$.a[0]`"],
    );
    refused(
        "007 == 1",
        &["`007` a number does not begin with a zero; is this a number?; a code is text, between quotes: '007'"],
    );
    assert!(Condition::parse("$.total").is_ok());
}

#[test]
fn kinds_and_counts_are_checked_at_load() {
    refused(
        "round(1, 2, 3) > 1",
        &["`round(1, 2, 3)` `round` takes 1 to 2 arguments, 3 given; round(number, digits?)"],
    );
    refused("now(1) == ''", &["`now(1)` `now` takes no argument, 1 given; now()"]);
    refused("upper(1) == ''", &["`1` `upper` wants text as `text`; this is a number"]);
    refused(
        "'a' + 1 > 2",
        &[
            "`'a'` arithmetic wants a number; this is text; `number(…)` reads a number from text; texts are joined by `concat`",
        ],
    );
    refused("upper($.a) == 1", &["`upper($.a) == 1` text is compared with a number; never equal"]);
    refused(
        "upper($.a)",
        &["`upper($.a)` a condition gives true or false, this gives text; compare it with something"],
    );
    refused("$.a in 'abc'", &["`'abc'` after `in` stands a list; this is text"]);
    refused(
        "today('Paris') == ''",
        &["`'Paris'` there is no time zone `Paris`; zones are named as in `Europe/Paris`; `zone` of `today`"],
    );
    refused("matches($.a, '(')", &["`'('` not a regular expression; error: unclosed group"]);
    refused(
        "rond(1) == 1 and upper(1) == 'x' and $itm.a",
        &[
            "`rond` unknown function `rond`; did you mean `round`?",
            "`$itm` unknown root `$itm`; did you mean `$item`?",
            "`1` `upper` wants text as `text`; this is a number",
        ],
    );
}

#[test]
fn tables_are_checked_when_they_are_known() {
    let sample = Sample::new(SAMPLE);
    let said = |text: &str| -> Vec<String> {
        let formula = Formula::parse(text).expect(text);
        formula
            .check(&|table, column| sample.tables.has_column(table, column))
            .into_iter()
            .map(|issue| issue.message)
            .collect()
    };
    assert_eq!(said("table('stores', $.a, 'erp_code')"), [""; 0]);
    assert_eq!(said("table('shops', $.a, 'erp_code')"), ["there is no table `shops`"]);
    assert_eq!(said("upper(table('stores', $.a, 'code'))"), ["table `stores` has no column `code`"]);
}

#[test]
fn deep_and_long_formulas_are_refused() {
    for text in ["(".repeat(100_000), "-".repeat(10_000), "not ".repeat(3_000), format!("1{}", "+1".repeat(5_000))] {
        assert!(Formula::parse(&text).is_err());
    }
    assert!(Path::parse(&format!("$[?{}@.a{}]", "(".repeat(2_000), ")".repeat(2_000))).is_err());
    // What is taken is evaluated within a thread's stack.
    gives(&format!("1{}", "+1".repeat(250)), "251");
    gives(&format!("{}1{}", "abs(".repeat(60), ")".repeat(60)), "1");
    let deep = Sample::new(&format!("{}1{}", "[".repeat(120), "]".repeat(120)));
    assert!(Path::parse("$..*").expect("a path").find(&deep.scope()).is_ok());
}
