use super::super::Template;
use super::super::language::Sample;
use super::{Condition, Setting};
use crate::config::{Environment, Files, Node, Reader, parse};

const DOCUMENT: &str = r#"{
  "number": "1042", "total": 10.50, "a": 1.005, "status": "open #1",
  "lines": [ { "gtin": "96385074", "qty": 2, "discounts": [ { "rate": 5 }, { "rate": 10 } ] }, { "gtin": "12345670", "qty": 1 } ]
}"#;

/// What reading `text` as a `T` gives, or its problems as `line:column [marked] message; label; help`.
fn read<T: Setting>(text: &str) -> Result<T, Vec<String>> {
    let files = Files::default();
    let file = files.add("map.yaml", text);
    let environment = Environment {
        only: Some([("NAME".to_owned(), "$ecret".to_owned()), ("PORT".to_owned(), "8080".to_owned())].into()),
        ..Environment::default()
    };
    let mut reader = Reader::new(&files, &environment);
    let node: Option<Node> = parse(file, text, &mut reader.problems);
    let read = node.and_then(|node| T::read(&node, &mut reader));
    match read {
        Some(read) if reader.problems.is_empty() => Ok(read),
        _ => Err(reader
            .problems
            .iter()
            .map(|problem| {
                let (line, column) = files.line_column(problem.span);
                let marked = &text[problem.span.start as usize..problem.span.end as usize];
                let help = problem.help.as_deref().map(|help| format!("; {help}")).unwrap_or_default();
                format!("{line}:{column} [{marked}] {}; {}{help}", problem.message, problem.label)
            })
            .collect()),
    }
}

fn writes(text: &str, expect: &str) {
    let template = read::<Template>(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    let sample = Sample::new(DOCUMENT);
    let written = match template.render(&sample.scope()) {
        Ok(Some(value)) => value.to_string(),
        Ok(None) => "-".to_owned(),
        Err(fault) => fault.to_string(),
    };
    assert_eq!(written, expect, "{text}");
}

fn refused<T: Setting>(text: &str, expect: &[&str]) {
    let Err(problems) = read::<T>(text) else { panic!("{text} is taken") };
    assert_eq!(problems, expect, "{text}");
}

#[test]
fn constants_stay_what_was_written() {
    writes(
        "{ zip: 01000, no: NO, yes: true, count: 12, price: 1.10, none: , quoted: \"12\", date: 2026-11-02, phone: +33612345678 }",
        r#"{"zip":"01000","no":"NO","yes":true,"count":12,"price":1.10,"none":null,"quoted":"12","date":"2026-11-02","phone":"+33612345678"}"#,
    );
    writes("='$5'", "\"$5\"");
    writes("[a, [1, {}], []]", "[\"a\",[1,{}],[]]");
    writes("port: ${PORT}\ntext: \"${PORT}\"", r#"{"port":8080,"text":"8080"}"#);
    // What a reference brings is no path.
    writes("key: ${NAME}\nin: a${NAME}", r#"{"key":"$ecret","in":"a$ecret"}"#);
}

#[test]
fn paths_and_formulas_are_known_by_their_first_sign() {
    writes(
        "{ number: $.number, phone: $.phone?, total: \"=round($.total * 2, 1)\" }",
        r#"{"number":"1042","total":21.0}"#,
    );
    writes("quoted: '$.number'\nblock: >-\n  =concat($.number,\n  '-1')", r#"{"quoted":"1042","block":"1042-1"}"#);
    writes("$.phone?", "-");
    writes("[$.number, $.phone?]", "[\"1042\"]");
    writes("{ phone: \"=if(has($.phone), upper($.phone))\", number: $.number }", r#"{"number":"1042"}"#);
    writes("{ a: $.phone }", "FORMULA-MISSING: `$.phone` finds nothing: `$` has no field `phone` ($.phone)");
}

#[test]
fn each_writes_a_list() {
    writes(
        "each: $.lines\nmap: { code: $item.gtin, line: =$index + 1 }",
        r#"[{"code":"96385074","line":1},{"code":"12345670","line":2}]"#,
    );
    writes("each: $.lines\nkeep: $item.qty > 1\nmap: $item.gtin", r#"["96385074"]"#);
    writes("each: $.discounts?\nmap: $item", "-");
    writes("rates: { each: \"=sort($.lines[0].discounts, 'rate')\", map: $item.rate }", r#"{"rates":[5,10]}"#);
    writes(
        "each: $.lines\nmap:\n  each: $item.discounts?\n  map: { gtin: $outer.gtin, rate: $item.rate }",
        r#"[[{"gtin":"96385074","rate":5},{"gtin":"96385074","rate":10}]]"#,
    );
    writes("each: $.number\nmap: $item", "FORMULA-TYPE: `each` wants a list: `$.number` is text ($.number)");
}

#[test]
fn a_fault_names_the_item() {
    writes(
        "each: $.lines\nmap: { d: $item.discounts }",
        "FORMULA-MISSING: `$item.discounts` finds nothing: `$item` has no field `discounts` ($.lines[1].discounts)",
    );
    writes(
        "each: $.lines\nmap: { d: =1 / ($item.qty - 1) }",
        "FORMULA-ARITHMETIC: 1 / 0: no division by zero ($.lines[1], formula `1 / ($item.qty - 1)`)",
    );
    writes(
        "each: $.lines[0:1]\nmap: { each: $item.discounts, map: { a: $item.name } }",
        "FORMULA-MISSING: `$item.name` finds nothing: `$item` has no field `name`; did you mean `rate`? ($.lines[0:1][0].discounts[0].name)",
    );
}

#[test]
fn each_is_written_whole() {
    refused::<Template>(
        "lines:\n  each: $.lines\n",
        &["2:3 [each] `each` without `map`; what to write for each item?; each: $.lines\nmap: { code: $item.code }"],
    );
    refused::<Template>(
        "each: $.lines\nmap: $item\nkep: $item.qty > 1\n",
        &["3:1 [kep] unknown key `kep`; did you mean `keep`?"],
    );
    refused::<Template>(
        "each: lines\nmap: $item\n",
        &["1:7 [lines] `each` wants a path or a formula that gives a list; for instance `$.lines`"],
    );
    writes("{ eech: 1, map: 2 }", r#"{"eech":1,"map":2}"#);
}

#[test]
fn mistakes_stand_at_their_place_in_the_file() {
    refused::<Template>(
        "net: \"=rond($.a, 2)\"\nother:\n  - =upper($.x) + 1\n  - $.a-b\n",
        &[
            "1:8 [rond] unknown function `rond`; did you mean `round`?",
            "3:6 [upper($.x)] arithmetic wants a number; this is text; `number(…)` reads a number from text; texts are joined by `concat`",
            "4:8 [-b] this is not part of the path; the path ends before it; a name with `-` stands in brackets: `$['a-b']`; to compute, begin with `=`",
        ],
    );
    // Folded, the places of the text are not those of the file: the whole is marked.
    let Err(problems) = read::<Template>("net: >-\n  =rond($.a,\n  2)\n") else { panic!("it is taken") };
    assert!(problems[0].contains("unknown function `rond`"), "{problems:?}");
    refused::<Condition>("$.status = 'paid'", &["1:10 [=] `=` is no part of a formula; equal is written `==`"]);
    refused::<Condition>(
        "=$.a == 1",
        &["1:1 [=$.a == 1] a condition is written without `=`; always a formula; write \"$.a == 1\""],
    );
}

#[test]
fn tables_are_checked_at_their_place() {
    let text = "a: \"=upper(table('shops', $.a, 'b'))\"\nlines: { each: $.l, keep: \"table('stores', $item, 'x') == 'y'\", map: $item }\n";
    let (mut files, environment) = (Files::default(), Environment::default());
    let file = files.add("map.yaml", text);
    let mut reader = Reader::new(&files, &environment);
    let node = parse(file, text, &mut reader.problems).expect("this is YAML");
    let template = Template::read(&node, &mut reader).expect("a template");
    template.check(&mut reader, &|table, column| (table == "stores").then_some(column == "erp_code"));
    let marked = |span: crate::config::Span| &text[span.start as usize..span.end as usize];
    let said: Vec<_> = reader.problems.iter().map(|problem| (marked(problem.span), problem.message.as_str())).collect();
    assert_eq!(said, [("'shops'", "there is no table `shops`"), ("'x'", "table `stores` has no column `x`")]);
}

#[test]
fn what_comes_from_outside_is_not_repeated() {
    refused::<Template>(
        "key: =upper('${NAME}'x)",
        &[
            "1:6 [=upper('${NAME}'x)] with its references replaced, this is no formula; a value from outside stands inside it; \
           look at what the references bring: a quote, a blank, a missing digit",
        ],
    );
}

#[test]
fn what_yaml_cuts_is_shown_whole() {
    refused::<Template>(
        "line: { net: =round($.a, 2), qty: 1 }",
        &[
            "1:14 [=round($.a, 2)] YAML cuts this formula at `,`; one formula, in pieces; put it between quotes: net: \"=round($.a, 2)\"",
        ],
    );
    refused::<Template>(
        "[=round($.a, 2)]",
        &[
            "1:2 [=round($.a, 2)] YAML cuts this formula at `,`; one formula, in pieces; put it between quotes: [\"=round($.a, 2)\"]",
        ],
    );
    refused::<Template>(
        "name: =concat('order #', $.number)\n",
        &["1:7 [=concat('order] YAML cuts this formula at ` #`, which begins a comment; one formula, in pieces; \
           put it between quotes: \"=concat('order #', $.number)\""],
    );
    refused::<Condition>(
        "$.status == 'open #1'",
        &["1:1 [$.status == 'open] YAML cuts this formula at ` #`, which begins a comment; one formula, in pieces; \
           put it between quotes: \"$.status == 'open #1'\""],
    );
    refused::<Template>(
        "- =concat('order: no ', $.number)\n",
        &["1:3 [=concat('order: no ', $.number)] YAML cuts this formula at `: `; one formula, in pieces; \
           put it between quotes: \"=concat('order: no ', $.number)\""],
    );
    // A comment after a whole formula is a comment.
    writes("name: =upper($.number) # in capitals", r#"{"name":"1042"}"#);
    refused::<Template>("name: =upper($.nu mber) # in capitals", &["1:19 [mber] expected `,` or `)`; before this"]);
}
