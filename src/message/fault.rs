//! Faults: what went wrong, and what to do next.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A fault of anything that touches a message: a code with a page (`raccord explain CODE`), a sentence, and what to do next.
///
/// Codes are upper case, `AREA-DETAIL` (`HTTP-422`, `STORE-FULL`); the sentence says what happened in the words of the
/// person who will read it. Cheap to clone: one fault may end many messages.
#[derive(Debug, Clone)]
pub struct Fault(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    code: &'static str,
    sentence: String,
    /// What a peer said: it may repeat what it was sent.
    detail: Option<String>,
    next: Next,
    cause: Option<Arc<dyn Error + Send + Sync>>,
    step: Option<String>,
    position: Option<String>,
}

/// What to do after a fault. There is no "other": whoever makes a fault decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// May pass: try this message again, not before `after` if the peer said so.
    Retry { after: Option<Duration> },
    /// The connection, not the message: connect again, then try again. No attempt is counted.
    Reconnect,
    /// This message never: to dead letters.
    Refuse,
    /// A person must act on the configuration; the message waits.
    Misconfigured,
}

impl Fault {
    /// May pass; the message is tried again.
    pub fn retry(code: &'static str, sentence: impl Into<String>) -> Fault {
        Fault::new(code, sentence, Next::Retry { after: None })
    }

    /// The connection failed, not the message.
    pub fn reconnect(code: &'static str, sentence: impl Into<String>) -> Fault {
        Fault::new(code, sentence, Next::Reconnect)
    }

    /// This message will never pass.
    pub fn refuse(code: &'static str, sentence: impl Into<String>) -> Fault {
        Fault::new(code, sentence, Next::Refuse)
    }

    /// Nothing will pass until a person changes the configuration.
    pub fn misconfigured(code: &'static str, sentence: impl Into<String>) -> Fault {
        Fault::new(code, sentence, Next::Misconfigured)
    }

    fn new(code: &'static str, sentence: impl Into<String>, next: Next) -> Fault {
        Fault(Arc::new(Inner {
            code,
            sentence: sentence.into(),
            detail: None,
            next,
            cause: None,
            step: None,
            position: None,
        }))
    }

    /// Keeps the error underneath for the log and the dead letter.
    #[must_use]
    pub fn cause(self, error: impl Error + Send + Sync + 'static) -> Fault {
        self.with(|inner| inner.cause = Some(Arc::new(error)))
    }

    /// What the peer said, after the sentence. It may repeat what it was sent: see [`Fault::without_detail`].
    #[must_use]
    pub fn detail(self, said: impl Into<String>) -> Fault {
        let said = said.into();
        if said.is_empty() { self } else { self.with(|inner| inner.detail = Some(said)) }
    }

    /// What the peer said.
    pub fn said(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The fault without what the peer said, where that may be people's data.
    #[must_use]
    pub fn without_detail(self) -> Fault {
        if self.0.detail.is_none() { self } else { self.with(|inner| inner.detail = None) }
    }

    /// The peer said when to come back. Only a retry waits; other faults keep their next.
    #[must_use]
    pub fn after(self, delay: Duration) -> Fault {
        self.with(|inner| {
            if let Next::Retry { after } = &mut inner.next {
                *after = Some(delay);
            }
        })
    }

    /// Where in the pipeline: `steps[2] map`. The innermost place stays.
    #[must_use]
    pub fn at_step(self, step: impl Into<String>) -> Fault {
        if self.0.step.is_some() { self } else { self.with(|inner| inner.step = Some(step.into())) }
    }

    /// Where in the document or the bytes: `$.lines[3].price`, `line 12`. The innermost place stays.
    #[must_use]
    pub fn at(self, position: impl Into<String>) -> Fault {
        if self.0.position.is_some() { self } else { self.with(|inner| inner.position = Some(position.into())) }
    }

    /// The same fault in other words, which say its cause too: where the first ones hold what nobody may read.
    #[must_use]
    pub fn in_other_words(self, sentence: String) -> Fault {
        self.with(|inner| (inner.sentence, inner.detail, inner.cause) = (sentence, None, None))
    }

    /// The same fault with `change` made of all its words, where that changes any; its cause is then left out.
    #[must_use]
    pub fn reworded(self, change: impl Fn(&str) -> String) -> Fault {
        let said = self.sentence();
        if change(&said) == said {
            return self;
        }
        self.with(|inner| {
            inner.sentence = change(&inner.sentence);
            inner.detail = inner.detail.as_deref().map(&change);
            inner.cause = None;
        })
    }

    /// Its place, told from further out: `calls.stock, request.query.id`.
    #[must_use]
    pub fn within(self, outer: &str) -> Fault {
        self.with(|inner| {
            inner.position = Some(match &inner.position {
                Some(place) => format!("{outer}, {place}"),
                None => outer.to_owned(),
            });
        })
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Fault {
        change(Arc::make_mut(&mut self.0));
        self
    }

    pub fn code(&self) -> &'static str {
        self.0.code
    }

    pub fn next(&self) -> Next {
        self.0.next
    }

    pub fn step(&self) -> Option<&str> {
        self.0.step.as_deref()
    }

    pub fn position(&self) -> Option<&str> {
        self.0.position.as_deref()
    }

    /// The sentence and its causes, without code and place: `the partner answered 500: connection reset`.
    pub fn sentence(&self) -> String {
        let mut text = self.0.sentence.clone();
        if let Some(detail) = &self.0.detail {
            text.push_str(": ");
            text.push_str(detail);
        }
        let mut cause = self.0.cause.as_deref().map(|cause| cause as &dyn Error);
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        text
    }
}

/// `HTTP-422: the ERP refused the order (steps[2] map, $.lines[3])`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.sentence())?;
        match (self.step(), self.position()) {
            (Some(step), Some(position)) => write!(f, " ({step}, {position})"),
            (Some(place), None) | (None, Some(place)) => write!(f, " ({place})"),
            (None, None) => Ok(()),
        }
    }
}

impl Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_as_one_line() {
        let cause = std::io::Error::other("connection reset");
        let fault = Fault::retry("HTTP-500", "the ERP answered 500")
            .cause(cause)
            .after(Duration::from_secs(3))
            .at_step("erp")
            .at("$.lines[3]");
        assert_eq!(fault.to_string(), "HTTP-500: the ERP answered 500: connection reset (erp, $.lines[3])");
        assert_eq!(fault.next(), Next::Retry { after: Some(Duration::from_secs(3)) });
    }

    #[test]
    fn what_a_peer_said_can_be_left_out() {
        let fault = Fault::refuse("HTTP-422", "answered 422").detail("no such customer: Ada");
        assert_eq!(fault.sentence(), "answered 422: no such customer: Ada");
        assert_eq!(fault.without_detail().sentence(), "answered 422");
    }

    #[test]
    fn a_fault_can_be_reworded_and_its_place_told_from_further_out() {
        let fault = Fault::refuse("X", "no key k3y").detail("k3y is wrong").at("request").within("calls.stock");
        let hidden = fault.clone().reworded(|text| text.replace("k3y", "***"));
        assert_eq!(hidden.to_string(), "X: no key ***: *** is wrong (calls.stock, request)");
        assert_eq!(hidden.without_detail().sentence(), "no key ***");
        assert_eq!(fault.reworded(str::to_owned).sentence(), "no key k3y: k3y is wrong");
    }

    #[test]
    fn the_innermost_place_stays() {
        assert_eq!(Fault::refuse("X", "x").at("inner").at("outer").position(), Some("inner"));
    }
}
