//! Segments, composites and elements: blocks between lines of `-`, each begun by its name.
//!
//! ```text
//! ----------------------------------------------------------------------
//!        ABC  SOMETHING                                  a segment
//! 010    C999 A COMPOSITE                           M    1
//!        9999  Its first element                    C      an..3
//! 020    9998 AN ELEMENT WHOSE NAME GOES ON IN
//!             THE NEXT LINE                         C    5 an..35
//! ----------------------------------------------------------------------
//!        C999 A COMPOSITE                                a composite
//! 010    9999  Its first element                    C      an..3
//! ----------------------------------------------------------------------
//!      9999  Its first element                           an element
//!      Repr: an..3
//! ```
//! What has no number at its beginning is not looked at: the elements of composites stand in these themselves.

use super::{Described, Import, Left, is_marker, named};
use crate::edi::syntax::Tag;

/// Takes the blocks of a text; how many were taken.
pub fn read(text: &str, import: &mut Import, left: &mut Vec<Left>) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let mut taken = 0;
    let mut start = 0;
    for end in (0..=lines.len()).filter(|at| lines.get(*at).is_none_or(|line| is_rule(line))) {
        match block(&lines[start..end]) {
            Ok(None) => {}
            Ok(Some((tag, kind, described))) => {
                taken += 1;
                match kind {
                    Kind::Segment => import.segments.insert(tag, described),
                    Kind::Composite => import.composites.insert(tag, described),
                    Kind::Element => import.elements.insert(tag, described),
                };
            }
            Err((line, why)) => left.push(Left { line: start + line + 1, why }),
        }
        start = (end + 1).min(lines.len());
    }
    taken
}

/// A line all of one sign.
fn is_rule(line: &str) -> bool {
    let line = line.trim();
    line.len() >= 20 && line.bytes().all(|byte| byte == b'-')
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Segment,
    Composite,
    Element,
}

fn kind(word: &str) -> Option<Kind> {
    let bytes = word.as_bytes();
    let digits = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_digit);
    match bytes {
        [b'C' | b'S' | b'E', rest @ ..] if rest.len() == 3 && digits(rest) => Some(Kind::Composite),
        [_, _, _, _] if digits(bytes) => Some(Kind::Element),
        [first, _, _]
            if first.is_ascii_uppercase() && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) =>
        {
            Some(Kind::Segment)
        }
        _ => None,
    }
}

type Block = (Tag, Kind, Described);

/// What a block describes; nothing where it is of something else. Of an error the line within the block.
fn block(lines: &[&str]) -> Result<Option<Block>, (usize, String)> {
    let Some(head) = lines.iter().position(|line| !line.trim().is_empty()) else { return Ok(None) };
    let mut words: Vec<&str> = lines[head].split_whitespace().collect();
    while words.first().copied().is_some_and(is_marker) {
        words.remove(0);
    }
    let Some((first, kind)) = words.first().and_then(|first| Some((*first, kind(first)?))) else { return Ok(None) };
    // `[B]`: used in batch messages.
    let name: Vec<&str> = words[1..].iter().copied().filter(|word| !word.starts_with('[')).collect();
    let said = match kind {
        Kind::Element => match representation(lines) {
            Some(said) => said,
            None => return Ok(None),
        },
        _ => places(&lines[head + 1..]).map_err(|(line, why)| (head + 1 + line, format!("{first}: {why}")))?,
    };
    Ok((!said.is_empty()).then(|| (Tag::new(first), kind, Described { name: named(&name), said })))
}

/// `Repr: an..35`
fn representation(lines: &[&str]) -> Option<String> {
    let said = lines.iter().find_map(|line| line.trim().strip_prefix("Repr:"))?;
    let said: String = said.split_whitespace().collect();
    is_representation(&said).then_some(said)
}

fn is_representation(word: &str) -> bool {
    let rest = word.trim_start_matches(['a', 'n']);
    let (letters, length) = (&word[..word.len() - rest.len()], rest.strip_prefix("..").unwrap_or(rest));
    matches!(letters, "a" | "n" | "an")
        && !length.is_empty()
        && length.len() <= 4
        && length.bytes().all(|b| b.is_ascii_digit())
}

/// The numbered lines of a segment or composite, as the tables write them.
fn places(lines: &[&str]) -> Result<String, (usize, String)> {
    let mut said: Vec<String> = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (index, line) in lines.iter().enumerate() {
        let (from, whole) = match begun.take() {
            Some((from, whole)) if !line.trim().is_empty() && index - from < 4 => {
                (from, format!("{whole} {}", line.trim()))
            }
            Some((from, whole)) => {
                return Err((from, format!("`{whole}`: neither M nor C says whether it must be there")));
            }
            None => (index, line.trim().to_owned()),
        };
        let words: Vec<&str> = whole.split_whitespace().collect();
        let Some(at) = position(&words) else { continue };
        match place(&words[at..]) {
            Some(place) => said.push(place),
            None => begun = Some((from, whole)),
        }
    }
    match begun {
        Some((from, whole)) => Err((from, format!("`{whole}`: neither M nor C says whether it must be there"))),
        None => Ok(said.join(" ")),
    }
}

/// Where the element or composite stands in a numbered line: `010 * C082 …`.
fn position(words: &[&str]) -> Option<usize> {
    let number = words.iter().position(|word| !is_marker(word))?;
    (words[number].len() == 3 && words[number].bytes().all(|byte| byte.is_ascii_digit())).then_some(())?;
    let item = (number + 1..words.len()).find(|at| !is_marker(words[*at]))?;
    matches!(kind(words[item])?, Kind::Composite | Kind::Element).then_some(item)
}

/// `3035 PARTY FUNCTION CODE QUALIFIER M 1 an..3`
fn place(words: &[&str]) -> Option<String> {
    let (item, mut rest) = words.split_first()?;
    if rest.last().is_some_and(|word| is_representation(word)) {
        rest = &rest[..rest.len() - 1];
    }
    let count = rest.last().and_then(|word| word.parse::<u16>().ok()).filter(|count| *count > 0);
    if count.is_some() {
        rest = &rest[..rest.len() - 1];
    }
    let bang = match *rest.last()? {
        "M" => "!",
        "C" => "",
        _ => return None,
    };
    let repeat = count.filter(|count| *count > 1).map(|count| format!("*{count}")).unwrap_or_default();
    Some(format!("{item}{bang}{repeat}"))
}
