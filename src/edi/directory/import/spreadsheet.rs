//! Messages of a guideline from a table made in a spreadsheet: a row a segment or group, in order.
//!
//! ```text
//! message,group,segment,status,max
//! ORDERS,,UNH,M,1
//! ORDERS,,SG2,R,99         a group
//! ORDERS,SG2,NAD,M,1       what stands in it
//! ORDERS,,UNT,M,1
//! ```
//! `M` or `R` must be there; `N` or `X` is not used, nor what stands in it; anything else may be there. Columns may stand in
//! any order, between `,`, `;` or tabs; others are not looked at.

use std::collections::BTreeMap;

use super::{Heading, Left, Made};
use crate::edi::syntax::{Dialect, Tag};

const COLUMNS: [&str; 5] = ["message", "group", "segment", "status", "max"];

/// Whether a text begins as such a table.
pub fn is_spreadsheet(text: &str) -> bool {
    columns(text).is_some()
}

/// The delimiter, and where each column is.
fn columns(text: &str) -> Option<(u8, [usize; 5])> {
    let head = text.trim_start_matches('\u{FEFF}').lines().next()?;
    [b',', b';', b'\t'].into_iter().find_map(|delimiter| {
        let names: Vec<String> =
            head.split(char::from(delimiter)).map(|name| name.trim().trim_matches('"').to_lowercase()).collect();
        let mut at = [0; 5];
        for (place, column) in at.iter_mut().zip(COLUMNS) {
            *place = names.iter().position(|name| name == column)?;
        }
        Some((delimiter, at))
    })
}

/// A segment or group.
struct Row {
    name: String,
    usage: String,
    used: bool,
    children: Vec<usize>,
    line: usize,
}

/// What was read of a message: its rows, those without a group, and the groups by name.
#[derive(Default)]
struct Sheet {
    rows: Vec<Row>,
    top: Vec<usize>,
    groups: BTreeMap<String, usize>,
}

/// The tables of a spreadsheet.
///
/// # Errors
/// The first row that is wrong.
pub fn spreadsheet(text: &str, heading: Heading) -> Result<Made, Left> {
    let wrong = |line: usize, why: String| Left { line, why };
    let text = text.trim_start_matches('\u{FEFF}');
    let (delimiter, at) =
        columns(text).ok_or_else(|| wrong(1, format!("the first row must name the columns {}", COLUMNS.join(", "))))?;
    let mut sheets: BTreeMap<String, Sheet> = BTreeMap::new();
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text.as_bytes());
    for record in reader.records() {
        let record = record.map_err(|error| wrong(0, error.to_string()))?;
        let line = record.position().map_or(0, |position| position.line() as usize);
        let [message, group, segment, status, max] = at.map(|at| record.get(at).unwrap_or_default().trim());
        if [message, segment].iter().all(|cell| cell.is_empty()) {
            continue;
        }
        if message.is_empty() || !message.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(wrong(line, format!("`{message}` is no message")));
        }
        let sheet = sheets.entry(message.to_owned()).or_default();
        let row = row(segment, status, max, line).map_err(|why| wrong(line, why))?;
        sheet.add(row, group).map_err(|why| wrong(line, why))?;
    }
    let mut tables = format!(
        "# Made by `raccord edi import` from a spreadsheet; docs/edi.md says how to read it.\nd {} {} {}\n",
        if heading.dialect == Dialect::X12 { "x12" } else { "edifact" },
        heading.release,
        heading.guideline,
    );
    tables = tables.replace(" \n", "\n");
    for (message, sheet) in &sheets {
        let mut structure = Vec::new();
        sheet.write(&sheet.top, &mut structure).map_err(|(line, why)| wrong(line, why))?;
        tables.push_str(&format!("m {message} {}\n", structure.join(" ")));
    }
    if sheets.is_empty() {
        return Err(wrong(0, "it has no rows".to_owned()));
    }
    Ok(Made { heading, tables, messages: sheets.len(), segments: 0, left: Vec::new() })
}

/// `SG12`, `12`
fn is_group(name: &str) -> bool {
    let number = name.strip_prefix("SG").unwrap_or(name);
    !number.is_empty() && number.len() <= 4 && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn row(name: &str, status: &str, max: &str, line: usize) -> Result<Row, String> {
    if !is_group(name) && (Tag::new(name).is_empty() || !(2..=3).contains(&name.len())) {
        return Err(format!("`{name}` is neither a segment nor a group as SG2"));
    }
    let bang = if matches!(status, "M" | "R" | "m" | "r") { "!" } else { "" };
    let max = match max {
        "" | "1" => String::new(),
        ">" | ">1" | "*" | "unbounded" => ":>".to_owned(),
        max => match max.parse::<u32>() {
            Ok(max) if max > 0 => format!(":{max}"),
            _ => return Err(format!("`{max}` is not how often it may be there")),
        },
    };
    let used = !matches!(status, "N" | "X" | "n" | "x");
    Ok(Row { name: name.to_owned(), usage: format!("{bang}{max}"), used, children: Vec::new(), line })
}

impl Sheet {
    fn add(&mut self, row: Row, group: &str) -> Result<(), String> {
        let number = self.rows.len();
        match group {
            "" => self.top.push(number),
            group => {
                let around = self.groups.get(group).copied().and_then(|at| self.rows.get_mut(at));
                around.ok_or_else(|| format!("the group {group} has no row above"))?.children.push(number);
            }
        }
        if is_group(&row.name) && self.groups.insert(row.name.clone(), number).is_some() {
            return Err(format!("the group {} has two rows", row.name));
        }
        self.rows.push(row);
        Ok(())
    }

    /// Groups stand below others that stand above, so this ends.
    fn write(&self, rows: &[usize], out: &mut Vec<String>) -> Result<(), (usize, String)> {
        for row in rows.iter().filter_map(|number| self.rows.get(*number)).filter(|row| row.used) {
            if !is_group(&row.name) {
                out.push(format!("{}{}", row.name, row.usage));
                continue;
            }
            let mut inner = Vec::new();
            self.write(&row.children, &mut inner)?;
            if inner.is_empty() || inner[0].starts_with('(') {
                return Err((row.line, format!("the group {} does not begin with a segment that is used", row.name)));
            }
            out.push(format!("({}{} {})", row.name.trim_start_matches("SG"), row.usage, inner.join(" ")));
        }
        Ok(())
    }
}
