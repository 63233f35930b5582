//! Message identity: derived, so that any repeat carries the same id.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A message's id: a UUID (version 8, RFC 9562 section 5.8) derived by SHA-256 from what identifies the message, or drawn at intake.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(Uuid);

impl MessageId {
    /// Drawn, for a message that nothing identifies.
    pub fn draw() -> MessageId {
        MessageId(Uuid::new_v4())
    }

    /// `hash(parts)`; each part is preceded by its length, so `["ab","c"]` and `["a","bc"]` differ.
    pub fn derive(parts: &[&[u8]]) -> MessageId {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        MessageId(uuid::Builder::from_custom_bytes(half).into_uuid())
    }

    /// A child's id: `hash(parent, destination, index)`.
    pub fn child(&self, destination: &str, index: usize) -> MessageId {
        MessageId::derive(&[self.as_bytes(), destination.as_bytes(), &(index as u64).to_be_bytes()])
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> MessageId {
        MessageId(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<MessageId, uuid::Error> {
        text.parse().map(MessageId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_parts_do_not_run_together() {
        let parent = MessageId::derive(&[b"web-order", b"1042"]);
        assert_eq!(parent.to_string(), MessageId::derive(&[b"web-order", b"1042"]).to_string());
        assert_ne!(MessageId::derive(&[b"ab", b"c"]), MessageId::derive(&[b"a", b"bc"]));
        assert_ne!(parent.child("erp", 0), parent.child("erp", 1));
        assert_eq!(parent.to_string().parse(), Ok(parent));
    }
}
