//! What a profile must be as a whole.

use super::profile::Partner;
use super::settings::{DialectWord, Direction, PartnerHead};
use crate::codecs;
use crate::config::{Node, Reader, Severity};
use crate::edi::directory::Library;

/// Whether there is a definition of each document that goes out, and of what its code lists name.
pub(super) fn definitions(node: &Node, partner: &Partner, library: &Library, reader: &mut Reader<'_>) -> bool {
    let mut whole = true;
    for document in partner.documents.values() {
        let node = node.field("documents").and_then(|node| node.field(&document.name)).unwrap_or(node);
        let at = |name: &str| node.field(name).map_or(node.span.part(0, 1), |node| node.span);
        let syntax = document.writes.version.parse().unwrap_or(3);
        let Some(found) = library.find(partner.dialect, &document.kind, syntax) else {
            if document.direction == Direction::Out {
                reader
                    .error(at("message"), format!("there is no definition of {}", document.kind))
                    .label("it cannot be written")
                    .help("`raccord edi import` takes one from a directory of UN/ECE, or from a table you write");
                whole = false;
            }
            continue;
        };
        if !found.exact && !document.kind.release.is_empty() {
            let said = format!("there is no definition of {}", document.kind);
            reader
                .warning(at("release"), said)
                .label(format!("taken for {}", found.directory.release))
                .help("`raccord edi import` takes one from a directory of UN/ECE, or from a table you write");
        }
        for place in document.writes.guide.codes.unknown([found.directory]) {
            reader
                .error(at("codes"), format!("{} has no element `{place}`", found.directory.release))
                .label("no value would ever be looked at")
                .help("`raccord edi explain` shows the names of the elements beside the values of a message");
            whole = false;
        }
    }
    whole
}

/// What the settings must be to each other.
pub(super) fn check(node: &Node, head: &PartnerHead, reader: &mut Reader<'_>) -> bool {
    let before = reader.problems.len();
    let documents = node.field("documents");
    for (name, document) in &head.documents {
        let at = documents.and_then(|node| node.field(name)).map_or(node.span, |node| node.span);
        let release = document.release.as_deref();
        if document.direction == Direction::Out && release.is_none() {
            reader
                .error(at.part(0, 1), "`release` is missing")
                .label("a document that goes out is written in a release: `D.96A`, or `004010` of X12");
        }
        let fits = |text: &str| codecs::edi::release(head.dialect.dialect(), text).is_some();
        if let Some(release) = release.filter(|release| !fits(release)) {
            let (what, like) = match head.dialect {
                DialectWord::Edifact => ("a release of EDIFACT", "`D.96A`"),
                DialectWord::X12 => ("a version of X12", "`004010`"),
            };
            let at = documents.and_then(|node| node.field(name)).and_then(|node| node.field("release"));
            reader
                .error(at.map_or(node.span, |node| node.span), format!("`{release}` is not {what}"))
                .label(format!("expected something like {like}"));
        }
    }
    for (name, identity) in [("us", &head.us), ("them", &head.them)] {
        let at = node.field(name).map_or(node.span, |node| node.span);
        let (most, clause) = if head.dialect == DialectWord::X12 { (15, "ISA06") } else { (35, "UNB 0004") };
        if identity.id.is_empty() || identity.id.chars().count() > most {
            reader
                .error(at, format!("`{}` cannot identify anybody", identity.id))
                .label(format!("expected 1 to {most} characters ({clause})"));
        }
        if head.dialect == DialectWord::X12 && identity.qualifier.as_ref().is_none_or(|of| of.chars().count() != 2) {
            reader
                .error(at, "`qualifier` of X12 is two characters")
                .label("`ZZ` where both agreed on the identification (ISA05)");
        }
    }
    let comes_in = node.field("transport").is_none_or(|transport| transport.field("in").is_some());
    let takes = head.documents.values().any(|document| document.direction == Direction::In);
    let waits = head.acknowledgments.as_ref().is_some_and(|told| told.ask || told.within.is_some());
    if !comes_in && (takes || waits) {
        let at = node.field("transport").map_or(node.span, |node| node.span.part(0, 1));
        let what =
            if takes { "documents come in from this partner" } else { "acknowledgments are expected of this partner" };
        reader.error(at, "`in` is missing").label(what);
    }
    if let Some(numbers) = &head.control_numbers {
        let (least, most) = if head.dialect == DialectWord::X12 { (9, 9) } else { (1, 14) };
        if !(least..=most).contains(&numbers.width) {
            let at =
                node.field("control_numbers").and_then(|node| node.field("width")).map_or(node.span, |node| node.span);
            reader
                .error(at, format!("a control number cannot have {} digits", numbers.width))
                .label(format!("expected {least} to {most}"));
        }
    }
    if let Some(batch) = head.batch.as_ref().filter(|batch| batch.most == 0 || batch.most > 10_000) {
        let at = node.field("batch").and_then(|node| node.field("most")).map_or(node.span, |node| node.span);
        reader.error(at, format!("{} documents cannot be one interchange", batch.most)).label("expected 1 to 10000");
    }
    !reader.problems[before..].iter().any(|problem| problem.severity == Severity::Error)
}
