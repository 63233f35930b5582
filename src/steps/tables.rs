//! The tables steps may name: files of `config/tables/*.csv`, and durable tables described by `config/tables/*.yaml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::CsvTables;
use super::beside::read_text;
use crate::config::{FileId, Key, Kind, MAX_BYTES, Node, Reader, Setting, Shape, Span, parse, settings};
use crate::formula::Template;
use crate::message::{Number, Text, Value};

const FOLDER: &str = "config/tables";

/// The tables that exist: names to columns.
#[derive(Clone, Debug, Default)]
pub struct TableNames {
    /// `config/tables/*.csv`: the first column is the key.
    pub files: BTreeMap<Text, Vec<Text>>,
    /// `config/tables/*.yaml`, kept in the store.
    pub durable: BTreeMap<Text, DurableTable>,
}

settings! {
    /// A durable table: what the hub remembers between messages, for instance the ERP's number of each web order.
    /// `remember` writes rows, `lookup` reads them.
    pub struct DurableTable {
        /// What the table is for, for the next reader.
        about: Option<Text>,
        /// The columns that together name a row. A row written with the same key replaces the one before.
        key: Vec<Text>,
        /// The other columns.
        columns: Vec<Text>,
        /// How long a row is kept after it was last written. No longer than needed where it holds people's data.
        retention: Duration,
    }
}

impl TableNames {
    fn all(&self) -> impl Iterator<Item = &str> {
        self.files.keys().chain(self.durable.keys()).map(Text::as_str)
    }
}

impl DurableTable {
    pub fn has(&self, column: &str) -> bool {
        self.key.iter().chain(&self.columns).any(|known| known == column)
    }

    /// Reports columns that stand twice, and a key of none.
    fn check(&self, span: Span, reader: &mut Reader<'_>) -> bool {
        let all: Vec<&Text> = self.key.iter().chain(&self.columns).collect();
        let twice = (1..all.len()).find(|at| all[..*at].contains(&all[*at]));
        if let Some(at) = twice {
            reader
                .error(span.part(0, 1), format!("column `{}` stands twice", all[at]))
                .label("in `key` and `columns` together, each column stands once");
        }
        if self.key.is_empty() {
            reader.error(span.part(0, 1), "`key` names no column").label("a row needs a column that names it");
        }
        twice.is_none() && !self.key.is_empty()
    }
}

/// The values of key columns, in the table's order, as one text that only equal keys share. A number and a text of the same
/// digits are the same key (`12`, `'12'` and `12.0`): one system writes an id in quotes, the next without. `None` where
/// a value is null, a list or a map, which name nothing.
pub fn key_text<'v>(values: impl IntoIterator<Item = &'v Value>) -> Option<Text> {
    let parts: Option<Vec<Value>> = values.into_iter().map(|value| key_part(value).map(Value::Text)).collect();
    parts.map(|parts| Value::List(parts).to_string().into())
}

/// One value of a key as text; numbers without the zeros that do not count.
pub(super) fn key_part(value: &Value) -> Option<Text> {
    match value {
        Value::Number(Number::Decimal(decimal)) => Some(decimal.normalize().to_string().into()),
        other => other.plain(),
    }
}

/// Reads the tables of a hub whose folder is `hub`: the files' rows, and the names of all for [`super::StepPlace`]. From here
/// on `reader` knows the files' columns, and reports formulas that name others.
pub fn read_tables(hub: &Path, reader: &mut Reader<'_>) -> (CsvTables, TableNames) {
    let paths = match files_in(&hub.join(FOLDER)) {
        Ok(paths) => paths,
        Err(error) => {
            let file = reader.files.add(FOLDER, "");
            reader.error(start_of(file), format!("cannot read the folder {FOLDER}: {error}")).label("this folder");
            Vec::new()
        }
    };
    let mut tables = CsvTables::default();
    let mut names = TableNames::default();
    for path in paths {
        let (Some(stem), Some(name)) = (path.file_stem(), path.file_name()) else { continue };
        let shown = Path::new(FOLDER).join(name);
        let table: Text = stem.to_string_lossy().into();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => tables.load(table, &path, &shown, reader),
            Some("yaml") => {
                if let Some(read) = read_durable(&path, &shown, reader) {
                    names.durable.insert(table, read);
                }
            }
            _ => {}
        }
    }
    names.files = tables.columns();
    reader.tables = Some(names.files.clone());
    refuse_doubles(&names, reader);
    (tables, names)
}

/// The files of a folder by name; none where there is no folder.
fn files_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn read_durable(path: &Path, shown: &Path, reader: &mut Reader<'_>) -> Option<DurableTable> {
    let text = match read_text(path, MAX_BYTES) {
        Ok(text) => text,
        Err(said) => {
            let file = reader.files.add(shown, "");
            reader.error(start_of(file), said).label("this file");
            return None;
        }
    };
    let file = reader.files.add(shown, text);
    let node = parse(file, &reader.files.text(file), &mut reader.problems)?;
    let table = DurableTable::read(&node, reader)?;
    table.check(node.span, reader).then_some(table)
}

fn refuse_doubles(names: &TableNames, reader: &mut Reader<'_>) {
    for name in names.durable.keys().filter(|name| names.files.contains_key(*name)) {
        let file = reader.files.add(format!("{FOLDER}/{name}.yaml"), "");
        reader
            .error(start_of(file), format!("two tables are called `{name}`"))
            .label(format!("`{name}.csv` stands beside this file"));
    }
}

pub(super) fn start_of(file: FileId) -> Span {
    Span { file, start: 0, end: 0 }
}

/// A table named in a step.
#[derive(Clone, Debug)]
pub(super) struct TableName {
    pub name: Text,
    pub span: Span,
}

impl TableName {
    /// Reports a name no table has.
    pub fn unknown(&self, tables: &TableNames, reader: &mut Reader<'_>) {
        reader.unknown(self.span, "table", &self.name, tables.all());
    }
}

impl Setting for TableName {
    fn shape() -> Shape {
        Shape::Text { what: "name of a table", pattern: None, example: "articles" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<TableName> {
        reader.text(node).map(|name| TableName { name, span: node.span })
    }
}

/// Columns and what they hold: `{ order: $.number }`.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub span: Span,
    pub values: Vec<(Key, Template)>,
}

impl Columns {
    /// Reports the columns the table does not have, and those of `required` that are not there.
    pub fn check<'t>(&self, columns: &[&'t str], required: &[&'t str], reader: &mut Reader<'_>) -> bool {
        let mut sound = true;
        for (key, _) in self.values.iter().filter(|(key, _)| !columns.contains(&key.name.as_str())) {
            reader.unknown(key.span, "column", &key.name, columns.iter().copied());
            sound = false;
        }
        for column in required.iter().filter(|column| self.get(column).is_none()) {
            reader
                .error(self.span.part(0, 1), format!("column `{column}` is missing"))
                .label(format!("`{column}` belongs to the table's key"));
            sound = false;
        }
        sound
    }

    pub fn get(&self, column: &str) -> Option<&Template> {
        self.values.iter().find(|(key, _)| key.name == column).map(|(_, value)| value)
    }
}

impl Setting for Columns {
    fn shape() -> Shape {
        Shape::Named(|| Box::new(Template::shape()))
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Columns> {
        let Kind::Map { fields, .. } = &node.kind else {
            return reader.map(node).and(None);
        };
        let read: Vec<_> =
            fields.iter().map(|(key, node)| Some((key.clone(), Template::read(node, reader)?))).collect();
        read.into_iter().collect::<Option<_>>().map(|values| Columns { span: node.span, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Files, render};
    use crate::formula::Tables;
    use crate::message::json;

    /// Reads one file of `config/tables`: its problems as `line:column message; label`, or its rows.
    fn check(name: &str, content: &[u8], key: &str, expect: &str) {
        let hub = std::env::temp_dir().join(format!("raccord-tables-{}", crate::message::MessageId::draw()));
        std::fs::create_dir_all(hub.join(FOLDER)).expect("a folder can be made");
        std::fs::write(hub.join(FOLDER).join(name), content).expect("a file can be written");
        let (files, environment) = (Files::default(), Environment::default());
        let mut reader = Reader::new(&files, &environment);
        let (tables, names) = read_tables(&hub, &mut reader);
        std::fs::remove_dir_all(&hub).expect("the folder can be removed");
        let problems = std::mem::take(&mut reader.problems);
        let said: Vec<String> = problems
            .iter()
            .map(|problem| {
                let (line, column) = files.line_column(problem.span);
                format!("{line}:{column} {}; {}", problem.message, problem.label)
            })
            .collect();
        assert!(problems.is_empty() || render(&files, &problems, false).contains(&format!("{FOLDER}/{name}")));
        let table = name.split('.').next().unwrap_or_default();
        let row = || match names.durable.get(table) {
            Some(durable) => format!("{:?} {:?}", durable.key, durable.columns),
            None => match tables.row(table, key).expect("the table is there") {
                Some(row) => Value::Map(row.clone()).to_string(),
                None => "no row".to_owned(),
            },
        };
        let said = if said.is_empty() { row() } else { said.join("\n") };
        assert_eq!(said, expect, "{}", String::from_utf8_lossy(content));
    }

    #[test]
    fn files_are_read_as_spreadsheets_save_them() {
        check("t.csv", b"a,b\n1,x\n", "1", r#"{"a":"1","b":"x"}"#);
        check("t.csv", b"\xef\xbb\xbfa;b\r\n1;x,y\r\n2;\r\n;\r\n", "1", r#"{"a":"1","b":"x,y"}"#);
        check("t.csv", b"a\tb\r\n1\t\"x\ty\"\r\n", "1", r#"{"a":"1","b":"x\ty"}"#);
        check("t.csv", b"a,b,c\n007,,\" z\"\n", "007", r#"{"a":"007","c":" z"}"#);
        check("t.csv", "clé;libellé\né;à\n".as_bytes(), "é", r#"{"clé":"é","libellé":"à"}"#);
        check("t.csv", b"a,b\n1,x\n", "2", "no row");
    }

    #[test]
    fn mistakes_in_files_are_told_with_their_lines() {
        check("t.csv", b"", "", "1:1 the table is empty; the first line names the columns");
        check("t.csv", b"a,b\n1,x\n\n1,y\n", "", "4:1 key `1` stands twice; first in line 2");
        check("t.csv", b"a,b\r\n1,x\r\n1,y\r\n", "", "3:1 key `1` stands twice; first in line 2");
        check(
            "t.csv",
            b"a,b\n1\n2,y,z\n",
            "",
            "2:1 1 cell where the first line names 2 columns; a separator too many or too few, or a quote left open\n3:1 3 cells where the first line names 2 columns; a separator too many or too few, or a quote left open",
        );
        check("t.csv", b"a,b\n,x\n", "", "2:1 a row without a key; `a` is empty");
        check(
            "t.csv",
            b"a,a,\n1,2,3\n",
            "",
            "1:1 column `a` stands twice; each column has its own name\n1:1 a column without a name; the first line names each column",
        );
        check(
            "t.csv",
            b"a,b\n1,caf\xe9\n",
            "",
            "2:6 the file is not UTF-8 text: a character cannot be read; save the file as CSV UTF-8",
        );
        check(
            "t.csv",
            b"\xff\xfea\0",
            "",
            "1:1 the file is not UTF-8 text: a character cannot be read; save the file as CSV UTF-8",
        );
    }

    #[test]
    fn durable_tables_are_described() {
        check("t.yaml", b"key: [a]\ncolumns: [b, c]\nretention: 1d\n", "", r#"["a"] ["b", "c"]"#);
        check("t.yaml", b"key: [a]\ncolumns: [b]\n", "", "1:1 `retention` is missing; `retention` is required here");
        check(
            "t.yaml",
            b"key: [a]\ncolumns: [b, a]\nretention: 1d\n",
            "",
            "1:1 column `a` stands twice; in `key` and `columns` together, each column stands once",
        );
        check(
            "t.yaml",
            b"columns: [b]\nretention: 1d\n",
            "",
            "1:1 `key` names no column; a row needs a column that names it",
        );
    }

    #[test]
    fn a_name_is_one_table() {
        let hub = std::env::temp_dir().join(format!("raccord-tables-{}", crate::message::MessageId::draw()));
        std::fs::create_dir_all(hub.join(FOLDER)).expect("a folder can be made");
        std::fs::write(hub.join(FOLDER).join("t.csv"), "a\n1\n").expect("a file can be written");
        std::fs::write(hub.join(FOLDER).join("t.yaml"), "key: [a]\nretention: 1d\n").expect("a file can be written");
        let (files, environment) = (Files::default(), Environment::default());
        let mut reader = Reader::new(&files, &environment);
        read_tables(&hub, &mut reader);
        std::fs::remove_dir_all(&hub).expect("the folder can be removed");
        let shown = render(&files, &reader.problems, false);
        assert!(shown.contains("two tables are called `t`") && shown.contains("config/tables/t.yaml"), "{shown}");
        let none = read_tables(&hub, &mut Reader::new(&files, &environment));
        assert!(none.1.files.is_empty() && none.1.durable.is_empty());
    }

    #[test]
    fn a_file_has_a_bounded_number_of_problems() {
        let (files, environment) = (Files::default(), Environment::default());
        let mut reader = Reader::new(&files, &environment);
        let path = std::env::temp_dir().join(format!("raccord-table-{}.csv", crate::message::MessageId::draw()));
        std::fs::write(&path, format!("a,b\n{}", "1\n".repeat(1000))).expect("a file can be written");
        CsvTables::default().load("t".into(), &path, Path::new("t.csv"), &mut reader);
        std::fs::remove_file(&path).expect("the file can be removed");
        assert_eq!(reader.problems.len(), 20);
        assert_eq!(reader.problems[0].help.as_deref(), Some("this file has 980 more problems"));
    }

    #[test]
    fn only_equal_keys_share_their_text() {
        let key = |document: &str| {
            let value = json::read(document.as_bytes()).expect("this is JSON");
            key_text(value.as_list().expect("this is a list")).map(|key| key.to_string())
        };
        assert_eq!(key(r#"["a","b"]"#).as_deref(), Some(r#"["a","b"]"#));
        assert_ne!(key(r#"["a,","b"]"#), key(r#"["a",",b"]"#));
        assert_ne!(key(r#"["a\",\"b"]"#), key(r#"["a","b"]"#));
        assert_eq!(key("[12.0, true]"), key(r#"["12", "true"]"#));
        assert_ne!(key(r#"["012"]"#), key("[12]"));
        assert_eq!((key("[null]"), key("[[1]]")), (None, None));
    }
}
