//! Where what is found goes: into the document, or into each item of a list. What `lookup` and `call` share.

use super::Context;
use super::place::Place;
use crate::config::choice;
use crate::formula::{Scope, in_item};
use crate::message::{Fault, Text, Value};

choice! {
    /// What to do where nothing is found.
    pub enum Missing {
        /// The message goes to dead letters.
        Fail = "fail",
        /// The message goes on without the field.
        LeaveOut = "leave_out",
    }
}

/// A field of the document, or of each item of a list.
#[derive(Debug)]
pub(super) struct Enrich {
    pub each: Option<Place>,
    pub into: Text,
}

impl Enrich {
    /// Does `with` what the document, or each item in order, shows.
    pub fn for_each<T>(
        &self,
        document: &Value,
        context: &Context<'_>,
        mut with: impl FnMut(&Scope<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let scope = context.scope(document);
        let Some(each) = &self.each else { return Ok(vec![with(&scope)?]) };
        let mut found = Vec::new();
        for (index, item) in each.items(document)?.into_iter().enumerate() {
            let made = with(&Scope { item: Some((item, index)), ..scope });
            found.push(made.map_err(|fault| in_item(fault, each.text(), index))?);
        }
        Ok(found)
    }

    /// Puts what was found, in the same order, under its field. `no_place` makes the fault of a value that has no fields, of
    /// what is said about it.
    pub fn put(
        &self,
        document: &mut Value,
        found: Vec<Option<Value>>,
        no_place: impl Fn(String) -> Fault,
    ) -> Result<(), Fault> {
        let items = match &self.each {
            None => vec![document],
            Some(each) => each.items_mut(document)?,
        };
        for (index, (item, found)) in items.into_iter().zip(found).enumerate() {
            let Some(found) = found else { continue };
            let kind = item.kind();
            let Value::Map(map) = item else {
                let fault = no_place(format!("into {kind}: only a map has the field `{}`", self.into));
                return Err(self.each.as_ref().map_or(fault.clone(), |each| in_item(fault, each.text(), index)));
            };
            map.insert(self.into.clone(), found);
        }
        Ok(())
    }
}
