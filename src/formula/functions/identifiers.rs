//! Identifiers: GS1 keys with their check digits (GS1 General Specifications, section 7.9), and derived ids.

use sha2::{Digest, Sha256};

use super::{Body, Family, Function, Given, Kind, done, done_text, may, need};
use crate::message::{Fault, MessageId, Value};

pub const ALL: &[Function] = &[
    Function {
        name: "gtin",
        family: Family::Identifiers,
        parameters: &[need("code", Kind::Plain), may("length", Kind::Number)],
        result: Kind::Text,
        about: "The article number (EAN, UPC) if it has 8, 12, 13 or 14 digits and a right check digit, else a fault. With a \
                length it is brought to it by leading zeros.",
        example: "[gtin('4006381333931'), gtin('96385074', 14)]",
        gives: "['4006381333931', '00000096385074']",
        body: Body::Plain(gtin),
    },
    Function {
        name: "gln",
        family: Family::Identifiers,
        parameters: &[need("code", Kind::Plain)],
        result: Kind::Text,
        about: "The location number if it has 13 digits and a right check digit, else a fault.",
        example: "gln('3012345000017')",
        gives: "'3012345000017'",
        body: Body::Plain(|given| checked(given, digits(given)?, &[13])),
    },
    Function {
        name: "sscc",
        family: Family::Identifiers,
        parameters: &[need("code", Kind::Plain)],
        result: Kind::Text,
        about: "The number of a logistic unit, 18 digits with a right check digit, else a fault; the `00` of its bar code is taken off.",
        example: "sscc('(00)340123450000000017')",
        gives: "'340123450000000017'",
        body: Body::Plain(sscc),
    },
    Function {
        name: "check_digit",
        family: Family::Identifiers,
        parameters: &[need("digits", Kind::Plain)],
        result: Kind::Text,
        about: "The GS1 check digit that completes the digits, for GTIN, GLN and SSCC alike.",
        example: "concat('301234500001', check_digit('301234500001'))",
        gives: "'3012345000017'",
        body: Body::Plain(|given| done_text(check_digit(digits(given)?.as_bytes()).to_string())),
    },
    Function {
        name: "luhn",
        family: Family::Identifiers,
        parameters: &[need("code", Kind::Plain)],
        result: Kind::Boolean,
        about: "Whether the last digit is the Luhn check digit of the others (SIREN, SIRET, many loyalty cards).",
        example: "luhn('79927398713')",
        gives: "true",
        body: Body::Plain(|given| done(luhn(digits(given)?.as_bytes()))),
    },
    Function {
        name: "uuid",
        family: Family::Identifiers,
        parameters: &[may("name", Kind::Plain)],
        result: Kind::Text,
        about: "An id that comes from the message's own: the same in every retry, and the same each time it is asked for in \
                one message. For several, give each a name: `uuid(concat('line ', $index))`.",
        example: "uuid('label') == uuid('label') and uuid('label') != uuid()",
        gives: "true",
        body: Body::Plain(uuid),
    },
    Function {
        name: "hash",
        family: Family::Identifiers,
        parameters: &[need("text", Kind::Plain)],
        result: Kind::Text,
        about: "The SHA-256 of the text's UTF-8 bytes, in hexadecimal.",
        example: "substring(hash('abc'), 0, 16)",
        gives: "'ba7816bf8f01cfea'",
        body: Body::Plain(|given| done_text(hexadecimal(&Sha256::digest(given.plain(0).as_bytes())))),
    },
];

pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn gtin(given: &Given<'_>) -> Result<Value, Fault> {
    let code = digits(given)?;
    let Some(length) = given.get(1) else {
        return checked(given, code, &[8, 12, 13, 14]);
    };
    let length = match length.as_decimal().map(|length| length.to_string()).as_deref() {
        Some("8") => 8,
        Some("12") => 12,
        Some("13") => 13,
        Some("14") => 14,
        _ => return Err(given.refuse(1, "an article number has 8, 12, 13 or 14 digits")),
    };
    // Zeros in front change neither the number nor its check digit.
    let spare = code.len().saturating_sub(length);
    if code.bytes().take(spare).any(|byte| byte != b'0') {
        return Err(given.refuse(0, format!("it has more than {length} digits")));
    }
    checked(given, code.clone(), &[8, 12, 13, 14])?;
    done_text(format!("{:0>length$}", &code[spare..]))
}

fn sscc(given: &Given<'_>) -> Result<Value, Fault> {
    let code = digits(given)?;
    let code = if code.len() == 20 { code.strip_prefix("00").unwrap_or(&code).to_owned() } else { code };
    checked(given, code, &[18])
}

/// The digits of the code; blanks, hyphens and parentheses between them are dropped.
fn digits(given: &Given<'_>) -> Result<String, Fault> {
    let text = given.plain(0);
    if text.len() > 64 {
        return Err(given.refuse(0, "longer than 64 characters"));
    }
    let code: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')')).collect();
    if code.is_empty() || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(given.refuse(0, "it wants digits"));
    }
    Ok(code)
}

fn checked(given: &Given<'_>, code: String, lengths: &[usize]) -> Result<Value, Fault> {
    if !lengths.contains(&code.len()) {
        let wanted: Vec<String> = lengths.iter().map(usize::to_string).collect();
        return Err(given.refuse(0, format!("{} digits, expected {}", code.len(), wanted.join(", "))));
    }
    let (body, last) = code.as_bytes().split_at(code.len() - 1);
    let right = check_digit(body);
    if last != [b'0' + right] {
        return Err(given.refuse(0, format!("the check digit should be {right}")));
    }
    done_text(code)
}

/// From the right, digits weigh 3, 1, 3, 1…
fn check_digit(digits: &[u8]) -> u8 {
    let sum: u32 = digits
        .iter()
        .rev()
        .zip([3, 1].into_iter().cycle())
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .sum();
    ((10 - sum % 10) % 10) as u8
}

fn luhn(digits: &[u8]) -> bool {
    let value = |(at, digit): (usize, &u8)| {
        let digit = u32::from(digit - b'0');
        if at % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit }
    };
    digits.len() > 1 && digits.iter().rev().enumerate().map(value).sum::<u32>() % 10 == 0
}

fn uuid(given: &Given<'_>) -> Result<Value, Fault> {
    let id = given.frame.scope.id;
    let name = given.plain(0);
    let derived = match given.get(0) {
        None => MessageId::derive(&[b"uuid", id.as_bytes()]),
        Some(_) => MessageId::derive(&[b"uuid", id.as_bytes(), name.as_bytes()]),
    };
    done_text(derived.to_string())
}
