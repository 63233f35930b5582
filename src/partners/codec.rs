//! Bytes ⇄ documents of what is exchanged with partners.

use std::sync::Arc;

use bytes::Bytes;

use super::hand_over::{from_bytes, to_bytes};
use super::interchange::{Opened, find, open};
use super::load::Partners;
use crate::codecs::Codec;
use crate::message::{Fault, Map, Value};

/// Under these names what was read of a message stands, until its partner's map makes the document of it.
pub(super) const PARTNER: &str = "raccord:partner";
pub(super) const CONTENT: &str = "raccord:content";
pub(super) const TYPE: &str = "raccord:document";
pub(super) const HEADERS: &str = "raccord:headers";

/// Interchanges as they come in: kept whole until they are opened.
#[derive(Debug)]
pub struct InterchangeCodec;

/// Under this name the bytes stand.
pub(super) const BYTES: &str = "bytes";

impl Codec for InterchangeCodec {
    fn decode(&self, bytes: &[u8]) -> Result<Value, Fault> {
        find(&Bytes::copy_from_slice(bytes))?;
        Ok(Map::from_iter([(BYTES, from_bytes(bytes))]).into())
    }

    fn encode(&self, _document: &Value) -> Result<Bytes, Fault> {
        Err(one_way())
    }

    fn encode_record(&self, _document: &Value, _out: &mut Vec<u8>) -> Result<(), Fault> {
        Err(one_way())
    }

    fn content_type(&self) -> &'static str {
        "application/octet-stream"
    }
}

/// Interchanges as they go out: written already.
#[derive(Debug)]
pub struct EnvelopeCodec;

impl Codec for EnvelopeCodec {
    fn decode(&self, _bytes: &[u8]) -> Result<Value, Fault> {
        Err(one_way())
    }

    fn encode(&self, document: &Value) -> Result<Bytes, Fault> {
        let bytes = document.get(BYTES).and_then(Value::as_text).ok_or_else(one_way)?;
        Ok(to_bytes(bytes).into())
    }

    /// Interchanges may stand one after the other in a file.
    fn encode_record(&self, document: &Value, out: &mut Vec<u8>) -> Result<(), Fault> {
        out.extend_from_slice(&self.encode(document)?);
        Ok(())
    }

    fn content_type(&self) -> &'static str {
        "application/octet-stream"
    }
}

/// One message of a partner, with the envelope around it.
#[derive(Debug)]
pub struct MessageCodec(pub Arc<Partners>);

impl Codec for MessageCodec {
    fn decode(&self, bytes: &[u8]) -> Result<Value, Fault> {
        let found = find(&Bytes::copy_from_slice(bytes))?;
        let [interchange] = &found[..] else {
            return Err(one_message(format!("it holds {} interchanges", found.len())));
        };
        let partner = self.0.sender(interchange.dialect, &interchange.sender, &interchange.receiver)?;
        let Opened { header, messages, fault, .. } = open(partner, &self.0.library, &interchange.bytes, true)?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        let count = messages.len();
        let (Some(message), 1) = (messages.into_iter().next(), count) else {
            return Err(one_message(format!("its interchange holds {count} messages")));
        };
        if let Some(fault) = message.fault {
            return Err(fault);
        }
        let document = partner.incoming(&message.kind).ok_or_else(|| unknown_document(&partner.name, &message.kind))?;
        let headers = headers(&partner.name, &document.name, &header.reference, &message.reference);
        Ok(Map::from_iter([
            (PARTNER, Value::from(partner.name.clone())),
            (TYPE, document.name.clone().into()),
            (HEADERS, headers.into()),
            (CONTENT, message.document),
        ])
        .into())
    }

    fn encode(&self, _document: &Value) -> Result<Bytes, Fault> {
        Err(one_way())
    }

    fn encode_record(&self, _document: &Value, _out: &mut Vec<u8>) -> Result<(), Fault> {
        Err(one_way())
    }

    fn content_type(&self) -> &'static str {
        "application/octet-stream"
    }
}

/// The headers of a message of a partner.
pub(super) fn headers(partner: &str, document: &str, interchange: &str, reference: &str) -> Map {
    let all = [("partner", partner), ("document", document), ("interchange", interchange), ("reference", reference)];
    all.into_iter().collect()
}

/// A type of message that the partner's profile does not have.
pub(super) fn unknown_document(partner: &str, kind: &crate::edi::reader::MessageType) -> Fault {
    let said = format!(
        "the profile of {partner} has no incoming document of the type {kind}: add it to `documents` \
         (`{}: {{ direction: in }}`), or ask them not to send it",
        kind.name
    );
    Fault::refuse("PARTNER-DOCUMENT", said)
}

fn one_message(what: String) -> Fault {
    Fault::refuse("PARTNER-DOCUMENT", format!("one message in its interchange is expected here, and {what}"))
}

fn one_way() -> Fault {
    Fault::refuse(
        "PARTNER-DOCUMENT",
        "what is exchanged with partners is read on the way in and written on the way out",
    )
}
