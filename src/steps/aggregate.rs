//! `aggregate`: the Aggregator.

use std::time::Duration;

use super::tables::key_part;
use super::{Answer, Ask, Context, Effect, Group, GroupKey, Outcome, Step, StepPlace, gathered, kind};
use crate::clock::later;
use crate::config::{Node, Reader, Setting, settings};
use crate::formula::{Condition, Template};
use crate::message::{Fault, Text, Value};

kind! {
    /// Gathers the documents of several messages into one.
    ///
    /// Documents with the same `by` wait together, safely stored, until their group closes; then the group goes on after this
    /// step as one document `{ key, items }`, the items in the order they came and `key` as a text. A group closes when
    /// `until` holds, when it has `count` members, or `within` a time after its first member, whichever comes first; at least
    /// one must be stated. The next document of the same `by` opens a new group.
    ///
    /// State `within` unless it is certain that every group becomes full: a group that does not waits for ever.
    ///
    /// ```yaml
    /// - aggregate:
    ///     by: $.order
    ///     until: sum($.items[*].packed) == first($.items[*].ordered)
    ///     within: 10m
    /// ```
    "aggregate", Settings::shape, read
}

settings! {
    /// What belongs together, and when it is complete.
    pub struct Settings {
        /// What documents have in common: a path or formula that gives a text, a number or a boolean.
        by: Template,
        /// Closes the group once this condition holds for what it has gathered: `$.items` are the documents, the newest last, `$.key` is what they have in common.
        until: Option<Condition>,
        /// Closes the group once it has this many members.
        count: Option<u32>,
        /// Closes the group this long after its first member, complete or not.
        within: Option<Duration>,
        /// Most members of a group. A document that would be one more goes to dead letters: the group should have been closed.
        most: u32 = "1000",
    }
}

#[derive(Debug)]
struct Aggregate {
    settings: Settings,
    pipeline: Text,
    step: Text,
}

fn read(node: &Node, reader: &mut Reader<'_>, place: &StepPlace<'_>) -> Option<Box<dyn Step>> {
    let settings = Settings::read(node, reader)?;
    let at = |name: &str| node.field(name).unwrap_or(node).span;
    let Settings { until, count, within, most, .. } = &settings;
    if until.is_none() && count.is_none() && within.is_none() {
        reader
            .error(node.span.part(0, 1), "a group that nothing closes")
            .label("state at least one of `until`, `count`, `within`");
        return None;
    }
    if *most == 0 || count.is_some_and(|count| count == 0 || count > *most) {
        reader
            .error(at(if *most == 0 { "most" } else { "count" }), "no group can have this size")
            .label(format!("expected a number from 1 to `most`, here {most}"));
        return None;
    }
    if within.is_none() {
        reader
            .warning(node.span.part(0, 1), "a group that does not become complete waits for ever")
            .label("state `within`, the longest it may take");
    }
    let (pipeline, step) = (place.pipeline.into(), place.step.into());
    Some(Box::new(Aggregate { settings, pipeline, step }))
}

impl Step for Aggregate {
    fn needs_world(&self) -> bool {
        true
    }

    fn asks(&self, document: &Value, context: &Context<'_>) -> Result<Vec<Ask>, Fault> {
        Ok(vec![Ask::Group { group: self.group(document, context)? }])
    }

    fn apply(
        &self,
        document: Value,
        context: &Context<'_>,
        answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        let group = self.group(&document, context)?;
        let Some(Answer::Group(Group { window, opened, mut members })) = answers.into_iter().next() else {
            return Err(Fault::misconfigured("STEP-ANSWER", "the group of an `aggregate` was not looked up"));
        };
        members.push(document);
        let count = members.len();
        let whole = gathered(group.key.clone(), members);
        if self.closes(count, &whole, context)? {
            out.effects.push(Effect::Close { group, window, document: whole });
            return Ok(());
        }
        if count > self.settings.most as usize {
            return Err(self.full(&group.key));
        }
        let closes = self.settings.within.map(|within| later(opened.unwrap_or(context.time), within));
        out.effects.push(Effect::Join { group, member: last_item(whole), closes });
        Ok(())
    }
}

impl Aggregate {
    fn group(&self, document: &Value, context: &Context<'_>) -> Result<GroupKey, Fault> {
        let by = self.settings.by.render(&context.scope(document))?.unwrap_or_default();
        let key = key_part(&by).ok_or_else(|| {
            let said = format!("`by` gives {}; expected a text, a number or a boolean", by.kind());
            Fault::refuse("AGGREGATE-KEY", said).at("by")
        })?;
        Ok(GroupKey { pipeline: self.pipeline.clone(), step: self.step.clone(), key })
    }

    fn closes(&self, count: usize, whole: &Value, context: &Context<'_>) -> Result<bool, Fault> {
        if self.settings.count.is_some_and(|full| count >= full as usize) {
            return Ok(true);
        }
        self.settings.until.as_ref().map_or(Ok(false), |until| until.holds(&context.scope(whole)))
    }

    fn full(&self, key: &Text) -> Fault {
        let most = self.settings.most;
        let said = format!("group `{key}` has its {most} members and is not closed; check `until`, or raise `most`");
        Fault::refuse("AGGREGATE-FULL", said).at("most")
    }
}

/// The member that came last, taken out of what was gathered.
fn last_item(whole: Value) -> Value {
    let Value::Map(mut map) = whole else { return Value::Null };
    match map.remove("items") {
        Some(Value::List(mut items)) => items.pop().unwrap_or_default(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use crate::steps::check::{check, read, refused};

    // The fake world holds one group, under the key `open`: opened at 08:00 with the members 1 and 2. It is 09:00.

    #[test]
    fn a_document_joins_its_group() {
        let step = "- aggregate: { by: $.k, within: 90m }";
        check(step, r#"{"k":"new"}"#, r#"join web-order steps[0] new {"k":"new"} closes 2026-11-02T10:30:00Z"#);
        check(step, r#"{"k":"open"}"#, r#"join web-order steps[0] open {"k":"open"} closes 2026-11-02T09:30:00Z"#);
        let never = "- aggregate: { by: $.k, count: 5 }";
        check(never, r#"{"k":12.0}"#, r#"join web-order steps[0] 12 {"k":12.0} closes never"#);
    }

    #[test]
    fn a_group_closes_by_count_or_condition() {
        let expect = r#"close web-order steps[0] open 4 {"key":"open","items":[1,2,{"k":"open"}]}"#;
        check("- aggregate: { by: $.k, count: 3 }", r#"{"k":"open"}"#, expect);
        check("- aggregate: { by: $.k, until: 'count($.items) == 3' }", r#"{"k":"open"}"#, expect);
        let open = r#"join web-order steps[0] open {"k":"open"} closes never"#;
        check("- aggregate: { by: $.k, until: 'count($.items) == 4' }", r#"{"k":"open"}"#, open);
    }

    #[test]
    fn documents_of_one_message_meet_in_their_group() {
        let steps = "- split: { each: $ }\n- aggregate: { by: $.k, count: 2 }\n";
        let expect = r#"join web-order steps[1] a {"k":"a","v":1} closes never
join web-order steps[1] b {"k":"b"} closes never
close web-order steps[1] a 0 {"key":"a","items":[{"k":"a","v":1},{"k":"a","v":2}]}
join web-order steps[1] a {"k":"a","v":3} closes never"#;
        check(steps, r#"[{"k":"a","v":1},{"k":"b"},{"k":"a","v":2},{"k":"a","v":3}]"#, expect);
    }

    #[test]
    fn a_group_is_bounded() {
        let step = "- aggregate: { by: $.k, within: 1h, most: 2 }";
        check(step, r#"{"k":"open"}"#, "AGGREGATE-FULL (steps[0] aggregate, most)");
        check(step, r#"{"k":null}"#, "AGGREGATE-KEY (steps[0] aggregate, by)");
    }

    #[test]
    fn waiting_for_ever_is_worth_a_warning() {
        let (steps, problems) = read("- aggregate: { by: $.k, count: 2 }");
        assert!(steps.is_some());
        let expect =
            "1:14 a group that does not become complete waits for ever; state `within`, the longest it may take";
        assert_eq!(problems, [expect]);
    }

    #[test]
    fn something_must_close_a_group() {
        refused(
            "- aggregate: { by: $.k }",
            "1:14 a group that nothing closes; state at least one of `until`, `count`, `within`",
        );
        refused("- aggregate: { by: $.k, count: 0 }", "1:32 no group can have this size");
        refused(
            "- aggregate: { by: $.k, count: 2000 }",
            "1:32 no group can have this size; expected a number from 1 to `most`, here 1000",
        );
        refused("- aggregate: { by: $.k, within: 10 }", "1:33 `10` is not a duration");
    }
}
