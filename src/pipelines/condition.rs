//! Why a part of a pipeline does not work now, for people who ask.

use std::sync::{Arc, Mutex, PoisonError};

use crate::message::Fault;

/// Empty while the part works. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Condition(Arc<Mutex<Option<String>>>);

impl Condition {
    pub fn works(&self) {
        self.set(None);
    }

    pub fn rests(&self, fault: &Fault) {
        self.set(Some(fault.to_string()));
    }

    /// Why it rests, while it does.
    pub fn why(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, why: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}
