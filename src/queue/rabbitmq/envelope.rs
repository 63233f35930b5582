//! An entry as it travels: properties, headers and body of an AMQP message.
//!
//! The body is the entry's own, byte for byte. Everything else stands in properties and in headers whose names begin with
//! `raccord-`; the entry's headers travel as JSON text in one of them, so that amounts keep their digits. Properties must fit
//! into one frame, so JSON text that is long goes in front of the body instead, and a header says how long it is.

use bytes::Bytes;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::message::{Fault, Map, MessageId, Text, Value, json};
use crate::queue::broker::{Content, Envelope};
use crate::queue::{Decoded, NewEntry};

/// How entries are written. A hub reads this version and none other.
const VERSION: i64 = 1;

/// JSON text longer than this goes in front of the body.
const LONG: usize = 16 << 10;

/// Longest key: it must fit into a frame (128 KB) with the rest.
const LONGEST_KEY: usize = 32 << 10;

const ENVELOPE: &str = "raccord.entry";

/// `envelope` as the properties and the body of a persistent message from the hub called `hub`.
///
/// # Errors
/// `refuse`: a key longer than 32 KB.
pub fn message(envelope: &Envelope, hub: &ShortString) -> Result<(BasicProperties, Bytes), Fault> {
    let entry = &envelope.entry;
    if entry.key.as_ref().is_some_and(|key| key.len() > LONGEST_KEY) {
        return Err(Fault::refuse("AMQP-PROPERTY", "the value of `order_by` is longer than 32 KB"));
    }
    let mut body = entry.body.clone();
    let mut headers = FieldTable::default();
    let mut put = |name: &str, value: AMQPValue| {
        headers.insert(name.into(), value);
    };
    put("raccord-version", AMQPValue::LongLongInt(VERSION));
    put("raccord-queue", text(&entry.queue));
    put("raccord-time", nanoseconds(entry.time));
    put("raccord-stored", nanoseconds(envelope.stored));
    put("raccord-copy", text(&envelope.copy.to_string()));
    if entry.origin != entry.message {
        put("raccord-origin", text(&entry.origin.to_string()));
    }
    if let Some(key) = &entry.key {
        put("raccord-key", text(key));
    }
    if envelope.attempts > 0 {
        put("raccord-attempts", AMQPValue::LongLongInt(envelope.attempts.into()));
    }
    if entry.start_at > 0 {
        put("raccord-start", AMQPValue::LongLongInt(entry.start_at.into()));
    }
    if let Some(due) = entry.due {
        put("raccord-due", nanoseconds(due));
    }
    if !entry.headers.is_empty() {
        let fields = json::to_text(&Value::Map(entry.headers.clone()));
        if fields.len() > LONG {
            put("raccord-headers-length", AMQPValue::LongLongInt(i64::try_from(fields.len()).unwrap_or(i64::MAX)));
            body = [fields.as_bytes(), &entry.body].concat().into();
        } else {
            put("raccord-headers", text(&fields));
        }
    }
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(entry.message.to_string().into())
        .with_timestamp(u64::try_from(envelope.stored.as_second()).unwrap_or(0))
        .with_type(ENVELOPE.into())
        .with_app_id(hub.clone())
        .with_headers(headers);
    Ok((properties, body))
}

/// Reads a delivery; what is no entry of this version keeps its bytes and the headers that are text or numbers.
pub fn content(properties: &BasicProperties, body: Vec<u8>) -> Content {
    let body = Bytes::from(body);
    match read(properties, &body) {
        Ok(envelope) => Content::Entry(Box::new(envelope)),
        Err(why) => Content::Unreadable {
            headers: plain(properties),
            body,
            fault: Fault::refuse("AMQP-UNREADABLE", format!("the message is not from a hub of this version: {why}")),
        },
    }
}

fn read(properties: &BasicProperties, body: &Bytes) -> Result<Envelope, String> {
    let headers = properties.headers().as_ref().ok_or("it has no headers")?;
    let header = |name: &str| headers.inner().get(name);
    let whole = |name: &str| match header(name) {
        Some(AMQPValue::LongLongInt(number)) => Ok(Some(*number)),
        None => Ok(None),
        Some(_) => Err(format!("its header {name} is not a whole number")),
    };
    let words = |name: &str| match header(name) {
        Some(AMQPValue::LongString(text)) => {
            std::str::from_utf8(text.as_bytes()).map(Some).map_err(|_| format!("its header {name} is not UTF-8"))
        }
        None => Ok(None),
        Some(_) => Err(format!("its header {name} is not text")),
    };
    let missing = |name: &str| format!("it has no header {name}");
    let instant = |name: &str| {
        let number = whole(name)?;
        let instant = number.map(|number| Timestamp::from_nanosecond(number.into()));
        instant.transpose().map_err(|_| format!("its header {name} is no instant"))
    };
    match whole("raccord-version")? {
        Some(VERSION) => {}
        Some(other) => return Err(format!("it has version {other}")),
        None => return Err(missing("raccord-version")),
    }
    let id = |text: &str| text.parse::<MessageId>().map_err(|_| format!("{text:?} is no message id"));
    let message = id(properties.message_id().as_ref().ok_or("it has no message id")?.as_str())?;
    let small = |name: &str| {
        u32::try_from(whole(name)?.unwrap_or(0)).map_err(|_| format!("its header {name} is out of bounds"))
    };
    let mut body = body.clone();
    let apart = match usize::try_from(whole("raccord-headers-length")?.unwrap_or(0)) {
        Ok(0) => None,
        Ok(length) if length <= body.len() => Some(body.split_to(length)),
        _ => return Err("its header raccord-headers-length is out of bounds".into()),
    };
    let fields = words("raccord-headers")?.map(str::as_bytes).or(apart.as_deref());
    let fields = match fields.map(json::read) {
        None => Map::default(),
        Some(Ok(Value::Map(map))) => map,
        Some(_) => return Err("its header raccord-headers is no JSON object".into()),
    };
    Ok(Envelope {
        copy: id(words("raccord-copy")?.ok_or_else(|| missing("raccord-copy"))?)?,
        entry: NewEntry {
            queue: words("raccord-queue")?.map(Text::new).ok_or_else(|| missing("raccord-queue"))?,
            message,
            origin: words("raccord-origin")?.map(id).transpose()?.unwrap_or(message),
            key: words("raccord-key")?.map(Text::new),
            time: instant("raccord-time")?.ok_or_else(|| missing("raccord-time"))?,
            headers: fields,
            body,
            start_at: small("raccord-start")?,
            due: instant("raccord-due")?,
            decoded: Decoded::default(),
        },
        attempts: small("raccord-attempts")?,
        stored: instant("raccord-stored")?.ok_or_else(|| missing("raccord-stored"))?,
    })
}

/// Headers and the naming properties of a foreign message, as far as they are text or numbers.
fn plain(properties: &BasicProperties) -> Map {
    let mut map = Map::default();
    for (name, value) in properties.headers().iter().flat_map(|headers| headers.inner()) {
        let value = match value {
            AMQPValue::LongString(text) => Value::Text(Text::new(String::from_utf8_lossy(text.as_bytes()))),
            AMQPValue::Boolean(flag) => Value::Bool(*flag),
            AMQPValue::LongLongInt(number) => Value::Text(Text::new(number.to_string())),
            AMQPValue::LongInt(number) => Value::Text(Text::new(number.to_string())),
            _ => continue,
        };
        map.insert(Text::new(name.as_str()), value);
    }
    let named = [
        ("message_id", properties.message_id()),
        ("type", properties.kind()),
        ("app_id", properties.app_id()),
        ("content_type", properties.content_type()),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            map.insert(Text::new(name), Value::Text(Text::new(value.as_str())));
        }
    }
    map
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

/// Nanoseconds fit into 64 bits from 1677 to 2262; what lies outside is taken for the nearest.
fn nanoseconds(instant: Timestamp) -> AMQPValue {
    let nanoseconds = instant.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into());
    AMQPValue::LongLongInt(i64::try_from(nanoseconds).expect("just clamped"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelopes() -> impl Strategy<Value = Envelope> {
        let id = any::<[u8; 16]>().prop_map(MessageId::from_bytes);
        let instant =
            any::<i64>().prop_map(|n| Timestamp::from_nanosecond(n.into()).expect("within the years of jiff"));
        let number =
            (any::<i64>(), 0_u32..6).prop_map(|(digits, scale)| format!("{digits}.{}", "0".repeat(scale as usize + 1)));
        let header = prop_oneof![
            any::<String>().prop_map(|text| Value::Text(Text::new(text))),
            (20_000_usize..40_000).prop_map(|length| Value::Text(Text::new("x".repeat(length)))),
            number.prop_map(|text| json::read(text.as_bytes()).expect("a number")),
        ];
        let headers = proptest::collection::vec((".{0,20}", header), 0..5).prop_map(|fields| {
            fields.into_iter().fold(Map::default(), |mut map, (name, value)| {
                map.insert(Text::new(name), value);
                map
            })
        });
        let body = proptest::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
        let entry =
            (id.clone(), proptest::option::of(id), ".{1,30}", proptest::option::of(".{0,300}"), instant.clone());
        let rest = (headers, body, any::<u32>(), proptest::option::of(instant.clone()), any::<u32>(), instant);
        (entry, rest).prop_map(
            |((message, origin, queue, key, time), (headers, body, start_at, due, attempts, stored))| Envelope {
                copy: MessageId::derive(&[b"copy", message.as_bytes()]),
                entry: NewEntry {
                    queue: Text::new(queue),
                    message,
                    origin: origin.unwrap_or(message),
                    key: key.map(Text::new),
                    time,
                    headers,
                    body,
                    start_at,
                    due,
                    decoded: Decoded::default(),
                },
                attempts,
                stored,
            },
        )
    }

    proptest! {
        #[test]
        fn an_entry_comes_back_as_it_went(envelope in envelopes()) {
            let (properties, body) = message(&envelope, &"hub".into()).expect("the key is short");
            match content(&properties, body.to_vec()) {
                Content::Entry(read) => {
                    prop_assert_eq!(json::to_text(&Value::Map(read.entry.headers.clone())), json::to_text(&Value::Map(envelope.entry.headers.clone())));
                    prop_assert_eq!(*read, envelope);
                }
                Content::Unreadable { fault, .. } => prop_assert!(false, "{}", fault),
            }
        }
    }

    #[test]
    fn what_no_hub_wrote_keeps_its_bytes_and_says_why() {
        let mut headers = FieldTable::default();
        headers.insert("shop".into(), text("Tallinn"));
        let foreign = BasicProperties::default().with_headers(headers).with_message_id("7".into());
        match content(&foreign, b"\xff\x00".to_vec()) {
            Content::Unreadable { headers, body, fault } => {
                assert_eq!(body.as_ref(), b"\xff\x00");
                assert_eq!(json::to_text(&Value::Map(headers)), r#"{"shop":"Tallinn","message_id":"7"}"#);
                assert_eq!(fault.code(), "AMQP-UNREADABLE");
                assert!(fault.to_string().contains("it has no header raccord-version"), "{fault}");
            }
            Content::Entry(_) => panic!("it is no entry"),
        }
    }
}
