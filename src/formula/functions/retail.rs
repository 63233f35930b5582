//! Retail: value added tax. Rates are in percent, 20 means 20 %; results have 2 decimals unless said otherwise.

use rust_decimal::Decimal;

use super::{Body, Family, Function, Given, Kind, done, may, need, numbers};
use crate::formula::faults;
use crate::message::{Fault, Value};

const PARAMETERS: &[super::Parameter] =
    &[need("amount", Kind::Number), need("rate", Kind::Number), may("digits", Kind::Number)];

pub const ALL: &[Function] = &[
    Function {
        name: "net_of_vat",
        family: Family::Retail,
        parameters: PARAMETERS,
        result: Kind::Number,
        about: "The amount without VAT, from one with it; the rate is in percent. Rounded to 2 decimals or those given, a half away from zero.",
        example: "net_of_vat(11.99, 20)",
        gives: "9.99",
        body: Body::Plain(|given| done(net(given)?)),
    },
    Function {
        name: "vat_of",
        family: Family::Retail,
        parameters: PARAMETERS,
        result: Kind::Number,
        about: "The VAT inside an amount with it: what `net_of_vat` takes off, so both add up to the amount.",
        example: "vat_of(11.99, 20)",
        gives: "2.00",
        body: Body::Plain(vat),
    },
    Function {
        name: "gross_of",
        family: Family::Retail,
        parameters: PARAMETERS,
        result: Kind::Number,
        about: "The amount with VAT, from one without it.",
        example: "gross_of(9.99, 5.5)",
        gives: "10.54",
        body: Body::Plain(gross),
    },
];

const HUNDRED: Decimal = Decimal::ONE_HUNDRED;

fn net(given: &Given<'_>) -> Result<Decimal, Fault> {
    let (amount, rate, digits) = read(given)?;
    let exact = amount.checked_mul(HUNDRED).and_then(|scaled| scaled.checked_div(rate + HUNDRED));
    exact.map(|exact| numbers::rounded(exact, digits)).ok_or_else(|| too_large(given))
}

fn vat(given: &Given<'_>) -> Result<Value, Fault> {
    let (amount, _, digits) = read(given)?;
    // The amount may have more decimals than asked for.
    match amount.checked_sub(net(given)?) {
        Some(vat) => done(numbers::rounded(vat, digits)),
        None => Err(too_large(given)),
    }
}

fn gross(given: &Given<'_>) -> Result<Value, Fault> {
    let (amount, rate, digits) = read(given)?;
    let exact = amount.checked_mul(rate + HUNDRED).and_then(|scaled| scaled.checked_div(HUNDRED));
    exact.map(|exact| numbers::rounded(exact, digits).into()).ok_or_else(|| too_large(given))
}

fn read(given: &Given<'_>) -> Result<(Decimal, Decimal, i64), Fault> {
    let (amount, rate) = (given.number(0), given.number(1));
    if !(Decimal::ZERO..=HUNDRED).contains(&rate) {
        return Err(given.refuse(1, "a rate is in percent, from 0 to 100"));
    }
    Ok((amount, rate, given.whole(2, 2, 0, 28)?))
}

fn too_large(given: &Given<'_>) -> Fault {
    faults::arithmetic(format!("`{}`: the amount is too large to be exact (28 digits)", given.function.name))
}
