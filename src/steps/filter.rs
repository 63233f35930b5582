//! `filter`: the Message Filter.

use super::{Answer, Context, Outcome, Step, StepPlace, kind};
use crate::config::{Node, Reader, Setting};
use crate::formula::Condition;
use crate::message::{Fault, Value};

kind! {
    /// Lets a document go on only where a condition holds.
    ///
    /// Where it does not hold, the document stops here, on purpose: the journal says `filtered`, and nothing goes to dead
    /// letters. The condition is a formula without `=`. A value it needs and does not find is an error, not a "no": write
    /// `coalesce($.test?, false)` for a field that may be missing.
    ///
    /// ```yaml
    /// - filter: $.financial_status == 'paid' and $.total > 0
    /// ```
    "filter", Condition::shape, read
}

#[derive(Debug)]
struct Filter(Condition);

fn read(node: &Node, reader: &mut Reader<'_>, _place: &StepPlace<'_>) -> Option<Box<dyn Step>> {
    Some(Box::new(Filter(Condition::read(node, reader)?)))
}

impl Step for Filter {
    fn apply(
        &self,
        document: Value,
        context: &Context<'_>,
        _answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        if self.0.holds(&context.scope(&document))? {
            return out.push(document);
        }
        out.filtered += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::steps::check::{check, refused};

    #[test]
    fn documents_pass_or_stop() {
        check("- filter: $.status == 'paid'", r#"{"status":"paid"}"#, r#"{"status":"paid"}"#);
        check("- filter: $.status == 'paid'", r#"{"status":"open"}"#, "filtered 1");
    }

    #[test]
    fn a_missing_value_is_not_a_no() {
        check("- filter: $.status == 'paid'", "{}", "FORMULA-MISSING (steps[0] filter, $.status)");
    }

    #[test]
    fn a_condition_is_a_formula() {
        refused("- filter: { a: b }", "1:11");
    }
}
