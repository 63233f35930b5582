//! A manifest's own tests.

use crate::config::{Data, settings};
use crate::message::Text;

settings! {
    /// A test of the manifest: given these answers of the system, expect this.
    pub struct ManifestCase {
        /// What the case shows, in a sentence.
        about: String,
        /// The operation.
        operation: Text,
        /// Settings of the connection, and its `name`. Left out: the default or an example of each, and the manifest's name; `null`
        /// where one is not there.
        connection: Option<Data>,
        /// The document to write, the input of a read, or the body the system sends (`listen`).
        given: Option<Data>,
        /// Headers that come with `given` (`listen`).
        headers: Option<Data>,
        /// `$cursor` of a poll.
        cursor: Option<Data>,
        /// The clock. RFC 3339.
        at: Text = "2026-01-01T00:00:00Z",
        /// The exchange with the system, in order.
        exchange: Vec<Exchange>,
        /// What must come out: `documents` (poll, listen; exactly these), `result` (read, write), `missing: true` (read), `cursor`,
        /// `answer` (to a challenge), `dead` (what cannot be read, or was refused of several), or `fault: { code, next }`. Each must be
        /// contained in the actual one; a fault, documents or dead letters that are not stated must not come.
        expect: Data,
    }
}

settings! {
    /// One request, and what the system answers.
    pub struct Exchange {
        /// What the request must contain: `method`, `path` (whole, with that of `base`), `query`, `headers`, `json`, `form`, `text`.
        request: Option<Data>,
        /// The answer's status.
        status: u32 = "200",
        /// The answer's headers.
        headers: Option<Data>,
        /// The answer as JSON.
        json: Option<Data>,
        /// The answer as text.
        text: Option<String>,
        /// The connection breaks instead of an answer.
        lost: bool = "false",
    }
}
