//! What is answered to an interchange of a partner.

use super::interchange::Opened;
use super::outgoing::{acknowledgment_body, receipt_body};
use super::profile::{Acknowledged, Partner, released};
use super::settings::{FunctionalSet, When};
use crate::edi::acknowledgments::{contrl, functional, ta1};
use crate::edi::reader::MessageType;
use crate::edi::syntax::Dialect;
use crate::message::Value;

/// The acknowledgments that the profile wants for what was read, for the partner's lane.
pub fn acknowledgments(partner: &Partner, opened: &Opened) -> Vec<Value> {
    let (receipt, wants) = (&opened.receipt, &partner.acknowledgments);
    let good = opened.fault.is_none() && opened.messages.iter().all(|message| message.fault.is_none());
    let asked = opened.header.acknowledgment_asked || !good;
    if partner.out.is_none() || !receipt.wanted() || (wants.when == When::Asked && !asked) {
        return Vec::new();
    }
    let number = &opened.header.reference;
    match partner.dialect {
        Dialect::Edifact => {
            let kind = MessageType { name: "CONTRL".to_owned(), ..released(Dialect::Edifact, "D.3") };
            let wanted = [(wants.receipt, true), (wants.functional, false)];
            let documents =
                wanted.into_iter().filter(|(wanted, _)| *wanted).filter_map(|(_, only)| contrl(receipt, only));
            documents.map(|document| acknowledgment_body(&kind, number, document)).collect()
        }
        Dialect::X12 => x12(wants, opened, number),
    }
}

fn x12(wants: &Acknowledged, opened: &Opened, number: &str) -> Vec<Value> {
    let receipt = &opened.receipt;
    let mut bodies = Vec::new();
    // What is wrong with the envelope has no place in a 997.
    if wants.receipt || opened.fault.is_some() {
        let line = ta1(receipt);
        bodies.push(receipt_body(number, (1..=5).map(|element| Value::text(line.get(element))).collect()));
    }
    if !wants.functional || opened.fault.is_some() {
        return bodies;
    }
    for group in &receipt.groups {
        let implementation = wants.set == FunctionalSet::S999;
        let Some(document) = functional(group, implementation) else { continue };
        let release = if implementation { "005010" } else { group.version.get(..6).unwrap_or("004010") };
        let name = if implementation { "999" } else { "997" }.to_owned();
        let kind = MessageType { name, ..released(Dialect::X12, release) };
        bodies.push(acknowledgment_body(&kind, number, document));
    }
    bodies
}
