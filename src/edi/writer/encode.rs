//! Segments as bytes: delimiters, release characters, character set.

use super::profile::Profile;
use crate::edi::document::Line;
use crate::edi::findings::{Code, Findings, Place};
use crate::edi::syntax::Tag;

/// Appends a segment to `out`. What cannot be written is a finding that refuses the message.
pub(super) fn encode(line: &Line, number: u32, profile: &Profile, out: &mut Vec<u8>, findings: &mut Findings) {
    let place = Place { segment: number, tag: Tag::new(&line.tag), ..Place::default() };
    if place.tag.is_empty() {
        let tag = &line.tag;
        findings.refuse(Code::Tag, place, format!("`{tag}` is no segment tag"));
    }
    let delimiters = &profile.delimiters;
    out.extend_from_slice(line.tag.as_bytes());
    let filled = line.elements.iter().rposition(|element| element.iter().flatten().any(|text| !text.is_empty()));
    for (at, element) in line.elements.iter().take(filled.map_or(0, |last| last + 1)).enumerate() {
        out.push(delimiters.element);
        let place = Place { element: at as u16 + 1, ..place };
        for (again, components) in element.iter().enumerate() {
            if again > 0 {
                match delimiters.repetition {
                    Some(separator) => out.push(separator),
                    None => {
                        let sentence = "the element is repeated, but there is no repetition separator".to_owned();
                        findings.refuse(Code::Repetition, place, sentence);
                        break;
                    }
                }
            }
            let filled = components.iter().rposition(|text| !text.is_empty()).map_or(0, |last| last + 1);
            for (component, text) in components.iter().take(filled).enumerate() {
                if component > 0 {
                    out.push(delimiters.component);
                }
                value(text, Place { component: component as u16 + 1, ..place }, profile, out, findings);
            }
        }
    }
    out.push(delimiters.segment);
    out.extend_from_slice(profile.newline.bytes());
}

fn value(text: &str, place: Place, profile: &Profile, out: &mut Vec<u8>, findings: &mut Findings) {
    let from = out.len();
    if let Err(stranger) = profile.charset.encode(text, out) {
        let charset = profile.charset.name();
        findings.refuse(Code::Charset, place, format!("{charset} does not have the character `{stranger}`"));
        return;
    }
    let delimiters = &profile.delimiters;
    let beyond = out[from..].iter().find(|byte| profile.charset.is_beyond(**byte) && !delimiters.is_special(**byte));
    if let Some(beyond) = beyond.copied() {
        let (charset, shown) = (profile.charset.name(), crate::edi::syntax::shown(beyond));
        findings.refuse(Code::Charset, place, format!("{charset} does not have the character {shown}"));
        return;
    }
    if let Some(control) = out[from..].iter().find(|byte| **byte < b' ').copied() {
        if delimiters.is_special(control) {
            let shown = crate::edi::syntax::shown(control);
            findings.refuse(Code::Delimiters, place, format!("the value holds {shown}, which is a delimiter"));
            return;
        }
        let sentence = || "a control character was written as a blank".to_owned();
        findings.add(&profile.policy, Code::Control, place, sentence);
        out[from..].iter_mut().filter(|byte| **byte < b' ').for_each(|byte| *byte = b' ');
    }
    if !out[from..].iter().any(|byte| delimiters.is_special(*byte)) {
        return;
    }
    let Some(release) = delimiters.release else {
        let special = out[from..].iter().copied().find(|byte| delimiters.is_special(*byte)).unwrap_or_default();
        let shown = crate::edi::syntax::shown(special);
        findings.refuse(Code::Delimiters, place, format!("the value holds {shown}, which is a delimiter"));
        return;
    };
    let plain = out.split_off(from);
    for byte in plain {
        if delimiters.is_special(byte) {
            out.push(release);
        }
        out.push(byte);
    }
}
