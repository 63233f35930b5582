//! What segments and elements are about, in two or three words of our own.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::edi::syntax::{Dialect, Tag};

const LABELS: &str = include_str!("data/labels.txt");

/// The label of a segment, element or composite; none for what retail hardly uses.
pub fn label(dialect: Dialect, name: Tag) -> Option<&'static str> {
    static MADE: OnceLock<HashMap<(Dialect, Tag), &'static str>> = OnceLock::new();
    let labels = MADE.get_or_init(|| LABELS.lines().filter_map(read).collect());
    labels.get(&(dialect, name)).copied()
}

/// `u NAD party`
fn read(line: &'static str) -> Option<((Dialect, Tag), &'static str)> {
    let (dialect, rest) = line.split_once(' ')?;
    let (name, label) = rest.split_once(' ')?;
    let dialect = match dialect {
        "u" => Dialect::Edifact,
        "x" => Dialect::X12,
        _ => return None,
    };
    Some(((dialect, Tag::new(name)), label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edi::directory::Library;
    use crate::edi::reader::MessageType;

    #[test]
    fn labels_are_short_and_name_something() {
        assert_eq!(label(Dialect::Edifact, Tag::new("NAD")), Some("party"));
        assert_eq!(label(Dialect::X12, Tag::new("N1")), Some("party"));
        assert_eq!(label(Dialect::X12, Tag::new("NAD")), None);
        let lines = LABELS.lines().filter(|line| !line.starts_with('#'));
        let read: Vec<_> = lines.map(|line| read(line).unwrap_or_else(|| panic!("{line}"))).collect();
        let mut names: Vec<_> = read.iter().map(|((dialect, name), _)| (*dialect == Dialect::X12, *name)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), read.len(), "one stands twice");
        assert!(read.iter().all(|(_, label)| label.len() <= 30), "a label is long");
    }

    #[test]
    fn what_orders_are_made_of_has_labels() {
        for (dialect, name, release) in [(Dialect::Edifact, "ORDERS", "96A"), (Dialect::X12, "850", "004010")] {
            let version = if dialect == Dialect::Edifact { "D" } else { "" };
            let kind = MessageType {
                name: name.into(),
                version: version.into(),
                release: release.into(),
                ..MessageType::default()
            };
            let found = Library::shipped().find(dialect, &kind, 3).expect("shipped");
            let root = found.definition.children(0).iter().filter(|node| !node.group);
            let without: Vec<_> = root.filter(|node| label(dialect, node.tag).is_none()).map(|node| node.tag).collect();
            assert!(without.len() <= 1, "{name}: {without:?}");
        }
    }
}
