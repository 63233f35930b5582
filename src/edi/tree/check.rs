//! One segment against its definition: what must be there, how often, of which type and length.

use crate::edi::directory::{ElementDef, Item, Position, SegmentDef, ValueKind};
use crate::edi::findings::{Code, Findings, Place, Policy, Severity};
use crate::edi::reader::Message;
use crate::edi::syntax::{Component, Element, Mark, Segment};

struct Check<'a> {
    message: &'a Message,
    index: usize,
    /// Only printable ASCII and no release characters: a byte is a character.
    simple: bool,
    released: bool,
    policy: &'a Policy,
    findings: &'a mut Findings,
}

/// Where in the segment: element, repetition, component, from 1.
#[derive(Clone, Copy)]
struct Spot {
    element: usize,
    repetition: usize,
    component: usize,
}

/// A value beside its definition.
struct Measured {
    /// Of the right type.
    typed: bool,
    length: usize,
    long: bool,
    short: bool,
}

impl Measured {
    #[inline]
    fn is_right(&self) -> bool {
        self.typed & !self.long & !self.short
    }
}

/// Checks segment `index` of `message`.
pub(super) fn check(
    message: &Message,
    index: usize,
    segment: &Segment<'_>,
    def: &SegmentDef,
    policy: &Policy,
    findings: &mut Findings,
) {
    let simple = !segment.released && message.record.is_plain(index);
    let mut check = Check { message, index, simple, released: segment.released, policy, findings };
    if check.is_right(segment, def) {
        debug_assert!(check.finds_nothing(segment, def), "{} was taken for right", segment.tag);
    } else {
        check.whole_segment(segment, def);
    }
}

impl Check<'_> {
    /// Whether there is surely nothing to find: one pass, which leaves all that is rare to the others.
    #[inline]
    fn is_right(&self, segment: &Segment<'_>, def: &SegmentDef) -> bool {
        let mut positions = def.positions.iter();
        let mut parts: &[Position] = &[];
        let (mut begins, mut filled) = (true, true);
        for (raw, behind) in segment.values() {
            if begins {
                let Some(position) = positions.next() else { return false };
                if raw.is_empty() && behind >= Mark::ELEMENT {
                    filled = false;
                    if position.mandatory {
                        return false;
                    }
                    continue;
                }
                parts = match &position.item {
                    Item::Element(_) => std::slice::from_ref(position),
                    Item::Composite(_, parts, _) => parts,
                };
                filled = false;
            }
            let Some((Position { item: Item::Element(def), mandatory, .. }, left)) = parts.split_first() else {
                return false;
            };
            parts = left;
            if raw.is_empty() {
                if *mandatory {
                    return false;
                }
            } else {
                filled = true;
                let typed = match def.kind {
                    // Text is at most as many characters as bytes.
                    ValueKind::Text => self.simple || def.shortest == 0,
                    ValueKind::Alpha => false,
                    _ => raw.iter().all(u8::is_ascii_digit),
                };
                let fits = raw.len() <= usize::from(def.longest) && raw.len() >= usize::from(def.shortest);
                let right = (typed && fits) || self.measured(def, raw).is_right();
                if !right {
                    return false;
                }
            }
            begins = behind >= Mark::ELEMENT;
            let wrong = if begins { !filled || are_needed(parts) } else { behind != Mark::COMPONENT };
            if wrong {
                return false;
            }
        }
        !are_needed(positions.as_slice()) && (filled || self.policy.severity(Code::Trailing) == Severity::Ignore)
    }

    fn finds_nothing(&self, segment: &Segment<'_>, def: &SegmentDef) -> bool {
        let Check { message, index, simple, released, policy, .. } = *self;
        let mut findings = Findings::new(1);
        Check { message, index, simple, released, policy, findings: &mut findings }.whole_segment(segment, def);
        findings.is_empty()
    }

    /// Every element, with a finding for whatever is wrong.
    fn whole_segment(&mut self, segment: &Segment<'_>, def: &SegmentDef) {
        let mut count = 0;
        let mut trailing = false;
        for element in segment.elements() {
            let spot = Spot { element: count + 1, repetition: 0, component: 0 };
            trailing = element.is_empty();
            match def.positions.get(count) {
                None if element.is_void() => {}
                None => {
                    let places = def.positions.len();
                    self.add(Code::ExtraElement, spot, element.at(), || {
                        format!("the segment has only {places} elements")
                    });
                }
                Some(position) if element.is_void() => {
                    trailing = true;
                    if position.mandatory {
                        self.missing(position, spot, element.at());
                    }
                }
                Some(position) if element.is_simple() => self.whole(position, &element, spot),
                Some(position) => self.repetitions(position, &element, spot),
            }
            count += 1;
        }
        for (at, position) in def.positions.iter().enumerate().skip(count) {
            if position.mandatory {
                let spot = Spot { element: at + 1, repetition: 0, component: 0 };
                self.missing(position, spot, segment.range().1);
            }
        }
        if trailing && self.policy.severity(Code::Trailing) > Severity::Ignore {
            let spot = Spot { element: count, repetition: 0, component: 0 };
            self.add(Code::Trailing, spot, segment.range().1, || "the segment ends with an empty element".to_owned());
        }
    }

    /// An element without any separator inside.
    #[inline]
    fn whole(&mut self, position: &Position, element: &Element<'_>, spot: Spot) {
        let component = Component { raw: element.raw(), at: element.at() };
        match &position.item {
            Item::Element(def) => self.value(def, component, spot),
            Item::Composite(_, parts, _) => {
                for (at, part) in parts.iter().enumerate() {
                    let spot = Spot { component: at + 1, ..spot };
                    match (&part.item, at) {
                        (Item::Element(def), 0) => self.value(def, component, spot),
                        _ if part.mandatory => self.missing(part, spot, element.at() + component.raw.len()),
                        _ => {}
                    }
                }
            }
        }
    }

    fn repetitions(&mut self, position: &Position, element: &Element<'_>, spot: Spot) {
        let mut count = 0;
        for repetition in element.repetitions() {
            count += 1;
            let spot = Spot { repetition: if count > 1 { count } else { 0 }, ..spot };
            if repetition.is_simple() && !repetition.is_empty() {
                self.whole(position, &repetition, spot);
            } else if !repetition.is_empty() {
                self.components(position, &repetition, spot);
            }
        }
        if count > usize::from(position.repeat.max(1)) {
            let most = position.repeat;
            let sentence = || format!("the element is repeated {count} times, {most} are allowed");
            self.add(Code::Repetition, spot, element.at(), sentence);
        }
    }

    fn components(&mut self, position: &Position, element: &Element<'_>, spot: Spot) {
        let parts = match &position.item {
            Item::Composite(_, parts, _) => parts.as_slice(),
            Item::Element(_) => std::slice::from_ref(position),
        };
        let mut count = 0;
        let mut end = element.at();
        for component in element.components() {
            let spot = Spot { component: count + 1, ..spot };
            end = component.at + component.raw.len();
            match parts.get(count) {
                None if component.raw.is_empty() => {}
                None => {
                    let places = parts.len();
                    self.add(Code::ExtraElement, spot, component.at, || {
                        format!("the element has only {places} components")
                    });
                }
                Some(part) if component.raw.is_empty() => {
                    if part.mandatory {
                        self.missing(part, spot, component.at);
                    }
                }
                Some(Position { item: Item::Element(def), .. }) => self.value(def, component, spot),
                Some(_) => {}
            }
            count += 1;
        }
        for (at, part) in parts.iter().enumerate().skip(count) {
            if part.mandatory {
                self.missing(part, Spot { component: at + 1, ..spot }, end);
            }
        }
    }

    #[inline]
    fn value(&mut self, def: &ElementDef, component: Component<'_>, spot: Spot) {
        let measured = self.measured(def, component.raw);
        if !measured.is_right() {
            self.wrong(def, component, spot, measured);
        }
    }

    /// What a value is beside its definition.
    fn measured(&self, def: &ElementDef, raw: &[u8]) -> Measured {
        let length = if self.simple { raw.len() } else { self.message.notation.count(raw, self.released) };
        let (typed, length) = match def.kind {
            ValueKind::Text => (true, length),
            ValueKind::Alpha => (!raw.iter().any(u8::is_ascii_digit), length),
            ValueKind::Digits => (raw.iter().all(u8::is_ascii_digit), length),
            ValueKind::Integer => number(raw, false, false),
            ValueKind::Numeric => number(raw, true, false),
            ValueKind::Decimal => number(raw, true, true),
        };
        let (long, short) = (length > usize::from(def.longest), length < usize::from(def.shortest));
        Measured { typed, length, long, short }
    }

    #[cold]
    fn wrong(&mut self, def: &ElementDef, component: Component<'_>, spot: Spot, measured: Measured) {
        let ElementDef { id, kind, shortest, longest } = *def;
        let Measured { typed, length, long, short } = measured;
        let text = self.message.notation.text(component.raw, self.released);
        let shown: String = text.chars().take(40).collect();
        if !typed {
            let what = match kind {
                ValueKind::Alpha => "letters only",
                ValueKind::Digits => "digits only",
                ValueKind::Integer => "a whole number",
                _ => "a number",
            };
            self.add(Code::Type, spot, component.at, || format!("`{shown}` should be {what} ({id})"));
        }
        if long {
            let sentence = || format!("`{shown}` is {length} long, at most {longest} are allowed ({id})");
            self.add(Code::TooLong, spot, component.at, sentence);
        } else if short {
            let sentence = || format!("`{shown}` is {length} long, at least {shortest} are needed ({id})");
            self.add(Code::TooShort, spot, component.at, sentence);
        }
    }

    #[cold]
    fn missing(&mut self, position: &Position, spot: Spot, at: usize) {
        let id = match &position.item {
            Item::Element(def) => def.id,
            Item::Composite(id, ..) => *id,
        };
        self.add(Code::MissingElement, spot, at, || format!("mandatory {id} is missing"));
    }

    /// `at` is where in the bytes of the message.
    #[cold]
    fn add(&mut self, code: Code, spot: Spot, at: usize, sentence: impl FnOnce() -> String) {
        let narrow = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        let place = Place {
            element: narrow(spot.element),
            repetition: narrow(spot.repetition),
            component: narrow(spot.component),
            offset: self.message.record.offset() + at as u64,
            ..self.message.place(self.index)
        };
        self.findings.add(self.policy, code, place, sentence);
    }
}

/// Whether one of the places left is mandatory.
#[inline]
fn are_needed(left: &[Position]) -> bool {
    left.first().is_some_and(|position| position.needed)
}

/// Whether `raw` is a number, and how many digits it has: sign, decimal mark and exponent do not count.
fn number(raw: &[u8], decimals: bool, exponent: bool) -> (bool, usize) {
    let (mut digits, mut marks, mut fits) = (0, 0, true);
    for (at, byte) in raw.iter().enumerate() {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'-' if at == 0 => {}
            b'+' if at == 0 && exponent => {}
            b'.' | b',' if decimals => marks += 1,
            b'E' | b'e' if exponent && digits > 0 => {
                return (marks <= 1 && number(&raw[at + 1..], false, false).0, digits);
            }
            b'\r' | b'\n' => {}
            _ => fits = false,
        }
    }
    (fits && marks <= 1 && digits > 0, digits)
}
