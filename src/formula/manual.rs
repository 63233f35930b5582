//! The manual of the language, `docs/formulas.md`: the text is here, the functions come from their list.

use std::fmt::Write;

use super::functions::FAMILIES;

/// The document the examples are about.
pub const SAMPLE: &str = r#"{
  "name": "Zoé Martin",
  "phone": null,
  "qty": "2",
  "status": "paid",
  "price": 12.50,
  "lines": [
    { "gtin": "4006381333931", "qty": 2, "net": 19.98 },
    { "gtin": "96385074", "qty": 1, "net": 5.00 }
  ]
}"#;

/// The whole manual, as Markdown.
pub fn manual() -> String {
    let mut out = BEFORE.replace("SAMPLE", SAMPLE);
    for (_, title, functions) in FAMILIES {
        let mut line = |text: &str| writeln!(out, "{text}").expect("writing to a string does not fail");
        line(&format!("\n### {title}\n\n| function | what it gives | example | result |\n|---|---|---|---|"));
        for function in *functions {
            let cell = |text: &str| text.replace('|', "\\|");
            let (signature, about) = (cell(&function.signature()), cell(function.about));
            line(&format!("| `{signature}` | {about} | `{}` | `{}` |", cell(function.example), cell(function.gives)));
        }
    }
    out
}

const BEFORE: &str = r#"# Constants, paths, formulas

Generated from the code; `raccord explain NAME` prints the page of one function.

What a template writes is told by its first sign: `$` begins a **path**, `=` a **formula**, anything else is a **constant**.

```yaml
- map:
    currency: EUR                                      # constant
    number: $.name                                     # path
    phone: $.phone?                                    # path that may find nothing: the field is then left out
    net: "=round($.qty * $.unit_price, 2)"             # formula
    fax: "=if(has($.fax), phone($.fax, 'FR'))"         # formula that may give nothing: the field is then left out
    lines:
      each: $.line_items                               # a path or formula that gives a list
      keep: $item.quantity > 0                         # optional: which items
      map: { gtin: $item.barcode, line: =$index + 1 }  # what to write for each
```

## Constants
Any YAML value. Numbers are those JSON writes; `01000`, `NO` and `+33` are text, as is all that stands between quotes. A text
that begins with `$` or `=` is written `='$5'`. What a reference (`${NAME}`) brings in is never read as a path or formula.

## Paths
`$` is the message's document. Other roots: `$item` and `$index` (counted from 0) inside `each`, `$outer` for the item around an
inner `each`, `$headers`, `$meta`, `$partner`, and in manifests `$connection`, `$cursor`, `$page`, `$calls`, `$input`, `$job`, `$result`, `$session`. What follows is JSONPath (RFC 9535): `.name`,
`['odd-name']`, `[0]`, `[-1]` for the last, `[*]` for all, `[0:3]`, `[?@.qty > 1 && @.type == 'sale']`, `..name` for any depth.

- A path of names and indexes gives one value, and must find it: else the message stops with `FORMULA-MISSING`. With `?` at its
  end it may find nothing. A field that is there and `null` is found.
- Any other path gives a list, which may be empty. What follows the selection must be in each selected element:
  `$.lines[*].price` stops and names the line that has none; `$.lines[*].price?` leaves that line out.
- Inside a filter, `@` is the element, and `$`, `$item`, `$outer`, `$partner` and the roots of manifests (`$connection`, `$calls`…) are what
  they are outside: `$.taxes[?@.code == $item.code].rate`. It does not see `$headers`, `$meta` and `$index`; `keep` of an `each` does.
  As RFC 9535 has it, a filter compares without complaint: text and number are never equal. Numbers are compared exactly.
- A field named with `-` or a blank stands in brackets: `$['odd-name']`.

## Formulas
Literals are `'text'` (a quote inside is written twice), `12.50`, `true`, `false`, `null`, `[a, b]`. Operators, from the loosest:

| operators | |
|---|---|
| `or` | the right side is not looked at if the left is true |
| `and` | nor here if the left is false |
| `not` | `not $.status in ['paid', 'open']` |
| `==` `!=` `<` `<=` `>` `>=` `in` | do not chain: `a < b and b < c` |
| `+` `-` | |
| `*` `/` | |
| `-` before a value | |

- **Numbers are exact decimals** of up to 28 digits; a division that does not come out even is rounded at the 28th. Too large, or
  divided by zero, is `FORMULA-ARITHMETIC`. Halves round away from zero.
- **Nothing is converted by guess.** Data from CSV and XML is text: `number($.qty)` reads the number. Arithmetic on text is
  `FORMULA-TYPE`. So is comparing a text with a number, by `==` and `in` too: were `'5' == 5` simply false, a filter on it would
  drop every message without a word. `null` may be compared with anything by `==` and `!=`, and equals only itself.
- **What is missing stops the message**, in an operand or argument, with or without `?`; but `has(path)` asks, and
  `coalesce(a, b)` takes the first that is there and not null, whatever was missing on the way.
- `if`, `switch`, `coalesce`, `and`, `or` evaluate only what they need.
- Formulas always end: texts are bounded to 1 MB, lists to 100,000 items, nesting to 64 levels.

Fields that are conditions (`when`, `filter`, `keep`…) are always formulas and take no `=`.

## In YAML
A value that holds `, ` inside `{ }` or `[ ]`, or `: `, ` #`, or begins with a quote, stands between quotes, or in lines of its own:

```yaml
net: "=round($.qty * $.unit_price, 2)"
label: >-
  =concat('Order: ', $.name,
          ' #', $.number)
```

A backslash, as in patterns, wants single quotes around (double quotes would read it): `'=matches($.zip, ''\d{5}'')'`.

## Functions
The examples are about this document, at 2026-11-02 09:30 UTC:

```json
SAMPLE
```

Arguments marked `?` may be left out; `…` stands for one or more.
"#;

#[cfg(test)]
mod tests {
    use super::manual;

    #[test]
    fn the_manual_is_the_one_the_code_makes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/formulas.md");
        if std::env::var_os("RACCORD_UPDATE").is_some() {
            std::fs::write(path, manual()).expect("the manual can be written");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == manual(),
            "docs/formulas.md is not what the code says: RACCORD_UPDATE=1 cargo test writes it anew"
        );
    }
}
