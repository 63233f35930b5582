//! Cross-reference tables: `config/tables/*.csv`.

use super::{Body, Family, Function, Given, Kind, may, need};
use crate::formula::faults;
use crate::message::{Fault, Value};

pub const ALL: &[Function] = &[Function {
    name: "table",
    family: Family::Tables,
    parameters: &[
        need("table", Kind::Text),
        need("key", Kind::Plain),
        need("column", Kind::Text),
        may("default", Kind::Any),
    ],
    result: Kind::Any,
    about: "What stands in a column of `config/tables/<table>.csv`, in the row whose first column is the key. A row that is not \
            there is a fault, unless there is a default.",
    example: "[table('stores', 'P01', 'erp_code'), table('stores', 'P99', 'erp_code', 'none')]",
    gives: "['75011', 'none']",
    body: Body::Plain(table),
}];

fn table(given: &Given<'_>) -> Result<Value, Fault> {
    let (table, key, column) = (given.text(0), given.plain(1), given.text(2));
    match given.frame.scope.tables.row(table, &key)? {
        Some(row) => match row.get(column) {
            Some(value) => Ok(value.clone()),
            None => Err(Fault::misconfigured("FORMULA-TABLE", format!("table `{table}` has no column `{column}`"))),
        },
        None => match given.get(3) {
            Some(default) => Ok(default.clone()),
            None => {
                let said = format!("table `{table}` has no row for '{}'", faults::cut(&key));
                Err(faults::at(faults::missing(said), &given.expressions[1]))
            }
        },
    }
}
