//! The segments around messages.

use super::profile::{GroupHeader, Header, Profile, ServiceString};
use crate::edi::document::Line;
use crate::edi::findings::{Code, Findings, Place};
use crate::edi::reader::Party;
use crate::edi::syntax::{Delimiters, Dialect, Tag};

/// Whether a reader takes a segment for one of the envelope, wherever it stands.
pub(super) fn holds(dialect: Dialect, tag: &str) -> bool {
    match dialect {
        Dialect::Edifact => {
            matches!(tag, "ISA" | "UNA" | "UNB" | "UNG" | "UNH" | "UNT" | "UNE" | "UNZ" | "UIB" | "UIH" | "UIT" | "UIZ")
        }
        // ISA, UNA and UNB make a reader look for delimiters anew in either dialect.
        Dialect::X12 => matches!(tag, "ISA" | "GS" | "ST" | "SE" | "GE" | "IEA" | "UNA" | "UNB"),
    }
}

/// The UNA, if one is to be written.
pub(super) fn service_string(profile: &Profile) -> Vec<u8> {
    let Delimiters { element, component, repetition, release, segment, decimal } = profile.delimiters;
    let usual = Delimiters { repetition: None, ..profile.delimiters } == Delimiters::EDIFACT;
    let wanted = match profile.service_string {
        ServiceString::Always => true,
        ServiceString::Never => false,
        ServiceString::WhenNeeded => !usual,
    };
    if profile.dialect == Dialect::X12 || !wanted {
        return Vec::new();
    }
    let mut bytes = b"UNA".to_vec();
    bytes.extend([component, element, decimal, release.unwrap_or(b' '), repetition.unwrap_or(b' '), segment]);
    bytes.extend_from_slice(profile.newline.bytes());
    bytes
}

/// UNB; an ISA is written by [`isa`].
pub(super) fn interchange(profile: &Profile, header: &Header) -> Line {
    let party = |party: &Party| [party.id.clone(), party.qualifier.clone(), party.internal.clone()];
    let date = edifact_date(profile, &header.date);
    Line::new("UNB")
        .with_components(&[&profile.syntax, &profile.version])
        .with_components(&party(&header.sender))
        .with_components(&party(&header.receiver))
        .with_components(&[date.as_str(), minutes(&header.time)])
        .with(&header.reference)
        .with("")
        .with(&header.application)
        .with("")
        .with(if header.acknowledgment_asked { "1" } else { "" })
        .with("")
        .with(if header.test { "1" } else { "" })
}

/// The ISA, each element as wide as it must be.
pub(super) fn isa(profile: &Profile, header: &Header, out: &mut Vec<u8>, findings: &mut Findings) {
    let delimiters = &profile.delimiters;
    let standard = delimiters.repetition.filter(|_| profile.version.as_str() >= "00402").unwrap_or(b'U');
    let standard = char::from(standard).to_string();
    let component = char::from(delimiters.component).to_string();
    let number = padded(&header.reference, 9);
    let elements: [(&str, usize); 16] = [
        ("00", 2),
        ("", 10),
        ("00", 2),
        ("", 10),
        (&header.sender.qualifier, 2),
        (&header.sender.id, 15),
        (&header.receiver.qualifier, 2),
        (&header.receiver.id, 15),
        (short(&header.date), 6),
        (minutes(&header.time), 4),
        (&standard, 1),
        (&profile.version, 5),
        (&number, 9),
        (if header.acknowledgment_asked { "1" } else { "0" }, 1),
        (if header.test { "T" } else { "P" }, 1),
        (&component, 1),
    ];
    out.extend_from_slice(b"ISA");
    for (at, (text, width)) in elements.into_iter().enumerate() {
        let special = |byte: &u8| delimiters.is_special(*byte) && at != 10 && at != 15;
        if text.len() > width || !text.is_ascii() || text.bytes().any(|byte| special(&byte)) {
            let place = Place { segment: 1, tag: Tag::new("ISA"), element: at as u16 + 1, ..Place::default() };
            findings.refuse(Code::Isa, place, format!("`{text}` does not fit the {width} bytes of its element"));
        }
        out.push(delimiters.element);
        out.extend_from_slice(format!("{text:width$}").as_bytes());
    }
    out.push(delimiters.segment);
    out.extend_from_slice(profile.newline.bytes());
}

pub(super) fn interchange_end(profile: &Profile, header: &Header, counted: usize) -> Line {
    match profile.dialect {
        Dialect::Edifact => Line::new("UNZ").with(counted.to_string()).with(&header.reference),
        Dialect::X12 => Line::new("IEA").with(counted.to_string()).with(padded(&header.reference, 9)),
    }
}

pub(super) fn group(profile: &Profile, header: &Header, group: &GroupHeader) -> Line {
    let party = |party: &Party| [party.id.clone(), party.qualifier.clone()];
    match profile.dialect {
        Dialect::Edifact => {
            let date = edifact_date(profile, &header.date);
            let version: Vec<&str> = group.version.split(':').collect();
            Line::new("UNG")
                .with(&group.function)
                .with_components(&party(&group.sender))
                .with_components(&party(&group.receiver))
                .with_components(&[date.as_str(), minutes(&header.time)])
                .with(&group.reference)
                .with(&group.agency)
                .with_components(&version)
        }
        Dialect::X12 => Line::new("GS")
            .with(&group.function)
            .with(&group.sender.id)
            .with(&group.receiver.id)
            .with(x12_date(profile, group, &header.date))
            .with(&header.time)
            .with(&group.reference)
            .with(&group.agency)
            .with(&group.version),
    }
}

pub(super) fn group_end(profile: &Profile, group: &GroupHeader, messages: usize) -> Line {
    let tag = if profile.dialect == Dialect::X12 { "GE" } else { "UNE" };
    Line::new(tag).with(messages.to_string()).with(&group.reference)
}

/// A number with zeros before it; anything else as it is.
pub(super) fn padded(reference: &str, width: usize) -> String {
    let number = !reference.is_empty() && reference.bytes().all(|byte| byte.is_ascii_digit());
    if number { format!("{reference:0>width$}") } else { reference.to_owned() }
}

/// The century is written from syntax 4 on.
fn edifact_date(profile: &Profile, date: &str) -> String {
    if profile.notation().syntax >= 4 { long(date) } else { short(date).to_owned() }
}

/// The century is written from 004010 on, where the group does not say from the version of the interchange on.
fn x12_date(profile: &Profile, group: &GroupHeader, date: &str) -> String {
    let before = match group.version.as_str() {
        "" => profile.version.as_str() < "00401",
        version => version < "00401",
    };
    if before { short(date).to_owned() } else { long(date) }
}

/// `YYMMDD` of `YYYYMMDD`.
fn short(date: &str) -> &str {
    if date.len() == 8 && date.is_ascii() { &date[2..] } else { date }
}

/// `YYYYMMDD` of `YYMMDD`: 80 to 99 are of the last century.
fn long(date: &str) -> String {
    let digits = date.len() == 6 && date.bytes().all(|byte| byte.is_ascii_digit());
    match digits {
        true if date >= "80" => format!("19{date}"),
        true => format!("20{date}"),
        false => date.to_owned(),
    }
}

/// `HHMM` of a time with seconds.
fn minutes(time: &str) -> &str {
    if time.len() > 4 && time.is_ascii() { &time[..4] } else { time }
}
