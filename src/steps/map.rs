//! `map`: the Message Translator.

use super::{Answer, Context, Outcome, Step, StepPlace, kind};
use crate::config::{Node, Reader, Setting};
use crate::formula::Template;
use crate::message::{Fault, Value};

kind! {
    /// Replaces the document by a new one, written out field by field.
    ///
    /// A value that begins with `$` is a path into the document as it arrives, one that begins with `=` a formula, any
    /// other a constant. `each:` with `map:` writes a list: `$item` is the item at hand, `$index` its number from 0. What is
    /// not written is not in the new document; to keep the old one and add to it, use `set`.
    ///
    /// ```yaml
    /// - map:
    ///     number: $.name
    ///     currency: EUR
    ///     lines:
    ///       each: $.line_items
    ///       map:
    ///         gtin: $item.barcode
    ///         net: "=round($item.price * $item.quantity, 2)"
    /// ```
    "map", Template::shape, read
}

/// The template that replaces the document; `map_file` is the same from a file.
#[derive(Debug)]
pub struct Mapping(pub Template);

fn read(node: &Node, reader: &mut Reader<'_>, _place: &StepPlace<'_>) -> Option<Box<dyn Step>> {
    Some(Box::new(Mapping(Template::read(node, reader)?)))
}

impl Step for Mapping {
    fn apply(
        &self,
        document: Value,
        context: &Context<'_>,
        _answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        let mapped = self.0.render(&context.scope(&document))?;
        out.push(mapped.ok_or_else(|| {
            Fault::refuse(
                "MAP-NOTHING",
                "the mapping is one optional path, and it finds nothing: there is no document to go on with",
            )
        })?)
    }
}

#[cfg(test)]
mod tests {
    use crate::steps::check::{check, refused};

    #[test]
    fn a_template_replaces_the_document() {
        check(
            "- map: { number: $.name, currency: EUR }",
            r##"{"name":"#1","x":1}"##,
            r##"{"number":"#1","currency":"EUR"}"##,
        );
        check("- map: $.inner", r#"{"inner":{"a":1}}"#, r#"{"a":1}"#);
        let lines = "- map: { lines: { each: $.l, map: { n: \"=$item.q * 2\" } } }";
        check(lines, r#"{"l":[{"q":1.50},{"q":2}]}"#, r#"{"lines":[{"n":3.00},{"n":4}]}"#);
    }

    #[test]
    fn formulas_read_tables_that_exist() {
        check("- map: \"=table('articles', $.g, 'name')\"", r#"{"g":"111"}"#, r#""Lamp""#);
        refused("- map: \"=table('articels', $.g, 'name')\"", "1:16 there is no table `articels`");
        refused("- map: \"=table('articles', $.g, 'nom')\"", "1:33 table `articles` has no column `nom`");
        refused("- filter: table('articles', $.g, 'nom') == 'x'", "1:34 table `articles` has no column `nom`");
    }

    #[test]
    fn nothing_is_not_a_document() {
        check("- map: $.inner?", "{}", "MAP-NOTHING (steps[0] map)");
        check("- map: { a: $.inner? }", "{}", "{}");
        check("- map: { a: $.inner }", "{}", "FORMULA-MISSING (steps[0] map, $.inner)");
    }
}
