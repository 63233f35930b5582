//! Text. Positions and lengths count characters, from 0 as in paths; negative ones count from the end.

use std::borrow::Cow;

use super::{Body, Family, Function, Given, Kind, done, done_text, many, may, need};
use crate::formula::{MAX_TEXT, faults, path};
use crate::message::{Fault, Value};

pub const ALL: &[Function] = &[
    Function {
        name: "upper",
        family: Family::Text,
        parameters: &[need("text", Kind::Text)],
        result: Kind::Text,
        about: "The text in capitals.",
        example: "upper($.name)",
        gives: "'ZOÉ MARTIN'",
        body: Body::Plain(|given| done_text(given.text(0).to_uppercase())),
    },
    Function {
        name: "lower",
        family: Family::Text,
        parameters: &[need("text", Kind::Text)],
        result: Kind::Text,
        about: "The text in small letters.",
        example: "lower('EUR')",
        gives: "'eur'",
        body: Body::Plain(|given| done_text(given.text(0).to_lowercase())),
    },
    Function {
        name: "trim",
        family: Family::Text,
        parameters: &[need("text", Kind::Text)],
        result: Kind::Text,
        about: "The text without blanks and line ends around it.",
        example: "trim('  A12 ')",
        gives: "'A12'",
        body: Body::Plain(|given| done_text(given.text(0).trim())),
    },
    Function {
        name: "concat",
        family: Family::Text,
        parameters: &[many("part", Kind::Plain)],
        result: Kind::Text,
        about: "The parts one after the other. Alone, it makes text of a number.",
        example: "concat('WEB-', 1042)",
        gives: "'WEB-1042'",
        body: Body::Plain(concat),
    },
    Function {
        name: "replace",
        family: Family::Text,
        parameters: &[need("text", Kind::Text), need("what", Kind::Text), need("by", Kind::Text)],
        result: Kind::Text,
        about: "The text with each `what` replaced by `by`; both are plain text, not patterns.",
        example: "replace('12.50', '.', ',')",
        gives: "'12,50'",
        body: Body::Plain(replace),
    },
    Function {
        name: "substring",
        family: Family::Text,
        parameters: &[need("text", Kind::Text), need("from", Kind::Number), may("length", Kind::Number)],
        result: Kind::Text,
        about: "A piece of the text: `from` counts from 0, or from the end if negative; without `length`, to the end. \
                What lies outside the text is empty.",
        example: "concat(substring('ABC-123', 0, 3), substring('ABC-123', -3))",
        gives: "'ABC123'",
        body: Body::Plain(substring),
    },
    Function {
        name: "pad_left",
        family: Family::Text,
        parameters: &[need("text", Kind::Plain), need("length", Kind::Number), may("with", Kind::Text)],
        result: Kind::Text,
        about: "The text filled up on its left, with blanks or the character given. A longer text stays as it is.",
        example: "pad_left(42, 6, '0')",
        gives: "'000042'",
        body: Body::Plain(|given| pad(given, true)),
    },
    Function {
        name: "pad_right",
        family: Family::Text,
        parameters: &[need("text", Kind::Plain), need("length", Kind::Number), may("with", Kind::Text)],
        result: Kind::Text,
        about: "The text filled up on its right, with blanks or the character given.",
        example: "pad_right('AB', 4, '.')",
        gives: "'AB..'",
        body: Body::Plain(|given| pad(given, false)),
    },
    Function {
        name: "split",
        family: Family::Text,
        parameters: &[need("text", Kind::Text), need("separator", Kind::Text)],
        result: Kind::List,
        about: "The pieces between separators.",
        example: "split('a;b;;c', ';')",
        gives: "['a', 'b', '', 'c']",
        body: Body::Plain(split),
    },
    Function {
        name: "join",
        family: Family::Text,
        parameters: &[need("list", Kind::List), may("separator", Kind::Text)],
        result: Kind::Text,
        about: "The texts and numbers of a list in one text.",
        example: "join($.lines[*].qty, '/')",
        gives: "'2/1'",
        body: Body::Plain(join),
    },
    Function {
        name: "starts_with",
        family: Family::Text,
        parameters: &[need("text", Kind::Text), need("start", Kind::Text)],
        result: Kind::Boolean,
        about: "Whether the text begins so.",
        example: "starts_with('WEB-1042', 'WEB-')",
        gives: "true",
        body: Body::Plain(|given| done(given.text(0).starts_with(given.text(1)))),
    },
    Function {
        name: "ends_with",
        family: Family::Text,
        parameters: &[need("text", Kind::Text), need("end", Kind::Text)],
        result: Kind::Boolean,
        about: "Whether the text ends so.",
        example: "ends_with('photo.jpg', '.png')",
        gives: "false",
        body: Body::Plain(|given| done(given.text(0).ends_with(given.text(1)))),
    },
    Function {
        name: "contains",
        family: Family::Text,
        parameters: &[need("text", Kind::Text), need("piece", Kind::Text)],
        result: Kind::Boolean,
        about: "Whether the text holds the piece. For lists there is `in`.",
        example: "contains($.name, 'Mart')",
        gives: "true",
        body: Body::Plain(|given| done(given.text(0).contains(given.text(1)))),
    },
    Function {
        name: "matches",
        family: Family::Text,
        parameters: &[need("text", Kind::Text), need("pattern", Kind::WholePattern)],
        result: Kind::Boolean,
        about: "Whether the whole text has the form of a regular expression.",
        example: "matches('FR-75011', '[A-Z]{2}-[0-9]{5}')",
        gives: "true",
        body: Body::Plain(|given| done(given.pattern(1)?.is_match(given.text(0)))),
    },
    Function {
        name: "extract",
        family: Family::Text,
        parameters: &[need("text", Kind::Text), need("pattern", Kind::Pattern)],
        result: Kind::Text,
        about: "The first piece that has the form of a regular expression; with parentheses in it, what stands in the \
                first ones. Nothing found is a fault that `coalesce` takes.",
        example: "extract('order WEB-1042, paid', 'WEB-([0-9]+)')",
        gives: "'1042'",
        body: Body::Plain(extract),
    },
    Function {
        name: "length",
        family: Family::Text,
        parameters: &[need("text", Kind::Text)],
        result: Kind::Number,
        about: "How many characters. For lists there is `count`.",
        example: "length('Zoé')",
        gives: "3",
        body: Body::Plain(|given| done(given.text(0).chars().count())),
    },
    Function {
        name: "ascii",
        family: Family::Text,
        parameters: &[need("text", Kind::Text)],
        result: Kind::Text,
        about: "The text without accents, for systems that know no others; a character without a Latin likeness becomes `?`.",
        example: "ascii('Zoé, l’œuvre à 5 €')",
        gives: "'Zoe, l''oeuvre a 5 EUR'",
        body: Body::Plain(ascii),
    },
];

fn concat(given: &Given<'_>) -> Result<Value, Fault> {
    let mut out = String::new();
    for index in 0..given.arguments.len() {
        let part = given.plain(index);
        given.bounded(out.len() + part.len())?;
        out.push_str(&part);
    }
    done_text(out)
}

fn replace(given: &Given<'_>) -> Result<Value, Fault> {
    let (text, what, by) = (given.text(0), given.text(1), given.text(2));
    if what.is_empty() {
        return Err(given.refuse(1, "there is nothing to replace in an empty text"));
    }
    let grown = by.len().saturating_sub(what.len());
    given.bounded(text.len().saturating_add(text.matches(what).count().saturating_mul(grown)))?;
    done_text(text.replace(what, by))
}

fn substring(given: &Given<'_>) -> Result<Value, Fault> {
    let text = given.text(0);
    let most = MAX_TEXT as i64;
    let from = given.whole(1, 0, -most, most)?;
    let length = given.whole(2, most, 0, most)? as usize;
    let skip = if from < 0 {
        // Further back than the text begins is its beginning.
        path::position(from, text.chars().count()).unwrap_or(0)
    } else {
        from as usize
    };
    done_text(text.chars().skip(skip).take(length).collect::<String>())
}

fn pad(given: &Given<'_>, left: bool) -> Result<Value, Fault> {
    let text = given.plain(0);
    let length = given.whole(1, 0, 0, MAX_TEXT as i64)? as usize;
    let mut with = given.text_or(2, " ").chars();
    let (Some(filler), None) = (with.next(), with.next()) else {
        return Err(given.refuse(2, "it wants one character"));
    };
    let lacking = length.saturating_sub(text.chars().count());
    let filling: String = std::iter::repeat_n(filler, lacking).collect();
    done_text(if left { filling + &text } else { text.into_owned() + &filling })
}

fn split(given: &Given<'_>) -> Result<Value, Fault> {
    if given.text(1).is_empty() {
        return Err(given.refuse(1, "an empty text separates nothing"));
    }
    done(given.text(0).split(given.text(1)).map(Value::from).collect::<Vec<_>>())
}

fn join(given: &Given<'_>) -> Result<Value, Fault> {
    let separator = given.text_or(1, "");
    let mut out = String::new();
    for (index, item) in given.list(0).iter().enumerate() {
        let Some(text) = item.plain() else {
            let said = format!("`join` wants texts and numbers; item {index} is {}", item.kind());
            return Err(faults::at(faults::kind(said), &given.expressions[0]));
        };
        given.bounded(out.len() + separator.len() + text.len())?;
        if index > 0 {
            out.push_str(separator);
        }
        out.push_str(&text);
    }
    done_text(out)
}

fn extract(given: &Given<'_>) -> Result<Value, Fault> {
    let pattern = given.pattern(1)?;
    let found = pattern.captures(given.text(0)).and_then(|found| found.get(1).or_else(|| found.get(0)));
    match found {
        Some(found) => done_text(found.as_str()),
        None => Err(given.nothing(0, "nothing in the text has the form of the pattern")),
    }
}

/// Letters and what they become. A letter not here, and not ASCII, is `?`.
const LIKENESSES: &[(&str, &str)] = &[
    ("àáâãåāăą", "a"),
    ("ÀÁÂÃÅĀĂĄ", "A"),
    ("ä", "a"),
    ("Ä", "A"),
    ("æ", "ae"),
    ("Æ", "AE"),
    ("çćĉċč", "c"),
    ("ÇĆĈĊČ", "C"),
    ("ďđð", "d"),
    ("ĎĐÐ", "D"),
    ("èéêëēĕėęě", "e"),
    ("ÈÉÊËĒĔĖĘĚ", "E"),
    ("ĝğġģ", "g"),
    ("ĜĞĠĢ", "G"),
    ("ĥħ", "h"),
    ("ĤĦ", "H"),
    ("ìíîïĩīĭįı", "i"),
    ("ÌÍÎÏĨĪĬĮİ", "I"),
    ("ĵ", "j"),
    ("Ĵ", "J"),
    ("ķ", "k"),
    ("Ķ", "K"),
    ("ĺļľŀł", "l"),
    ("ĹĻĽĿŁ", "L"),
    ("ñńņň", "n"),
    ("ÑŃŅŇ", "N"),
    ("òóôõöøōŏő", "o"),
    ("ÒÓÔÕÖØŌŎŐ", "O"),
    ("œ", "oe"),
    ("Œ", "OE"),
    ("ŕŗř", "r"),
    ("ŔŖŘ", "R"),
    ("śŝşšș", "s"),
    ("ŚŜŞŠȘ", "S"),
    ("ß", "ss"),
    ("ẞ", "SS"),
    ("ţťŧț", "t"),
    ("ŢŤŦȚ", "T"),
    ("þ", "th"),
    ("Þ", "TH"),
    ("ùúûüũūŭůűų", "u"),
    ("ÙÚÛÜŨŪŬŮŰŲ", "U"),
    ("ŵ", "w"),
    ("Ŵ", "W"),
    ("ýÿŷ", "y"),
    ("ÝŸŶ", "Y"),
    ("źżž", "z"),
    ("ŹŻŽ", "Z"),
    ("‘’‚´", "'"),
    ("“”„«»", "\""),
    ("–—‐‑−", "-"),
    ("…", "..."),
    ("€", "EUR"),
    ("£", "GBP"),
    ("°ºª", ""),
    ("\u{a0}\u{202f}\u{2009}", " "),
    ("×", "x"),
    ("·•", "-"),
    ("²", "2"),
    ("³", "3"),
    ("½", "1/2"),
];

fn ascii(given: &Given<'_>) -> Result<Value, Fault> {
    let text = given.text(0);
    if text.is_ascii() {
        return done_text(text);
    }
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|character| out.push_str(&likeness(character)));
    done_text(out)
}

fn likeness(character: char) -> Cow<'static, str> {
    if character.is_ascii() {
        return Cow::Owned(character.to_string());
    }
    // An accent that stands alone, after its letter.
    if matches!(character, '\u{300}'..='\u{36f}') {
        return Cow::Borrowed("");
    }
    LIKENESSES.iter().find(|(from, _)| from.contains(character)).map_or(Cow::Borrowed("?"), |(_, to)| Cow::Borrowed(to))
}
