//! Headers and properties: AMQP's types and the document's, both ways.
//!
//! | AMQP | in `$headers` | sent again |
//! |---|---|---|
//! | boolean | boolean | boolean |
//! | integers of all sizes | number | 64-bit integer |
//! | decimal, float, double | number, its shortest digits | 64-bit integer where it is whole, else double; text where a double would change it |
//! | text that is UTF-8 | text | text |
//! | text that is not, bytes | text, base64 | text; bytes under `@bytes` |
//! | timestamp | text, `2026-11-02T09:00:00Z` | text; timestamp under `@timestamp` |
//! | table, array | map, list | table, array |
//! | void | null | void |

use std::collections::BTreeMap;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, ShortString};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::message::{Fault, Map, Number, Text, Value};

/// Most bytes of a name, a routing key and most properties.
pub(super) const MOST_SHORT: usize = 255;
/// Headers nested deeper are not read.
const DEEPEST: usize = 32;
const TIMESTAMP: &str = "@timestamp";
const BYTES: &str = "@bytes";
const DECIMAL: &str = "@decimal";

/// Where and how a message came, for `$headers.amqp`.
pub(super) struct Envelope<'a> {
    pub exchange: &'a str,
    pub routing_key: &'a str,
    pub redelivered: bool,
    pub properties: &'a BasicProperties,
}

/// `$headers` of a message. A header called `amqp` gives way to the properties.
///
/// # Errors
/// `AMQP-HEADERS` (refuse): nested too deep.
pub(super) fn headers(envelope: &Envelope<'_>) -> Result<Map, Fault> {
    let table = envelope.properties.headers().as_ref().map(FieldTable::inner);
    let mut map = Map::with_capacity(table.map_or(0, BTreeMap::len) + 1);
    for (name, value) in table.into_iter().flatten() {
        map.insert(header_name(name.as_str()), value_of(value, 0)?);
    }
    map.insert("amqp", properties_of(envelope));
    Ok(map)
}

/// The value of the header `name`, however it is written.
pub(super) fn header(properties: &BasicProperties, name: &str) -> Option<Text> {
    let table = properties.headers().as_ref()?.inner();
    let value = table.get(name).or_else(|| {
        let wanted = header_name(name);
        table.iter().find(|(name, _)| header_name(name.as_str()) == wanted).map(|(_, value)| value)
    })?;
    value_of(value, 0).ok()?.plain()
}

/// Names are lower case, `-` is `_`.
fn header_name(name: &str) -> Text {
    let changes = |byte: u8| byte == b'-' || byte.is_ascii_uppercase() || !byte.is_ascii();
    if name.bytes().any(changes) { name.to_lowercase().replace('-', "_").into() } else { name.into() }
}

fn properties_of(envelope: &Envelope<'_>) -> Map {
    let of = envelope.properties;
    let mut map = Map::with_capacity(8);
    let mut set = |name: &'static str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(Text::new_static(name), value);
        }
    };
    let text = |short: &Option<ShortString>| short.as_ref().map(|short| Value::from(short.as_str()));
    set("exchange", Some(envelope.exchange.into()));
    set("routing_key", Some(envelope.routing_key.into()));
    set("redelivered", Some(envelope.redelivered.into()));
    set("message_id", text(of.message_id()));
    set("correlation_id", text(of.correlation_id()));
    set("reply_to", text(of.reply_to()));
    set("content_type", text(of.content_type()));
    set("content_encoding", text(of.content_encoding()));
    set("type", text(of.kind()));
    set("app_id", text(of.app_id()));
    set("user_id", text(of.user_id()));
    set("timestamp", of.timestamp().map(time));
    set("priority", of.priority().map(|priority| Value::from(i64::from(priority))));
    let expiration = of.expiration().as_ref().map(ShortString::as_str);
    set("expiration", expiration.map(|text| Value::number(text).unwrap_or_else(|| text.into())));
    set("persistent", of.delivery_mode().map(|mode| Value::from(mode == 2)));
    map
}

fn value_of(value: &AMQPValue, depth: usize) -> Result<Value, Fault> {
    if depth > DEEPEST {
        let said = format!("the headers are nested deeper than {DEEPEST}");
        return Err(Fault::refuse("AMQP-HEADERS", said).at("$headers"));
    }
    Ok(match value {
        AMQPValue::Boolean(flag) => (*flag).into(),
        AMQPValue::ShortShortInt(number) => i64::from(*number).into(),
        AMQPValue::ShortShortUInt(number) => i64::from(*number).into(),
        AMQPValue::ShortInt(number) => i64::from(*number).into(),
        AMQPValue::ShortUInt(number) => i64::from(*number).into(),
        AMQPValue::LongInt(number) => i64::from(*number).into(),
        AMQPValue::LongUInt(number) => i64::from(*number).into(),
        AMQPValue::LongLongInt(number) => (*number).into(),
        AMQPValue::Float(number) => float(number.is_finite(), &number.to_string()),
        AMQPValue::Double(number) => float(number.is_finite(), &number.to_string()),
        AMQPValue::DecimalValue(DecimalValue { scale, value }) => decimal(*scale, *value),
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::LongString(text) => match str::from_utf8(text.as_bytes()) {
            Ok(text) => text.into(),
            Err(_) => STANDARD.encode(text.as_bytes()).into(),
        },
        AMQPValue::ByteArray(bytes) => STANDARD.encode(bytes.as_slice()).into(),
        AMQPValue::Timestamp(seconds) => time(*seconds),
        AMQPValue::FieldArray(items) => {
            let items: Result<Vec<_>, _> = items.as_slice().iter().map(|item| value_of(item, depth + 1)).collect();
            items?.into()
        }
        AMQPValue::FieldTable(table) => {
            let mut map = Map::with_capacity(table.inner().len());
            for (name, value) in table {
                map.insert(name.as_str(), value_of(value, depth + 1)?);
            }
            map.into()
        }
        AMQPValue::Void => Value::Null,
    })
}

/// `text` is the shortest that reads back as the same number; what no decimal can say stays text.
fn float(finite: bool, text: &str) -> Value {
    finite.then(|| Value::number(text)).flatten().unwrap_or_else(|| text.into())
}

fn decimal(scale: u8, digits: u32) -> Value {
    match Decimal::try_from_i128_with_scale(i128::from(digits), u32::from(scale)) {
        // As a document would read it, so that it is the same when it comes back.
        Ok(decimal) => Value::number(&decimal.to_string()).unwrap_or_else(|| decimal.into()),
        Err(_) => format!("{digits}e-{scale}").into(),
    }
}

/// Seconds since 1970 as a time; their digits where they are beyond all calendars.
fn time(seconds: u64) -> Value {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| seconds.to_string().into(), |time| time.to_string().into())
}

/// Headers or arguments as they are sent.
///
/// # Errors
/// `AMQP-PROPERTY` (refuse): a name is too long, or what stands under `@timestamp`, `@bytes`, `@decimal` is no such thing.
pub(super) fn table(map: &Map) -> Result<FieldTable, Fault> {
    table_at(map, 0)
}

fn table_at(map: &Map, depth: usize) -> Result<FieldTable, Fault> {
    let mut table = FieldTable::default();
    for (name, value) in map.iter() {
        let value = sent(value, depth).map_err(|fault| fault.at(format!("headers.{name}")))?;
        table.insert(short("a header's name", name)?, value);
    }
    Ok(table)
}

fn sent(value: &Value, depth: usize) -> Result<AMQPValue, Fault> {
    if depth > DEEPEST {
        return Err(unfit(format!("is nested deeper than {DEEPEST}")));
    }
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(flag) => AMQPValue::Boolean(*flag),
        Value::Number(number) => sent_number(number),
        Value::Text(text) => AMQPValue::LongString(text.as_bytes().into()),
        Value::List(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(|item| sent(item, depth + 1)).collect();
            AMQPValue::FieldArray(FieldArray::from(items?))
        }
        Value::Map(map) => match only(map) {
            Some((TIMESTAMP, value)) => AMQPValue::Timestamp(seconds(value)?),
            Some((BYTES, value)) => {
                let bytes = value.as_text().and_then(|text| STANDARD.decode(text).ok());
                let bytes = bytes.ok_or_else(|| unfit("is not bytes: `@bytes` takes base64"))?;
                AMQPValue::ByteArray(ByteArray::from(bytes))
            }
            Some((DECIMAL, value)) => sent_decimal(value)?,
            Some(_) | None => AMQPValue::FieldTable(table_at(map, depth + 1)?),
        },
    })
}

/// The name and value of a map's only field.
fn only(map: &Map) -> Option<(&str, &Value)> {
    let mut fields = map.iter();
    let (name, value) = fields.next()?;
    fields.next().is_none().then_some((name.as_str(), value))
}

fn sent_number(number: &Number) -> AMQPValue {
    let written = || AMQPValue::LongString(number.to_string().into_bytes().into());
    let decimal = match number {
        Number::Decimal(decimal) => decimal,
        // A double beyond all decimals, which came in as one.
        Number::Wide(text) => {
            let double = f64::from_str(text).ok().filter(|double| double.is_finite() && double.to_string() == *text);
            return double.map_or_else(written, AMQPValue::Double);
        }
    };
    if let Some(whole) = decimal.to_i64().filter(|_| decimal.is_integer()) {
        return AMQPValue::LongLongInt(whole);
    }
    let double = f64::from_str(&decimal.to_string()).ok();
    let same = |double: &f64| Decimal::from_str(&double.to_string()).is_ok_and(|back| back == *decimal);
    double.filter(same).map_or_else(written, AMQPValue::Double)
}

fn sent_decimal(value: &Value) -> Result<AMQPValue, Fault> {
    let said = "is no AMQP decimal: those are not negative and have nine digits";
    let decimal = value.as_decimal().ok_or_else(|| unfit(said))?;
    let digits = u32::try_from(decimal.mantissa()).map_err(|_| unfit(said))?;
    let scale = u8::try_from(decimal.scale()).map_err(|_| unfit(said))?;
    Ok(AMQPValue::DecimalValue(DecimalValue { scale, value: digits }))
}

/// Seconds since 1970, from a time or from seconds.
fn seconds(value: &Value) -> Result<u64, Fault> {
    let of_time = |text: &str| text.parse::<Timestamp>().ok().and_then(|time| u64::try_from(time.as_second()).ok());
    let of_number = || value.as_decimal().and_then(|seconds| seconds.to_u64());
    let found = value.as_text().map_or_else(of_number, of_time);
    found.ok_or_else(|| unfit("is no time after 1970, such as `2026-11-02T09:00:00Z` or seconds"))
}

fn unfit(said: impl std::fmt::Display) -> Fault {
    Fault::refuse("AMQP-PROPERTY", format!("a header or property {said}"))
}

/// `text` where AMQP takes at most 255 bytes.
///
/// # Errors
/// `AMQP-PROPERTY` (refuse): it is longer.
pub(super) fn short(what: &str, text: &str) -> Result<ShortString, Fault> {
    ShortString::try_new(text).map_err(|_| {
        let said = format!("{what} has {} bytes; AMQP takes {MOST_SHORT}", text.len());
        Fault::refuse("AMQP-PROPERTY", said)
    })
}

/// `properties` with those named in `set` (as [`super::settings::PropertiesTemplate`] names them).
///
/// # Errors
/// `AMQP-PROPERTY` (refuse): one has a value that it cannot have.
pub(super) fn with(mut properties: BasicProperties, set: &Map) -> Result<BasicProperties, Fault> {
    for (name, value) in set.iter().filter(|(_, value)| **value != Value::Null) {
        let place = |fault: Fault| fault.at(format!("properties.{name}"));
        let plain = || value.plain().ok_or_else(|| unfit(format!("cannot be {}", value.kind())));
        let text = || short(&format!("`{name}`"), &plain()?);
        let whole = |most: u64| {
            let number = value.plain().and_then(|text| text.parse::<u64>().ok()).filter(|number| *number <= most);
            number.ok_or_else(|| unfit(format!("is a whole number up to {most}")))
        };
        properties = match name.as_str() {
            "message_id" => properties.with_message_id(text().map_err(place)?),
            "correlation_id" => properties.with_correlation_id(text().map_err(place)?),
            "reply_to" => properties.with_reply_to(text().map_err(place)?),
            "type" => properties.with_type(text().map_err(place)?),
            "app_id" => properties.with_app_id(text().map_err(place)?),
            "user_id" => properties.with_user_id(text().map_err(place)?),
            "content_encoding" => properties.with_content_encoding(text().map_err(place)?),
            "priority" => {
                let priority = whole(u64::from(u8::MAX)).map_err(place)?;
                properties.with_priority(u8::try_from(priority).unwrap_or(u8::MAX))
            }
            "expiration" => {
                let milliseconds = whole(u64::from(u32::MAX)).map_err(place)?;
                properties.with_expiration(milliseconds.to_string().into())
            }
            "timestamp" => properties.with_timestamp(seconds(value).map_err(place)?),
            _ => properties,
        };
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amqp() -> impl Strategy<Value = AMQPValue> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(AMQPValue::Boolean),
            any::<i8>().prop_map(AMQPValue::ShortShortInt),
            any::<u8>().prop_map(AMQPValue::ShortShortUInt),
            any::<i16>().prop_map(AMQPValue::ShortInt),
            any::<u16>().prop_map(AMQPValue::ShortUInt),
            any::<i32>().prop_map(AMQPValue::LongInt),
            any::<u32>().prop_map(AMQPValue::LongUInt),
            any::<i64>().prop_map(AMQPValue::LongLongInt),
            any::<f32>().prop_map(AMQPValue::Float),
            any::<f64>().prop_map(AMQPValue::Double),
            (any::<u8>(), any::<u32>())
                .prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
            any::<Vec<u8>>().prop_map(|bytes| AMQPValue::LongString(bytes.into())),
            any::<String>().prop_map(|text| AMQPValue::LongString(text.into_bytes().into())),
            any::<Vec<u8>>().prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
            any::<u64>().prop_map(AMQPValue::Timestamp),
            Just(AMQPValue::Void),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            let name = "[a-zA-Z][a-z_-]{0,12}";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(|items| AMQPValue::FieldArray(items.into())),
                prop::collection::btree_map(name, inner, 0..6).prop_map(|fields| {
                    let mut table = FieldTable::default();
                    for (name, value) in fields {
                        table.insert(name.as_str().into(), value);
                    }
                    AMQPValue::FieldTable(table)
                }),
            ]
        })
    }

    proptest! {
        /// Whatever a header holds, it is read, can be sent on, and says the same to the next hub.
        #[test]
        fn a_header_sent_on_says_the_same(value in amqp()) {
            let read = value_of(&value, 0).expect("it is not deep");
            let again = sent(&read, 0).expect("what was read can be sent");
            prop_assert_eq!(value_of(&again, 0).expect("it is not deep"), read);
        }

        /// What AMQP and a document have alike stays as it is.
        #[test]
        fn integers_texts_and_flags_keep_their_types(number: i64, text: String, flag: bool) {
            for value in [
                AMQPValue::LongLongInt(number),
                AMQPValue::LongString(text.into_bytes().into()),
                AMQPValue::Boolean(flag),
                AMQPValue::Void,
            ] {
                prop_assert_eq!(&sent(&value_of(&value, 0).expect("it is flat"), 0).expect("it can be sent"), &value);
            }
        }

        /// Amounts come through a double with the digits they were written with.
        #[test]
        fn amounts_keep_their_digits(digits in -99_999_999_999_999_i64..99_999_999_999_999, scale in 0_u32..6) {
            let amount = Value::from(Decimal::new(digits, scale));
            prop_assert_eq!(value_of(&sent(&amount, 0).expect("it can be sent"), 0).expect("it is flat"), amount);
        }

        #[test]
        fn a_time_of_ours_is_a_time_of_theirs(seconds in 0_u64..250_000_000_000) {
            let text = time(seconds);
            let map = Map::from_iter([(TIMESTAMP, text)]);
            prop_assert_eq!(sent(&map.into(), 0).expect("it can be sent"), AMQPValue::Timestamp(seconds));
        }
    }

    #[test]
    fn what_is_wider_than_a_double_is_sent_as_text() {
        let wide = Value::number("0.12345678901234567890123").expect("a number");
        assert_eq!(sent(&wide, 0).expect("it can be sent"), AMQPValue::LongString("0.12345678901234567890123".into()));
        let huge = Value::number("123456789012345678901234567890").expect("a number");
        assert_eq!(
            sent(&huge, 0).expect("it can be sent"),
            AMQPValue::LongString("123456789012345678901234567890".into())
        );
    }
}
