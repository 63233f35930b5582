//! `remember`: into a durable table, where later messages find it.

use std::time::Duration;

use jiff::Timestamp;

use super::tables::{Columns, TableName};
use super::{Answer, Context, Effect, Outcome, Step, StepPlace, TableNames, key_text, kind};
use crate::clock::later;
use crate::config::{Node, Reader, Setting, Shape, settings};
use crate::formula::{Path, Scope, Template};
use crate::message::{Fault, Map, Text, Value};

kind! {
    /// Writes a row into a durable table; the document goes on unchanged.
    ///
    /// This is how ids are cross-referenced, and how the later documents of an order find its earlier ones: one pipeline
    /// remembers, another one looks up. The row replaces the one with the same key, and is kept as long as the table says
    /// (`config/tables/<name>.yaml`). It becomes visible to other messages together with what this message sends, or not at all;
    /// later steps of the same message see it at once.
    ///
    /// The key columns must be there. A column whose optional path finds nothing is left out of the row.
    ///
    /// ```yaml
    /// - remember:
    ///     table: orders
    ///     row: { shop: web, order: $.name, erp_id: $.id }
    /// ```
    "remember", Settings::shape, read
}

settings! {
    /// What to write, and where.
    pub struct Settings {
        /// The durable table's name.
        table: TableName,
        /// Columns and what to write into them.
        row: Columns,
    }
}

/// A row of a durable table, as a map writes it: of the step, and of a destination's `remember:`.
#[derive(Clone, Debug)]
pub struct RowTemplate {
    table: Text,
    key: Vec<Text>,
    retention: Duration,
    row: Vec<(Text, Template)>,
}

/// A row to write over the one with the same `key` ([`key_text`] of its key columns).
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub table: Text,
    pub key: Text,
    pub row: Map,
    pub until: Timestamp,
}

#[derive(Debug)]
struct Remember(RowTemplate);

fn read(node: &Node, reader: &mut Reader<'_>, place: &StepPlace<'_>) -> Option<Box<dyn Step>> {
    let row = RowTemplate::read(node, reader, place.tables)?;
    Some(Box::new(Remember(row)))
}

impl RowTemplate {
    /// What may be written.
    pub fn shape() -> Shape {
        Settings::shape()
    }

    /// Reads `{ table, row }`, and reports a table that is not there or not durable, and columns it does not have.
    pub fn read(node: &Node, reader: &mut Reader<'_>, tables: &TableNames) -> Option<RowTemplate> {
        let Settings { table, row } = Settings::read(node, reader)?;
        let Some(durable) = tables.durable.get(&table.name) else {
            if tables.files.contains_key(&table.name) {
                reader
                    .error(table.span, format!("table `{}` is a file, which only people write", table.name))
                    .label("expected a durable table")
                    .help("describe one in config/tables/<name>.yaml: key, columns, retention");
            } else {
                table.unknown(tables, reader);
            }
            return None;
        };
        let key: Vec<&str> = durable.key.iter().map(Text::as_str).collect();
        let all: Vec<&str> = durable.key.iter().chain(&durable.columns).map(Text::as_str).collect();
        row.check(&all, &key, reader).then(|| {
            let (key, retention) = (durable.key.clone(), durable.retention);
            let row = row.values.into_iter().map(|(key, value)| (key.name, value)).collect();
            RowTemplate { table: table.name, key, retention, row }
        })
    }

    /// The row, kept from `from` on.
    ///
    /// # Errors
    /// As [`Template::render`]; `REMEMBER-KEY` (refuse) for a key column that names nothing.
    pub fn render(&self, scope: &Scope<'_>, from: Timestamp) -> Result<Row, Fault> {
        let mut row = Map::with_capacity(self.row.len());
        for (column, value) in &self.row {
            if let Some(value) = value.render(scope)? {
                row.insert(column.clone(), value);
            }
        }
        let key = key_text(self.key.iter().map(|column| row.get(column).unwrap_or(&Value::Null)));
        let key = key.ok_or_else(|| self.no_key())?;
        Ok(Row { table: self.table.clone(), key, row, until: later(from, self.retention) })
    }

    /// Calls `see` with every path it reads.
    pub fn paths<'t>(&'t self, see: &mut dyn FnMut(&'t Path)) {
        self.row.iter().for_each(|(_, value)| value.paths(see));
    }

    fn no_key(&self) -> Fault {
        let said = format!(
            "a row of `{}` is named by {}, which must be texts, numbers or booleans",
            self.table,
            self.key.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ")
        );
        Fault::refuse("REMEMBER-KEY", said).at("row")
    }
}

impl Step for Remember {
    fn needs_world(&self) -> bool {
        true
    }

    fn apply(
        &self,
        document: Value,
        context: &Context<'_>,
        _answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        let Row { table, key, row, until } = self.0.render(&context.scope(&document), context.time)?;
        out.effects.push(Effect::Remember { table, key, row, until, time: None });
        out.push(document)
    }
}

#[cfg(test)]
mod tests {
    use crate::steps::check::{check, refused};

    #[test]
    fn a_row_is_written_and_the_document_goes_on() {
        let step = "- remember: { table: orders, row: { shop: web, order: $.n, erp_id: $.id? } }";
        let expect =
            "{\"n\":7}\nremember orders [\"web\",\"7\"] {\"shop\":\"web\",\"order\":7} until 2026-11-12T09:00:00Z";
        check(step, r#"{"n":7}"#, expect);
        check(step, r#"{"n":null}"#, "REMEMBER-KEY (steps[0] remember, row)");
    }

    #[test]
    fn a_later_step_of_the_message_sees_it() {
        let steps = "- remember: { table: orders, row: { shop: web, order: $.n, erp_id: $.id } }\n\
                     - lookup: { table: orders, where: { order: $.n, shop: web }, into: erp }\n\
                     - map: $.erp.erp_id\n";
        let expect = "5\nremember orders [\"web\",\"1042\"] {\"shop\":\"web\",\"order\":1042,\"erp_id\":5} until 2026-11-12T09:00:00Z";
        check(steps, r#"{"n":1042,"id":5}"#, expect);
    }

    #[test]
    fn tables_and_columns_are_checked() {
        refused(
            "- remember: { table: articles, row: { gtin: a } }",
            "1:22 table `articles` is a file, which only people write; expected a durable table",
        );
        refused(
            "- remember: { table: order, row: { order: a } }",
            "1:22 unknown table `order`; did you mean `orders`?",
        );
        refused(
            "- remember: { table: orders, row: { order: a } }",
            "1:35 column `shop` is missing; `shop` belongs to the table's key",
        );
        refused(
            "- remember: { table: orders, row: { shop: a, order: a, erpid: b } }",
            "1:56 unknown column `erpid`; did you mean `erp_id`?",
        );
    }
}
