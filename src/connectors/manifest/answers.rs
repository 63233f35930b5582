//! How fast, how many at once, how long; and what answers mean.

use std::time::Duration;

use crate::config::{Rate, Size, choice, settings};
use crate::formula::{Condition, Template};
use crate::message::Text;

settings! {
    /// How fast, how many at once, how long.
    pub struct Limits {
        /// Requests in a time, all operations of a connection together. Left out: no limit.
        rate: Option<Rate>,
        /// Requests under way at once.
        concurrency: u32 = "4",
        /// How long a request may take in all.
        timeout: Duration = "20s",
        /// How long connecting may take.
        connect_timeout: Duration = "5s",
        /// The largest answer taken; a larger one is a fault.
        max_response: Size = "20MB",
        /// How many requests the system still allows, from an answer: `$headers.x_ratelimit_remaining?`. At 0 the hub waits for
        /// `reset`.
        remaining: Option<Template>,
        /// In how many seconds it allows more; a number over 1,000,000,000 is a time since 1970.
        reset: Option<Template>,
    }
}

settings! {
    /// What an answer means. All conditions given must hold.
    pub struct ErrorRule {
        /// The status.
        status: Option<u32>,
        /// A condition over the answer: `has($.errors[0])`. It sees answers of any status, 200 too; a value it does not find makes
        /// it false.
        when: Option<Condition>,
        /// What to do.
        then: ErrorThen,
        /// After how many seconds, for `retry`.
        after: Option<Template>,
        /// The fault's code, such as `TRYTON-NOT-FOUND`.
        code: Option<Text>,
        /// What to tell people: a formula over the answer.
        say: Option<Template>,
    }
}

choice! {
    /// What to do after an answer.
    pub enum ErrorThen {
        /// It may pass: try again.
        Retry = "retry",
        /// The connection is ill, not the message: wait until it is well.
        Reconnect = "reconnect",
        /// This message never: dead letters.
        Refuse = "refuse",
        /// A person must correct the connection.
        Misconfigured = "misconfigured",
        /// Nothing is there: the answer of a read is none; for a write it is a refusal.
        Missing = "missing",
        /// It is a success: what was to be done is done already.
        Done = "done",
    }
}
