//! `unset`: the Content Filter.

use super::place::Place;
use super::{Answer, Context, Outcome, Step, StepPlace, kind};
use crate::config::{Node, Reader, Setting};
use crate::message::{Fault, Value};

kind! {
    /// Takes fields out of the document.
    ///
    /// A list of paths, each to one value. As everywhere, a path must find something: end it with `?` where the field may
    /// be missing.
    ///
    /// ```yaml
    /// - unset: [$.internal_note, $.customer.birth_date?]
    /// ```
    "unset", Vec::<Place>::shape, read
}

#[derive(Debug)]
struct Unset(Vec<Place>);

fn read(node: &Node, reader: &mut Reader<'_>, _place: &StepPlace<'_>) -> Option<Box<dyn Step>> {
    let items = reader.list(node)?;
    let read: Vec<_> = items.iter().map(|item| read_place(item, reader)).collect();
    Some(Box::new(Unset(read.into_iter().collect::<Option<_>>()?)))
}

fn read_place(node: &Node, reader: &mut Reader<'_>) -> Option<Place> {
    let place = Place::read(node, reader)?;
    if place.is_root() || !place.is_singular() {
        let said = format!("`{}` does not name one field", place.text());
        reader.error(node.span, said).label("expected a path to one field, as in `$.customer.phone`");
        return None;
    }
    Some(place)
}

impl Step for Unset {
    fn apply(
        &self,
        mut document: Value,
        _context: &Context<'_>,
        _answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        for place in &self.0 {
            place.remove(&mut document)?;
        }
        out.push(document)
    }
}

#[cfg(test)]
mod tests {
    use crate::steps::check::{check, refused};

    #[test]
    fn fields_are_taken_out() {
        check("- unset: [$.b, $.c.d]", r#"{"a":1,"b":2,"c":{"d":3,"e":4}}"#, r#"{"a":1,"c":{"e":4}}"#);
        check("- unset: ['$.l[0]']", r#"{"l":[1,2,3]}"#, r#"{"l":[2,3]}"#);
        check("- unset: [$.b?, $.c.d?]", r#"{"a":1}"#, r#"{"a":1}"#);
    }

    #[test]
    fn a_path_must_find_something() {
        check("- unset: [$.b]", "{}", "FORMULA-MISSING (steps[0] unset, $.b)");
        check("- unset: ['$.l[3]']", r#"{"l":[1]}"#, "FORMULA-MISSING (steps[0] unset, $.l[3])");
    }

    #[test]
    fn each_path_is_to_one_field() {
        refused("- unset: [$]", "1:11 `$` does not name one field");
        refused("- unset: ['$.l[*]']", "1:11 `$.l[*]` does not name one field");
        refused("- unset: [name]", "1:11 `name` is not a place in the document");
    }
}
