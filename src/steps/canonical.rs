//! The canonical documents: what an order, an article, a customer is between systems.
//!
//! `config/canonical/<name>.schema.json`, or as shipped where the hub's folder has none of that name. docs/canonical.md is made
//! of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use super::beside::read_text;
use super::schemas::{DocumentSchema, MAX_SCHEMA_BYTES};
use crate::config::{Environment, Files, Reader, Span};
use crate::message::Text;

/// Those that ship with raccord.
#[derive(RustEmbed)]
#[folder = "config/canonical/"]
struct Shipped;

const FOLDER: &str = "config/canonical";
const SUFFIX: &str = ".schema.json";

/// The canonical documents a hub knows.
#[derive(Debug)]
pub struct Canonical {
    /// The hub's own, compiled.
    own: BTreeMap<Text, Arc<DocumentSchema>>,
    /// The names of the hub's own, those that are wrong too, and of the shipped ones.
    names: BTreeSet<String>,
}

/// The shipped ones.
impl Default for Canonical {
    fn default() -> Canonical {
        let names = shipped_names().filter_map(|file| Some(file.strip_suffix(SUFFIX)?.to_owned()));
        Canonical { own: BTreeMap::new(), names: names.collect() }
    }
}

impl Canonical {
    /// Those of the hub in `folder`, beside the shipped ones. What is no schema is reported.
    pub fn load(folder: &Path, reader: &mut Reader<'_>) -> Canonical {
        let names = names(folder);
        let own = names.iter().filter(|name| folder.join(FOLDER).join(format!("{name}{SUFFIX}")).is_file());
        let own = own.filter_map(|name| Some((name.as_str().into(), Arc::new(read(folder, name, None, reader)??))));
        Canonical { own: own.collect(), names }
    }

    /// Whether there is one of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Compiles a shipped one anew.
    pub fn get(&self, name: &str) -> Option<Arc<DocumentSchema>> {
        if let Some(own) = self.own.get(name) {
            return Some(own.clone());
        }
        let (files, environment) = (Files::default(), Environment::default());
        let file = files.add(format!("{name}{SUFFIX}"), shipped(name)?);
        let mut reader = Reader::new(&files, &environment);
        DocumentSchema::compile(&format!("canonical/{name}"), file, None, &mut reader).map(Arc::new)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

/// The name in `canonical/order`.
pub(super) fn named(schema: &str) -> Option<&str> {
    schema.strip_prefix("canonical/").filter(|name| !name.contains(['.', '/']))
}

/// The one called `name`; one that is not there is reported at `span`.
pub(super) fn open(folder: &Path, name: &str, span: Span, reader: &mut Reader<'_>) -> Option<DocumentSchema> {
    let read = read(folder, name, Some(span), reader);
    if read.is_none() {
        let known = names(folder);
        reader.unknown(span, "canonical document", name, known.iter().map(String::as_str));
    }
    read?
}

/// `None` where there is none of that name; `Some(None)` where it was reported.
fn read(folder: &Path, name: &str, span: Option<Span>, reader: &mut Reader<'_>) -> Option<Option<DocumentSchema>> {
    let shown = Path::new(FOLDER).join(format!("{name}{SUFFIX}"));
    let path = folder.join(&shown);
    let text = if path.is_file() { read_text(&path, MAX_SCHEMA_BYTES) } else { Ok(shipped(name)?) };
    match text {
        Ok(text) => {
            // What stands on a schema changes with it.
            reader.resolved = Sha256::new().chain_update(reader.resolved).chain_update(&text).finalize().into();
            let file = reader.files.add(&shown, text);
            Some(DocumentSchema::compile(&format!("canonical/{name}"), file, span, reader))
        }
        Err(said) => {
            let span = span.unwrap_or_else(|| Span { file: reader.files.add(&shown, ""), start: 0, end: 0 });
            reader.error(span, format!("{}: {said}", shown.display()));
            Some(None)
        }
    }
}

fn shipped(name: &str) -> Option<String> {
    let file = Shipped::get(&format!("{name}{SUFFIX}"))?;
    String::from_utf8(file.data.into_owned()).ok()
}

fn shipped_names() -> impl Iterator<Item = String> {
    Shipped::iter().map(|name| name.into_owned())
}

/// The names of the hub's own and of the shipped ones.
fn names(folder: &Path) -> BTreeSet<String> {
    let own = std::fs::read_dir(folder.join(FOLDER)).into_iter().flatten().flatten();
    let own = own.map(|entry| entry.file_name().to_string_lossy().into_owned());
    own.chain(shipped_names()).filter_map(|file| Some(file.strip_suffix(SUFFIX)?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::message::{Map, Value, json};
    use crate::steps::Violations;

    fn load(folder: &Path) -> (Canonical, Vec<String>) {
        let (files, environment) = (Files::default(), Environment::default());
        let mut reader = Reader::new(&files, &environment);
        let canonical = Canonical::load(folder, &mut reader);
        let said = |problem: &crate::config::Problem| {
            format!("{}: {}", files.path(problem.span.file).display(), problem.message)
        };
        (canonical, reader.problems.iter().map(said).collect())
    }

    /// `expect` is empty for a document that is right, else what is wrong with it.
    fn check(name: &str, document: &str, expect: &str) {
        let (canonical, problems) = load(Path::new("nowhere"));
        assert!(problems.is_empty(), "{problems:?}");
        let mut broken = Violations::default();
        let document = json::read(document.as_bytes()).expect("the test writes JSON");
        broken.of_schema(&canonical.get(name).expect(name), &document);
        assert_eq!(broken.sentences(), expect, "{name} {document}");
    }

    #[test]
    fn the_shipped_documents_take_what_is_right_and_refuse_what_is_not() {
        let order = r#"{"number":"W-1","ordered_at":"2026-11-02T10:00:00+01:00","currency":"EUR","lines":[LINE]}"#;
        let order = |line: &str| order.replace("LINE", line);
        check("order", &order(r#"{"sku":"A-1","quantity":1,"tax_rate":5.5,"net":10.10,"the_shops_own":true}"#), "");
        check(
            "order",
            &order(r#"{"gtin":3012345678900,"quantity":1}"#),
            "$.lines[0].gtin: the value is not of type \"string\"",
        );
        check(
            "order",
            &order(r#"{"quantity":1}"#),
            "$.lines[0]: the value is not valid under any of the schemas listed in the 'anyOf' keyword",
        );
        check("order", &order(""), "$.lines: the value has less than 1 item");
        check("product", r#"{"sku":"A-1","name":"Mug","descriptions":{"fr":"Tasse","pt-BR":"Caneca"}}"#, "");
        check("price", r#"{"sku":"A-1","amount":9.90,"currency":"EUR","tax_included":true}"#, "");
        check(
            "price",
            r#"{"sku":"A-1","amount":"9.90","currency":"EUR","tax_included":true}"#,
            "$.amount: the value is not of type \"number\"",
        );
        check("customer", r#"{"telephone":"+33612345678","birth_date":"1984-02-29"}"#, "");
        check(
            "customer",
            r#"{"email":"a@b.example","telephone":"06 12 34 56 78"}"#,
            "$.telephone: the value does not match \"^\\+[1-9][0-9]{6,14}$\"",
        );
        check(
            "customer",
            r#"{"email":"a@b.example","external_ids":{"crm":12}}"#,
            "$.external_ids.crm: the value is not of type \"string\"",
        );
        let sale = r#"{"number":"7","gln":"3012345000015","till":"2","business_day":"2026-11-02","sold_at":"2026-11-03T00:10:00+01:00","type":"return","currency":"EUR","lines":[{"gtin":"3012345678900","quantity":-1}],"totals":{"gross":-9.90}}"#;
        check("sale", sale, "");
        check("shipment", r#"{"number":"S1","lines":[{"sku":"A-1","quantity":2}],"sscc":["330123450000000017"]}"#, "");
        let invoice = r#"{"number":"F1","type":"invoice","issued_on":"2026-11-02","currency":"EUR","seller":{"name":"Harbour & Pine"},"buyer":{"name":"Camille Exemple"},"lines":[{"sku":"A-1","quantity":1}],"totals":{"gross":12}}"#;
        check("invoice", invoice, "");
    }

    #[test]
    fn the_hubs_own_stands_before_the_shipped_one() {
        let folder = std::env::temp_dir().join(format!("raccord-{}", crate::message::MessageId::draw()));
        std::fs::create_dir_all(folder.join(FOLDER)).expect("folders can be made");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.join(FOLDER).join(name), text).expect("files can be written");
        };
        write("order.schema.json", r#"{"required":["ours"]}"#);
        write("voucher.schema.json", r#"{"type":"objekt"}"#);
        write("gift.schema.json", "{");
        let (canonical, problems) = load(&folder);
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
        let mut broken = Violations::default();
        broken.of_schema(&canonical.get("order").expect("it is right"), &Map::new().into());
        assert_eq!(broken.sentences(), "$: \"ours\" is a required property");
        assert!(canonical.contains("stock") && canonical.contains("voucher") && canonical.get("voucher").is_none());
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("config/canonical/gift.schema.json: not JSON"), "{problems:?}");
        assert!(problems[1].contains("`canonical/voucher` is not a JSON Schema"), "{problems:?}");
    }

    /// `RACCORD_UPDATE=1` writes it anew.
    #[test]
    fn the_page_in_docs_is_the_one_of_the_schemas() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/canonical.md");
        let page = page();
        if std::env::var_os("RACCORD_UPDATE").is_some() {
            std::fs::write(path, &page).expect("docs can be written");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == page, "docs/canonical.md is not of these schemas: run the test with RACCORD_UPDATE=1");
    }

    const INTRODUCTION: &str = "\
# Canonical documents

<!-- Made of config/canonical; `RACCORD_UPDATE=1 cargo nextest run -E 'test(canonical)'` writes it. -->

What an order, an article or a customer is between systems. A system's manifest maps its own documents to these and back, so
a pipeline joins two systems without knowing either's words. Each is a JSON Schema (draft 2020-12) in
[config/canonical](../config/canonical); one of the same name in the hub's own `config/canonical/` takes its place, and a hub
may have others. `raccord check` compiles them. A manifest names them under `gives:` and `takes:`, a pipeline in `validate`:

```yaml
- validate: { schema: canonical/order }
```

- **Few fields must be there** (bold below): those without which nobody can act. What is there must be what it says.
- **Documents are open**: a field no schema names is let through, in every map. Systems differ, and a shop's own field must reach the
  ERP that wants it; the next destination ignores it. A field that is here is never given another meaning.
- **Amounts and quantities are exact decimal numbers**, never texts; currency and unit stand beside. **Identifiers are texts**, also
  those made of digits: `00123` stays `00123`. Instants are RFC 3339 with an offset; days are days.
- **`external_ids`** is a map from the name of a connection to what that system calls the thing: `{ webshop: \"987\", erp: SO-12 }`.
  So an update finds its record again.
- A field that is not known is left out; it is not `null` and not an empty text.
- Names follow schema.org, GS1 (Global Data Synchronisation, EDI XML), ARTS (retail tickets) and UN/CEFACT (invoices), written in
  `snake_case`. Where no term is given, the word is raccord's own.

A schema compares numbers to about 16 digits, and knows no sums: what must add up is a rule of `validate`.
";

    /// In the order of the page: what shop, ERP and tills share, then what goes between us and suppliers.
    const DOCUMENTS: [&str; 17] = [
        "order",
        "product",
        "stock",
        "price",
        "customer",
        "sale",
        "shipment",
        "invoice",
        "return",
        "purchase-order",
        "purchase-order-change",
        "order-response",
        "despatch",
        "return-announcement",
        "supplier-stock",
        "catalogue",
        "supplier-report",
    ];

    fn page() -> String {
        let mut out = INTRODUCTION.to_owned();
        for name in DOCUMENTS {
            let text = shipped(name).expect(name);
            let schema = json::read(text.as_bytes()).expect("the shipped schemas are JSON");
            let about = schema.get("description").and_then(Value::as_text).unwrap_or_default();
            write!(out, "\n## {name}\n\n{about}\n\n").expect("writing to a string does not fail");
            table(&schema, &mut out);
            for (part, schema) in schema.get("$defs").and_then(Value::as_map).into_iter().flat_map(Map::iter) {
                let about = schema.get("description").and_then(Value::as_text).unwrap_or_default();
                write!(out, "\n### {name}: {part}\n\n{about}\n\n").expect("writing to a string does not fail");
                table(schema, &mut out);
            }
        }
        out
    }

    fn table(schema: &Value, out: &mut String) {
        let text = |value: &Value, name: &str| {
            value.get(name).and_then(Value::as_text).unwrap_or_default().replace('|', "\\|")
        };
        let required = schema.get("required").and_then(Value::as_list).unwrap_or_default();
        let mut row = |cells: [&str; 5]| {
            writeln!(out, "| {} |", cells.join(" | ")).expect("writing to a string does not fail");
        };
        row(["field", "is", "meaning", "unit, form", "term"]);
        row(["---"; 5]);
        for (name, field) in schema.get("properties").and_then(Value::as_map).expect("a schema has fields").iter() {
            let about = text(field, "description");
            assert!(!about.is_empty(), "{name} says nothing about itself");
            let named = match required.iter().any(|one| one.as_text() == Some(name)) {
                true => format!("**`{name}`**"),
                false => format!("`{name}`"),
            };
            row([&named, &kind(field), &about, &text(field, "x-unit"), &text(field, "x-term")]);
        }
    }

    /// What a field is, in a word.
    fn kind(field: &Value) -> String {
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_text).map(str::to_owned);
        let part = |value: &Value| text(value, "$ref").map(|named| named.replace("#/$defs/", ""));
        if let Some(part) = part(field) {
            return part;
        }
        if let Some(words) = field.get("enum").and_then(Value::as_list) {
            let words: Vec<String> = words.iter().filter_map(Value::as_text).map(|word| format!("`{word}`")).collect();
            return words.join(", ");
        }
        match (text(field, "type").as_deref(), text(field, "format").as_deref()) {
            (Some("string"), Some("date-time")) => "instant".to_owned(),
            (Some("string"), Some("date")) => "day".to_owned(),
            (Some("string"), _) => "text".to_owned(),
            (Some("object"), _) => "map of texts".to_owned(),
            (Some("array"), _) => {
                format!("list of {}", field.get("items").and_then(part).unwrap_or_else(|| "texts".to_owned()))
            }
            (other, _) => other.unwrap_or("anything").to_owned(),
        }
    }
}
