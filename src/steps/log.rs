//! `log`: the Wire Tap, into the hub's log.

use super::{Answer, Context, Effect, Outcome, Step, StepPlace, kind};
use crate::config::{Node, Reader, Setting};
use crate::formula::Template;
use crate::message::{Fault, Value};

/// Longest line; a log is no place for documents.
const MAX_BYTES: usize = 4096;

kind! {
    /// Writes a line to the hub's log; the document goes on unchanged.
    ///
    /// A text, a path or a formula. What is not a text is written as JSON, and a line is cut at 4 KB. The line is written
    /// once the message is settled, so a message that fails leaves none. Do not log people's data: the log is not erased
    /// with them.
    ///
    /// ```yaml
    /// - log: "=concat('order ', $.name, ' has ', $.total)"
    /// ```
    "log", Template::shape, read
}

#[derive(Debug)]
struct Log(Template);

fn read(node: &Node, reader: &mut Reader<'_>, _place: &StepPlace<'_>) -> Option<Box<dyn Step>> {
    Some(Box::new(Log(Template::read(node, reader)?)))
}

impl Step for Log {
    fn apply(
        &self,
        document: Value,
        context: &Context<'_>,
        _answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        if let Some(value) = self.0.render(&context.scope(&document))? {
            let text = value.as_text().map_or_else(|| value.to_string(), str::to_owned);
            out.effects.push(Effect::Log { text: cut(text) });
        }
        out.push(document)
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_BYTES {
        text.truncate(text.floor_char_boundary(MAX_BYTES));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, cut};
    use crate::steps::check::check;

    #[test]
    fn a_line_is_logged_and_the_document_goes_on() {
        check("- log: arrived", r#"{"a":1}"#, "{\"a\":1}\nlog arrived");
        check("- log: $.a", r#"{"a":[1]}"#, "{\"a\":[1]}\nlog [1]");
        check("- log: $.b?", "{}", "{}");
    }

    #[test]
    fn a_line_is_bounded() {
        let line = cut("é".repeat(10_000));
        assert!(line.len() <= MAX_BYTES + '…'.len_utf8() && line.ends_with("é…"), "{}", line.len());
    }
}
