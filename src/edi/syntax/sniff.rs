//! Where an interchange begins and which delimiters it is written with.

use super::super::findings::Code;
use super::delimiters::shown;
use super::{Delimiters, Dialect};

/// The beginning of an interchange in a window of bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// What stands before it belongs to nothing: a byte order mark, blanks, a mail header.
    pub at: usize,
    /// Where the first segment begins: after the UNA if there is one.
    pub segment: usize,
    pub dialect: Dialect,
    pub delimiters: Delimiters,
    /// What is odd about it.
    pub notes: Vec<(Code, String)>,
}

/// What is odd, as findings tell it.
type Notes = Vec<(Code, String)>;

/// How far into a window sniffing looks.
pub(super) const WINDOW: usize = 4096;

const MARK: &[u8] = b"\xEF\xBB\xBF";

/// Blanks that may stand between segments, and the end-of-file mark of old systems.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0 | 0x1A)
}

/// How many bytes of `window` are blanks and byte order marks.
pub(super) fn blanks(window: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = window.get(at..).unwrap_or_default();
        if rest.starts_with(MARK) {
            at += MARK.len();
        } else if rest.first().is_some_and(|byte| is_blank(*byte)) {
            at += 1;
        } else {
            return at;
        }
    }
}

/// The interchange that begins in `window`, after blanks if possible, else after whatever stands before it.
pub fn sniff(window: &[u8]) -> Option<Opening> {
    let start = blanks(window);
    opening(window, start, false).or_else(|| {
        let tags: [&[u8]; 3] = [b"UNA", b"UNB", b"ISA"];
        let mut places: Vec<usize> =
            tags.iter().flat_map(|tag| memchr::memmem::find_iter(window, tag).take(64)).collect();
        places.sort_unstable();
        places.into_iter().filter(|at| *at > start).find_map(|at| opening(window, at, true))
    })
}

fn opening(window: &[u8], at: usize, strict: bool) -> Option<Opening> {
    let here = window.get(at..)?;
    let separator =
        |length: usize| here.get(length).copied().filter(|byte| !byte.is_ascii_alphanumeric() && *byte < 0x80);
    if strict && at > 0 && window[at - 1].is_ascii_alphanumeric() {
        return None;
    }
    let (segment, dialect, delimiters, mut notes) = if here.starts_with(b"UNA") {
        let (length, delimiters, notes) = service_string(here)?;
        (at + length, Dialect::Edifact, delimiters, notes)
    } else if here.starts_with(b"UNB") {
        let (delimiters, notes) = from_unb(here, separator(3)?);
        (at, Dialect::Edifact, delimiters, notes)
    } else if here.starts_with(b"ISA") {
        let (delimiters, notes) = from_isa(here, separator(3)?)?;
        (at, Dialect::X12, delimiters, notes)
    } else if strict {
        return None;
    } else if matches!(here.get(..2), Some(b"GS" | b"ST")) && separator(2).is_some() {
        let segment = if here.contains(&b'~') { b'~' } else { b'\n' };
        let delimiters = Delimiters { element: separator(2)?, segment, ..Delimiters::X12 };
        (at, Dialect::X12, delimiters, Vec::new())
    } else if here.get(..3)?.iter().all(u8::is_ascii_uppercase) && separator(3) == Some(b'+') {
        (at, Dialect::Edifact, Delimiters::EDIFACT, Vec::new())
    } else {
        return None;
    };
    if let Some(fault) = delimiters.fault() {
        notes.push((Code::Delimiters, fault));
    }
    Some(Opening { at, segment, dialect, delimiters, notes })
}

/// Delimiters from a UNA of six characters, or from what an odd one and the UNB after it say together.
fn service_string(here: &[u8]) -> Option<(usize, Delimiters, Notes)> {
    let first = |from: usize| {
        let rest = here.get(from..)?;
        let skipped = rest.iter().take_while(|byte| is_blank(**byte)).count();
        let tag = rest.get(skipped..skipped + 3)?;
        let known = tag == b"UNB" || tag == b"UNH" || tag == b"UNG" || tag == b"UIB";
        known.then(|| (from + skipped, rest.get(skipped + 3).copied()))
    };
    let read = |six: &[u8]| -> Option<Delimiters> {
        let [component, element, decimal, release, reserved, segment] = *six else { return None };
        let free = |byte: u8| (!is_blank(byte)).then_some(byte);
        Some(Delimiters { element, component, repetition: free(reserved), release: free(release), segment, decimal })
    };
    let six = here.get(3..9)?;
    let standard = read(six)?;
    match first(9) {
        Some((at, separator)) if separator == Some(standard.element) => {
            let syntax = here.get(at..).and_then(syntax_version);
            let repetition = standard.repetition.filter(|_| syntax.is_some_and(|version| version >= 4));
            return Some((at, Delimiters { repetition, ..standard }, Vec::new()));
        }
        None if !(3..16).any(|at| here.get(at..at + 3) == Some(b"UNB")) => {
            return Some((9, Delimiters { repetition: None, ..standard }, Vec::new()));
        }
        _ => {}
    }
    // One too many, one too few, or in another order: the UNB shows what is really used.
    let unb = (3..16).find(|at| here.get(*at..*at + 3) == Some(b"UNB"))?;
    let said = here.get(3..unb)?;
    let note = |said: &[u8]| {
        let said = String::from_utf8_lossy(said).trim_end().to_owned();
        vec![(
            Code::ServiceString,
            format!("the UNA should have six characters and fit the UNB after it, but is `{said}`"),
        )]
    };
    let separator = *here.get(unb + 3)?;
    let kept = said.len() - said.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let last = said.get(..kept)?;
    let six = last.len().checked_sub(6).and_then(|from| last.get(from..)).and_then(read);
    if let Some(delimiters) = six.filter(|found| found.element == separator) {
        return Some((unb, Delimiters { repetition: None, ..delimiters }, note(said)));
    }
    if let [component, element, decimal, release, segment] = *last
        && element == separator
    {
        let segment = if is_blank(segment) { said.get(kept).copied().unwrap_or(b'\'') } else { segment };
        let release = (!is_blank(release)).then_some(release);
        return Some((unb, Delimiters { element, component, repetition: None, release, segment, decimal }, note(said)));
    }
    let (delimiters, mut notes) = from_unb(here.get(unb..)?, separator);
    notes.extend(note(said));
    Some((unb, delimiters, notes))
}

/// The syntax version a UNB states (`UNOC:3`).
fn syntax_version(unb: &[u8]) -> Option<u8> {
    unb.get(9).filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0')
}

/// Delimiters as a UNB without UNA shows them.
fn from_unb(unb: &[u8], element: u8) -> (Delimiters, Notes) {
    let component = unb.get(8).copied().filter(|byte| !byte.is_ascii_alphanumeric() && *byte != element);
    let window = &unb[..unb.len().min(WINDOW)];
    let next = ["UNH", "UNG", "UNZ"].iter().filter_map(|tag| memchr::memmem::find(window, tag.as_bytes())).min();
    let header = &window[..next.unwrap_or(window.len())];
    let default = if element == 0x1D { 0x1C } else { b'\'' };
    let segment = if header.contains(&default) || next.is_none() {
        default
    } else {
        // The byte before the next segment, or the newline if it stands there alone.
        let text = header.iter().rposition(|byte| !is_blank(*byte)).map_or(b'\'', |at| header[at]);
        if text.is_ascii_alphanumeric() { header.last().copied().unwrap_or(default) } else { text }
    };
    let repetition =
        (syntax_version(unb) >= Some(4)).then_some(b'*').filter(|byte| *byte != element && *byte != segment);
    let release = (element != 0x1D).then_some(b'?').filter(|byte| *byte != element && *byte != segment);
    let delimiters =
        Delimiters { element, component: component.unwrap_or(b':'), repetition, release, segment, decimal: b'.' };
    let odd = element != b'+' || delimiters.component != b':' || segment != b'\'';
    let note = format!(
        "there is no UNA, yet the delimiters are {}, {} and {}",
        shown(delimiters.component),
        shown(element),
        shown(segment)
    );
    (delimiters, odd.then_some((Code::ServiceString, note)).into_iter().collect())
}

/// Where the element separators of an ISA must stand.
const ISA_SEPARATORS: [usize; 16] = [3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103];

/// Delimiters from an ISA: at their places if it is 106 bytes long, else by counting its elements.
fn from_isa(isa: &[u8], element: u8) -> Option<(Delimiters, Notes)> {
    let window = &isa[..isa.len().min(1024)];
    let separators: Vec<usize> = memchr::memchr_iter(element, window).take(16).collect();
    let fixed = separators.len() == 16 && separators[15] == 103;
    let mut notes = Vec::new();
    if separators != ISA_SEPARATORS {
        notes.push((Code::Isa, "the ISA is not 106 bytes long with its elements at their places".to_owned()));
    }
    let (component, segment) = if fixed {
        match (window.get(104), window.get(105)) {
            // `¦` as two bytes of UTF-8: the second parts, the terminator stands behind.
            (Some(0xC2..), Some(second @ 0x80..0xC0)) => (Some(*second), window.get(106).copied()),
            (component, segment) => (component.copied(), segment.copied()),
        }
    } else {
        let last = separators.last()? + 1;
        after_isa(window, last, element)
    };
    let element_of = |number: usize| window.get(separators.get(number - 1)? + 1..*separators.get(number)?);
    let version = element_of(12).unwrap_or_default();
    // ISA11 was the standard's name (`U`) before 00402; some still write that.
    let repetition = match element_of(11) {
        Some([byte]) if version >= b"00402".as_slice() && !byte.is_ascii_alphanumeric() && !is_blank(*byte) => {
            Some(*byte)
        }
        _ => None,
    };
    let component = component.unwrap_or(b'>');
    let segment = segment.unwrap_or(b'~');
    let repetition = repetition.filter(|byte| *byte != element && *byte != segment && *byte != component);
    Some((Delimiters { element, component, repetition, release: None, segment, decimal: b'.' }, notes))
}

/// Component separator and terminator from what stands between the last separator of the ISA and the next segment.
fn after_isa(window: &[u8], last: usize, element: u8) -> (Option<u8>, Option<u8>) {
    let rest = window.get(last..).unwrap_or_default();
    let starts = |at: usize| {
        let here = &rest[at..];
        [&b"GS"[..], b"TA1", b"IEA"].iter().any(|tag| here.starts_with(tag) && here.get(tag.len()) == Some(&element))
    };
    let Some(next) = (0..rest.len().min(64)).find(|at| starts(*at)) else {
        return (rest.first().copied(), rest.get(1).copied());
    };
    let between = &rest[..next];
    let text: Vec<u8> = between.iter().copied().filter(|byte| !is_blank(*byte)).collect();
    let newline = between.iter().copied().find(|byte| matches!(byte, b'\r' | b'\n'));
    match text.as_slice() {
        [] => (None, newline.or(between.first().copied())),
        // A lone character is the terminator if a segment could not end otherwise.
        [only] if newline.is_none() => (None, Some(*only)),
        // A blank before the newline ends nothing: there are blanks in the ISA itself.
        [only] => (Some(*only), newline),
        [component, segment, ..] => (Some(*component), Some(*segment)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let shown = sniff(text.as_bytes()).map_or("none".to_owned(), |found| {
            let sign = |byte: u8| char::from(byte).escape_default().to_string();
            let none = "none".to_owned();
            let Delimiters { element, component, repetition, release, segment, decimal } = found.delimiters;
            let codes: String = found.notes.iter().map(|(code, _)| format!(" {}", code.name())).collect();
            format!(
                "{} {} {} {} {} {} {}{codes}",
                found.segment,
                sign(component),
                sign(element),
                repetition.map_or(none.clone(), sign),
                release.map_or(none.clone(), sign),
                sign(segment),
                sign(decimal),
            )
        });
        assert_eq!(shown, expect, "{text:?}");
    }

    #[test]
    fn edifact_with_and_without_una() {
        check("UNB+UNOC:3+A+B'UNH+1'", r"0 : + none ? \' .");
        check("\u{FEFF}\r\nUNB+UNOC:4+A+B'UNH+1'", r"5 : + * ? \' .");
        check("UNA:+,? '\r\nUNB+UNOC:3+A'", r"11 : + none ? \' ,");
        check("UNA:+.?*'UNB+UNOC:4+A'", r"9 : + * ? \' .");
        check("UNA:+.?*'UNB+UNOC:3+A'", r"9 : + none ? \' .");
        check("UNA!^.\\ ~UNB^UNOA!3^A~", r"9 ! ^ none \\ ~ .");
        check("UNA:+.? \nUNB+UNOA:3+A\n", r"9 : + none ? \n .");
        check("UNA+:+.?*'UNB+UNOC:3+A'", r"10 : + none ? \' . EDI-UNA");
        check("UNA:+.?'UNB+UNOC:3+A'", r"8 : + none ? \' . EDI-UNA");
        check("UNB*UNOA:1*A~\nUNH*1~", r"0 : * none ? ~ . EDI-UNA");
        check("UNB+UNOA:1+A\nUNH+1\n", r"0 : + none ? \n . EDI-UNA");
        check("UNH+1+ORDERS:D:96A:UN'", r"0 : + none ? \' .");
    }

    #[test]
    fn x12_by_place_and_by_counting() {
        let isa = |version: &str, standard: &str, end: &str| {
            format!(
                "ISA*00*          *00*          *ZZ*ALPHA          *ZZ*BETA           *260101*1200*{standard}*{version}*000000001*0*P*{end}"
            )
        };
        check(&isa("00401", "U", ">~GS*PO~"), "0 > * none none ~ .");
        check(&isa("00501", "^", ":\nGS*PO\n"), r"0 : * ^ none \n .");
        check(&isa("00401", "^", ":\nGS*PO\n"), r"0 : * none none \n .");
        check(&isa("00401", "U", ">~GS*PO~").replace("*ZZ*ALPHA ", "*ZZZ*ALPHA"), "0 > * none none ~ . EDI-ISA");
        check(&isa("00401", "U", "\u{A6}!GS*PO!"), r"0 \u{a6} * none none ! .");
        let short = |end: &str| format!("ISA*00**00**ZZ*ALPHA*ZZ*BETA*260101*1200*U*00401*1*0*P*{end}");
        check(&short(">~GS*PO~"), "0 > * none none ~ . EDI-ISA");
        check(&short(">\nGS*PO\n"), r"0 > * none none \n . EDI-ISA");
        check(&short("> \r\n  GS*PO \r\n"), r"0 > * none none \r . EDI-ISA");
    }

    #[test]
    fn something_before_and_nothing_at_all() {
        check("From: edi@alpha.example\n\nUNB+UNOC:3+A+B'UNH+1'", r"25 : + none ? \' .");
        check("<?xml version='1.0'?>", "none");
        check("", "none");
        check("UN", "none");
    }
}
