//! `lookup`: the Content Enricher, from a table.

use super::enrich::{Enrich, Missing};
use super::place::Place;
use super::tables::{Columns, TableName, key_part};
use super::{Answer, Ask, Context, Outcome, Step, StepPlace, TableNames, key_text, kind};
use crate::config::{Node, Reader, Setting, settings};
use crate::formula::{Scope, Template};
use crate::message::{Fault, Map, Text, Value};

kind! {
    /// Finds a row of a table and puts it into the document, or into each item of a list.
    ///
    /// The table is a file of `config/tables/*.csv`, whose first column is the key, or a durable table that `remember` fills.
    /// `where` gives the key; the row found stands under `into` as a map of its columns. An empty cell of a file is a column
    /// the row does not have.
    ///
    /// Where no row is found, the message goes to dead letters, unless `missing: leave_out` lets it go on without `into`. So
    /// it is where an optional path of `where` finds nothing to look up.
    ///
    /// ```yaml
    /// - lookup:
    ///     each: $.line_items
    ///     table: articles
    ///     where: { gtin: $item.barcode }
    ///     into: article
    ///     missing: leave_out
    /// ```
    "lookup", Settings::shape, read
}

settings! {
    /// What to find, and where to put it.
    pub struct Settings {
        /// A list whose items each get their row: a path of names and numbers to it, or `[*]` for each item, as in `$.orders[*].lines[*]`. Without it there is one row, for the document.
        each: Option<Place>,
        /// The table's name.
        table: TableName,
        /// The table's key columns and the values they must have.
        r#where: Columns,
        /// The field the row is put into.
        into: Text,
        /// What to do where no row is found.
        missing: Missing = "fail",
    }
}

#[derive(Debug)]
struct Lookup {
    enrich: Enrich,
    table: Text,
    durable: bool,
    /// The key columns in the table's order, and what they must be.
    key: Vec<(Text, Template)>,
    missing: Missing,
}

fn read(node: &Node, reader: &mut Reader<'_>, place: &StepPlace<'_>) -> Option<Box<dyn Step>> {
    let Settings { each, table, r#where, into, missing } = Settings::read(node, reader)?;
    let Some((columns, durable)) = key_columns(place.tables, &table.name) else {
        table.unknown(place.tables, reader);
        return None;
    };
    let names: Vec<&str> = columns.iter().map(Text::as_str).collect();
    if !r#where.check(&names, &names, reader) {
        return None;
    }
    let key = columns.iter().filter_map(|column| Some((column.clone(), r#where.get(column)?.clone()))).collect();
    Some(Box::new(Lookup { enrich: Enrich { each, into }, table: table.name, durable, key, missing }))
}

/// The key columns of a table, and whether it is a durable one.
fn key_columns<'t>(tables: &'t TableNames, table: &str) -> Option<(&'t [Text], bool)> {
    let file = tables.files.get(table).map(|columns| (&columns[..columns.len().min(1)], false));
    file.or_else(|| tables.durable.get(table).map(|durable| (durable.key.as_slice(), true)))
}

impl Step for Lookup {
    fn needs_world(&self) -> bool {
        self.durable
    }

    fn asks(&self, document: &Value, context: &Context<'_>) -> Result<Vec<Ask>, Fault> {
        if !self.durable {
            return Ok(Vec::new());
        }
        let asks = self.enrich.for_each(document, context, |scope| {
            let Some(by) = self.key_in(scope)? else { return Ok(None) };
            let key = key_text(by.iter().map(|(_, value)| value)).ok_or_else(|| no_key(&by))?;
            Ok(Some(Ask::Row { table: self.table.clone(), key, by }))
        })?;
        Ok(asks.into_iter().flatten().collect())
    }

    fn apply(
        &self,
        mut document: Value,
        context: &Context<'_>,
        answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        let mut answers = answers.into_iter();
        let rows = self.enrich.for_each(&document, context, |scope| {
            let by = self.key_in(scope)?;
            let row = match &by {
                None => None,
                Some(_) if self.durable => match answers.next() {
                    Some(Answer::Row(row)) => row,
                    _ => return Err(Fault::misconfigured("STEP-ANSWER", "the row of a `lookup` was not looked up")),
                },
                Some(by) => self.row_of_file(by, context)?,
            };
            match self.missing {
                Missing::Fail if row.is_none() => Err(self.not_found(by.as_deref())),
                _ => Ok(row.map(Value::Map)),
            }
        })?;
        self.enrich
            .put(&mut document, rows, |said| Fault::refuse("LOOKUP-PLACE", format!("the row cannot be put {said}")))?;
        out.push(document)
    }
}

type By = Vec<(Text, Value)>;

impl Lookup {
    fn key_in(&self, scope: &Scope<'_>) -> Result<Option<By>, Fault> {
        let value = |(column, value): &(Text, Template)| Ok(value.render(scope)?.map(|value| (column.clone(), value)));
        self.key.iter().map(value).collect()
    }

    fn row_of_file(&self, by: &[(Text, Value)], context: &Context<'_>) -> Result<Option<Map>, Fault> {
        let key = by.first().and_then(|(_, value)| key_part(value)).ok_or_else(|| no_key(by))?;
        Ok(context.tables.row(&self.table, &key)?.cloned())
    }

    fn not_found(&self, by: Option<&[(Text, Value)]>) -> Fault {
        let said = match by {
            Some(by) => format!("table `{}` has no row where {}", self.table, written(by)),
            None => format!("nothing to look up in table `{}`: an optional path of `where` finds nothing", self.table),
        };
        Fault::refuse("LOOKUP-MISSING", said)
    }
}

fn no_key(by: &[(Text, Value)]) -> Fault {
    let said = format!("{}: a key is a text, a number or a boolean; nothing can be found by this", written(by));
    Fault::refuse("LOOKUP-KEY", said)
}

/// `` `gtin` is "123" and … ``
fn written(by: &[(Text, Value)]) -> String {
    let one = |(column, value): &(Text, Value)| match value {
        Value::List(_) | Value::Map(_) => format!("`{column}` is {}", value.kind()),
        scalar => format!("`{column}` is {scalar}"),
    };
    by.iter().map(one).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use crate::steps::check::{check, refused};

    #[test]
    fn rows_come_from_files() {
        let step = "- lookup: { each: $.l, table: articles, where: { gtin: $item.g }, into: article }";
        let document = r#"{"l":[{"g":"111"},{"g":222}]}"#;
        let expect = r#"{"l":[{"g":"111","article":{"gtin":"111","name":"Lamp","supplier":"acme"}},{"g":222,"article":{"gtin":"222","name":"Chair"}}]}"#;
        check(step, document, expect);
        check(step, r#"{"l":[]}"#, r#"{"l":[]}"#);
        check(
            step,
            r#"{"l":[{"g":"999"}]}"#,
            "LOOKUP-MISSING: table `articles` has no row where `gtin` is \"999\" (steps[0] lookup, $.l[0])",
        );
        check(step, r#"{"l":[{"g":"111"},{"g":null}]}"#, "LOOKUP-KEY (steps[0] lookup, $.l[1])");
        check(step, r#"{"l":[{}]}"#, "FORMULA-MISSING (steps[0] lookup, $.l[0].g)");
        let texts = "- lookup: { each: $.l, table: articles, where: { gtin: $item }, into: article }";
        check(texts, r#"{"l":["111"]}"#, "LOOKUP-PLACE (steps[0] lookup, $.l[0])");
        check(step, "{}", "FORMULA-MISSING (steps[0] lookup, $.l)");
    }

    #[test]
    fn rows_come_from_durable_tables() {
        let step = "- lookup: { table: orders, where: { shop: web, order: $.n }, into: erp }";
        check(step, r#"{"n":"1042"}"#, r#"{"n":"1042","erp":{"shop":"web","order":"1042","erp_id":77}}"#);
        check(step, r#"{"n":1042}"#, r#"{"n":1042,"erp":{"shop":"web","order":"1042","erp_id":77}}"#);
        check(step, r#"{"n":"9"}"#, "LOOKUP-MISSING (steps[0] lookup)");
    }

    #[test]
    fn what_is_missing_may_be_left_out() {
        let step = "- lookup: { table: articles, where: { gtin: $.g }, into: article, missing: leave_out }";
        check(step, r#"{"g":"999"}"#, r#"{"g":"999"}"#);
        check(step, r#"{"g":[]}"#, "LOOKUP-KEY (steps[0] lookup)");
        let optional = "- lookup: { each: $.l, table: orders, where: { shop: web, order: $item.n? }, into: erp, missing: leave_out }";
        let expect = r#"{"l":[{},{"n":1042,"erp":{"shop":"web","order":"1042","erp_id":77}},{}]}"#;
        check(optional, r#"{"l":[{},{"n":1042},{}]}"#, expect);
        let needed = "- lookup: { table: articles, where: { gtin: $.g? }, into: article }";
        check(needed, "{}", "LOOKUP-MISSING (steps[0] lookup)");
    }

    #[test]
    fn tables_and_columns_are_checked() {
        refused(
            "- lookup: { table: articels, where: { gtin: a }, into: x }",
            "1:20 unknown table `articels`; did you mean `articles`?",
        );
        refused(
            "- lookup: { table: articles, where: { gtim: a }, into: x }",
            "1:39 unknown column `gtim`; did you mean `gtin`?",
        );
        refused("- lookup: { table: articles, where: { gtim: a }, into: x }", "1:37 column `gtin` is missing");
        refused("- lookup: { table: articles, where: { gtin: a, name: b }, into: x }", "1:48 unknown column `name`");
        refused(
            "- lookup: { table: orders, where: { order: a }, into: x }",
            "column `shop` is missing; `shop` belongs to the table's key",
        );
        refused(
            "- lookup: { table: articles, where: { gtin: a }, into: x, missing: ignore }",
            "1:68 unknown word `ignore`",
        );
        refused(
            "- lookup: { each: '$..l', table: articles, where: { gtin: a }, into: x }",
            "1:19 `$..l` is not a place",
        );
    }
}
