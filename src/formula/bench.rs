//! Measurements for docs/decisions/0001-paths.md: `cargo test --release --lib formula::bench -- --ignored --nocapture`.
//! Nothing is asserted about time; ratios of one run are what counts.

use std::hint::black_box;
use std::time::Instant;

use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;

use super::language::Sample;
use super::{Path, Template};
use crate::config::{Environment, Files, Reader, Setting, parse};

/// An order of about 5 KB: 20 lines.
fn order() -> String {
    let line = |index: usize| {
        format!(
            r#"{{"id":{index},"barcode":"4006381333931","title":"Fine liner black, pack of {index}","quantity":2,"price":11.99,"tax_rate":20,
            "properties":{{"colour":"black","gift":false}},"article":{{"dropship_supplier":"acme","weight":120}}}}"#
        )
    };
    let lines: Vec<_> = (1..=20).map(line).collect();
    format!(
        r##"{{"id":5501,"name":"#1042","created_at":"2026-11-02T10:15:00+01:00","currency":"EUR","financial_status":"paid",
        "customer":{{"id":88,"email":"ada@exemple.fr","first_name":"Ada","last_name":"Exemple","phone":"+33612345678"}},
        "shipping_address":{{"street":"1 rue Exemple","zip":"01000","city":"Bourg","country":"FR"}},
        "totals":{{"gross":479.60,"net":399.67,"tax":79.93}},"line_items":[{}]}}"##,
        lines.join(",")
    )
}

const SINGULAR: [&str; 14] = [
    "$.id",
    "$.name",
    "$.created_at",
    "$.currency",
    "$.financial_status",
    "$.customer.email",
    "$.customer.first_name",
    "$.customer.phone",
    "$.shipping_address.zip",
    "$.shipping_address.city",
    "$.totals.gross",
    "$.totals.net",
    "$.line_items[0].barcode",
    "$.line_items[-1].article.dropship_supplier",
];

const SELECTING: [&str; 4] =
    ["$.line_items[*].price", "$.line_items[?@.quantity > 1].barcode", "$.line_items[2:8].quantity", "$..barcode"];

const MAP: &str = r##"
number: "=replace($.name, '#', '')"
placed_at: $.created_at
currency: $.currency
status: $.financial_status
channel: web
customer:
  email: =lower($.customer.email)
  first: $.customer.first_name
  last: =upper($.customer.last_name)
  phone: $.customer.phone?
street: $.shipping_address.street
zip: $.shipping_address.zip
city: $.shipping_address.city
country: $.shipping_address.country
gross: $.totals.gross
net: "=round($.totals.gross / 1.2, 2)"
tax: "=vat_of($.totals.gross, 20)"
lines_count: =count($.line_items)
quantity: =sum($.line_items[*].quantity)
paid: =$.financial_status == 'paid'
comment: "=coalesce($.note, 'none')"
"##;

const EACH: &str = "each: $.line_items\nmap: { gtin: $item.barcode, quantity: $item.quantity, net: \"=net_of_vat($item.price, $item.tax_rate)\" }";

fn measure(what: &str, rounds: u32, mut run: impl FnMut()) -> f64 {
    (0..rounds / 10).for_each(|_| run());
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        (0..rounds).for_each(|_| run());
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
    }
    println!("{what:<52} {best:>8.2} µs");
    best
}

fn template(text: &str) -> Template {
    let (mut files, environment) = (Files::default(), Environment::default());
    let file = files.add("map.yaml", text);
    let mut reader = Reader::new(&files, &environment);
    let node = parse(file, text, &mut reader.problems).expect("this is YAML");
    Template::read(&node, &mut reader).unwrap_or_else(|| panic!("{:?}", reader.problems))
}

#[test]
#[ignore = "a measurement: run in release"]
fn paths_and_maps() {
    let text = order();
    let sample = Sample::new(&text);
    let scope = sample.scope();
    println!("an order of {} bytes, best of 5", text.len());
    let compare = |what: &str, paths: &[&str]| {
        let ours: Vec<_> = paths.iter().map(|path| Path::parse(path).expect(path)).collect();
        let theirs: Vec<_> = paths.iter().map(|path| parse_json_path(path).expect(path)).collect();
        let own = measure(&format!("{what}: ours"), 20_000, || {
            for path in &ours {
                black_box(path.find(black_box(&scope)).expect("it is there"));
            }
        });
        let other = measure(&format!("{what}: jsonpath-rust, compiled"), 2_000, || {
            for path in &theirs {
                black_box(js_path_process(path, black_box(&sample.document)).expect("it is there"));
            }
        });
        println!("{:<52} {:>8.1} times", "", other / own);
    };
    compare("14 singular paths", &SINGULAR);
    SELECTING.iter().for_each(|path| compare(path, &[path]));
    for (what, text) in [("a map of 20 fields", MAP), ("each over 20 lines, 3 fields", EACH)] {
        let template = template(text);
        measure(what, 5_000, || {
            black_box(template.render(black_box(&scope)).expect("it renders"));
        });
    }
}
