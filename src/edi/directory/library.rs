//! The definition for a message: its own, or that of the nearest release at hand.

use std::sync::OnceLock;

use super::{Definition, Directory};
use crate::edi::reader::MessageType;
use crate::edi::syntax::Dialect;

/// Directories to look definitions up in.
#[derive(Debug)]
pub struct Library {
    own: Vec<Own>,
    /// The shipped one stands behind.
    shipped: bool,
}

/// A directory that was added.
#[derive(Debug)]
pub(super) struct Own {
    pub directory: Directory,
    /// Whether its envelope is that of syntax 4 or of those before; none: whatever it is.
    pub fourth: Option<bool>,
}

/// A definition found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    pub directory: &'a Directory,
    pub definition: &'a Definition,
    /// Of the very release the message states.
    pub exact: bool,
}

const D96A: &str = include_str!("data/d96a.txt");
const D01B: &str = include_str!("data/d01b.txt");
const SERVICE_3: &str = include_str!("data/service3.txt");
const SERVICE_4: &str = include_str!("data/service4.txt");
const X4010: &str = include_str!("data/x4010.txt");
const X5010: &str = include_str!("data/x5010.txt");
const X999: &str = include_str!("data/x999.txt");
const ENVELOPE: &str = include_str!("data/envelope.txt");

/// What is shipped: each release with the service segments of a syntax.
static SHIPPED: [(Dialect, &str, bool, &[&str]); 6] = [
    (Dialect::Edifact, "D.96A", false, &[SERVICE_3, D96A]),
    (Dialect::Edifact, "D.96A", true, &[D96A, SERVICE_4]),
    (Dialect::Edifact, "D.01B", false, &[SERVICE_3, D01B]),
    (Dialect::Edifact, "D.01B", true, &[D01B, SERVICE_4]),
    (Dialect::X12, "004010", false, &[ENVELOPE, X4010]),
    (Dialect::X12, "005010", false, &[ENVELOPE, X5010, X999]),
];

/// The segments of the envelope.
pub(super) fn service(dialect: Dialect, fourth: bool) -> &'static str {
    match (dialect, fourth) {
        (Dialect::X12, _) => ENVELOPE,
        (Dialect::Edifact, false) => SERVICE_3,
        (Dialect::Edifact, true) => SERVICE_4,
    }
}

/// The shipped tables of a release, without its envelope.
pub(super) fn release_text(dialect: Dialect, release: &str) -> Option<&'static str> {
    let texts = [
        (Dialect::Edifact, "D.96A", D96A),
        (Dialect::Edifact, "D.01B", D01B),
        (Dialect::X12, "004010", X4010),
        (Dialect::X12, "005010", X5010),
    ];
    texts.iter().find(|(known, name, _)| *known == dialect && *name == release).map(|(_, _, text)| *text)
}

/// Shipped directory `number`, made on first use.
fn shipped(number: usize) -> Option<&'static Directory> {
    static MADE: [OnceLock<Option<Directory>>; SHIPPED.len()] = [const { OnceLock::new() }; SHIPPED.len()];
    let (dialect, release, _, tables) = &SHIPPED[number];
    MADE[number].get_or_init(|| Directory::parse(*dialect, release, tables).ok()).as_ref()
}

impl Library {
    /// The tables raccord ships: EDIFACT D.96A and D.01B, X12 4010 and 5010.
    pub fn shipped() -> &'static Library {
        static LIBRARY: Library = Library { own: Vec::new(), shipped: true };
        &LIBRARY
    }

    /// `directories` first, what is shipped behind them.
    pub fn with(directories: Vec<Directory>) -> Library {
        Library::of(directories.into_iter().map(|directory| Own { directory, fourth: None }).collect())
    }

    pub(super) fn of(own: Vec<Own>) -> Library {
        Library { own, shipped: true }
    }

    /// The definition of a message; `syntax` is the syntax version of its interchange.
    pub fn find(&self, dialect: Dialect, kind: &MessageType, syntax: u8) -> Option<Found<'_>> {
        let (wanted, fourth) = (release(dialect, kind), syntax == 4);
        let fits = |own: &&Own| own.directory.dialect == dialect && own.fourth.is_none_or(|of| of == fourth);
        let own = self.own.iter().filter(fits).map(|own| &own.directory);
        let own = own.filter(|directory| directory.message(&kind.name).is_some());
        // The letters of an industry stand after the release of X12.
        let letters = kind.release.strip_prefix(&wanted).unwrap_or_default();
        let is_guideline = |name: &str| !name.is_empty() && (name == kind.association || name == letters);
        let of_release = own.clone().filter(|directory| directory.release == wanted);
        let guideline = of_release.clone().find(|directory| is_guideline(&directory.guideline));
        let own = own.filter(|directory| directory.guideline.is_empty());
        let exact = guideline.or_else(|| own.clone().find(|directory| directory.release == wanted));
        if let Some(directory) = exact {
            return Some(Found { directory, definition: directory.message(&kind.name)?, exact: true });
        }
        let mut choices: Vec<(usize, &Directory)> = (0..SHIPPED.len())
            .filter(|number| self.shipped && SHIPPED[*number].0 == dialect)
            .filter(|number| dialect == Dialect::X12 || SHIPPED[*number].2 == fourth)
            .filter_map(|number| -> Option<&Directory> { shipped(number) })
            .chain(own)
            .filter(|directory| directory.message(&kind.name).is_some())
            .map(|directory| (distance(dialect, &directory.release, &wanted), directory))
            .collect();
        choices.sort_by_key(|(distance, _)| *distance);
        let (distance, directory) = *choices.first()?;
        let (definition, service) = (directory.message(&kind.name)?, kind.name == "CONTRL" || kind.name == "999");
        Some(Found { directory, definition, exact: distance == 0 || service })
    }
}

/// The release a message states, as directories name it.
fn release(dialect: Dialect, kind: &MessageType) -> String {
    match dialect {
        Dialect::Edifact => format!("{}.{}", kind.version.trim(), kind.release.trim()),
        // The industry's letters come after six digits.
        Dialect::X12 => kind.release.chars().take_while(char::is_ascii_digit).take(6).collect(),
    }
}

/// How far two releases are from each other: 0 is the same, else about a tenth of a year each.
fn distance(dialect: Dialect, one: &str, other: &str) -> usize {
    if one == other {
        return 0;
    }
    let age = |release: &str| -> Option<usize> {
        match dialect {
            // D.96A: two a year.
            Dialect::Edifact => {
                let letters = release.strip_prefix("D.").or_else(|| release.strip_prefix("S."))?;
                let year: usize = letters.get(..2)?.parse().ok()?;
                let half = usize::from(letters.get(2..3)? == "B");
                Some((if year >= 80 { year } else { year + 100 }) * 10 + 5 * half)
            }
            Dialect::X12 => release.parse().ok(),
        }
    };
    match (age(one), age(other)) {
        (Some(one), Some(other)) => 1 + one.abs_diff(other),
        _ => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edi::syntax::Tag;

    fn kind(name: &str, version: &str, release: &str) -> MessageType {
        let text = str::to_owned;
        MessageType { name: text(name), version: text(version), release: text(release), ..MessageType::default() }
    }

    #[test]
    fn what_is_shipped_is_whole() {
        for (number, (dialect, release, _, tables)) in SHIPPED.iter().enumerate() {
            let made = Directory::parse(*dialect, release, tables);
            assert!(made.is_ok(), "{release}: {:?}", made.err());
            let directory = shipped(number).expect("parsed");
            for name in directory.names() {
                let definition = directory.message(name).expect("named");
                let known = definition.nodes[1..].iter().all(|node| node.segment.is_some());
                assert!(known, "{release} {name} uses a segment that is not there");
                for node in &definition.nodes {
                    let mut keys: Vec<_> = match node.children {
                        0 => Vec::new(),
                        _ => definition.nodes[node.first as usize..(node.first + node.children) as usize]
                            .iter()
                            .map(|child| &child.key)
                            .collect(),
                    };
                    let count = keys.len();
                    keys.sort_unstable();
                    keys.dedup();
                    assert_eq!(keys.len(), count, "{release} {name} {}", node.key);
                }
            }
        }
        let retail =
            "APERAK CONTRL DESADV INVOIC INVRPT ORDCHG ORDERS ORDRSP PARTIN PRICAT RECADV REMADV RETANN SLSRPT";
        assert_eq!(shipped(3).expect("parsed").names().join(" "), retail);
        let sets = "180 810 812 820 824 832 846 850 852 855 856 860 865 997 999";
        assert_eq!(shipped(5).expect("parsed").names().join(" "), sets);
    }

    #[test]
    fn keys_tell_the_item_or_the_place() {
        let keys = |number: usize, tag: &str| {
            let directory = shipped(number).expect("parsed");
            let segment = directory.segment_named(Tag::new(tag)).expect("there");
            let mut keys = Vec::new();
            for field in &segment.fields {
                keys.push(format!("{}{}", field.key, if field.list { "[]" } else { "" }));
            }
            keys.join(" ")
        };
        assert_eq!(keys(0, "NAD"), "E3035 C082 C058 C080 C059 E3164 E3229 E3251 E3207");
        assert_eq!(keys(0, "ALI"), "E3239 E9213 E4183[]");
        assert_eq!(keys(4, "DTM"), "DTM01 DTM02 DTM03 DTM04 DTM05 DTM06");
    }

    #[test]
    fn the_nearest_release_is_taken() {
        let check = |dialect, kind: &MessageType, expect: Option<(&str, bool)>| {
            let found = Library::shipped().find(dialect, kind, 3);
            assert_eq!(found.map(|found| (found.directory.release.as_str(), found.exact)), expect, "{kind}");
        };
        check(Dialect::Edifact, &kind("ORDERS", "D", "96A"), Some(("D.96A", true)));
        check(Dialect::Edifact, &kind("ORDERS", "D", " 96A"), Some(("D.96A", true)));
        check(Dialect::Edifact, &kind("ORDERS", "D", "97A"), Some(("D.96A", false)));
        check(Dialect::Edifact, &kind("ORDERS", "D", "20B"), Some(("D.01B", false)));
        check(Dialect::Edifact, &kind("CONTRL", "2", "2"), Some(("D.96A", true)));
        check(Dialect::Edifact, &kind("UTILMD", "D", "11A"), None);
        check(Dialect::X12, &kind("850", "", "004010VICS"), Some(("004010", true)));
        check(Dialect::X12, &kind("850", "", "004030"), Some(("004010", false)));
        check(Dialect::X12, &kind("999", "", "005010X231A1"), Some(("005010", true)));
    }
}
