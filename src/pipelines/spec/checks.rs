//! What a pipeline must be as a whole, and what works and is likely not what was meant.

use std::sync::Arc;
use std::time::Duration;

use super::{DedupeSetting, Destination, OrderBy, PipelineHead};
use crate::config::{Node, Reader, Span};
use crate::formula::Template;
use crate::message::Value;
use crate::protocols::SourceSettings;
use crate::steps::Steps;

/// A pipeline either answers its caller or sends somewhere.
pub(super) fn check_ends(
    reader: &mut Reader<'_>,
    span: Span,
    head: &PipelineHead,
    to: Option<&Node>,
    read: Option<&[Arc<Destination>]>,
) {
    match (to, &head.reply) {
        (Some(to), Some(_)) => {
            reader
                .error(to.span.part(0, 1), "a pipeline with `reply` has no `to`")
                .label("remove this, or the `reply`")
                .help("request/reply is for reading: nothing is queued. To send something too, let a second pipeline do it");
        }
        (None, None) => {
            reader
                .error(span.part(0, 1), "`to` is missing")
                .label("a pipeline says where its messages go, or gives a `reply`");
        }
        (Some(to), None) if read.is_some_and(<[_]>::is_empty) => {
            reader.error(to.span, "`to` names no destination");
        }
        _ => {}
    }
}

/// What tells messages apart comes from the message: a word without `$.` would make them all one.
pub(super) fn check_identity(reader: &mut Reader<'_>, [order_by, dedupe, track]: [Span; 3], head: &PipelineHead) {
    let same = |template: &Template| template.as_constant().and_then(Value::plain);
    if let Some(word) = match &head.order_by {
        Some(OrderBy::Value(by)) => same(by),
        _ => None,
    } {
        reader
            .error(order_by, "`order_by` is the same for every message: each would wait for the one before")
            .label("not a path")
            .help(format!("write `order_by: $.{word}` for a value of the message, or `order_by: none`"));
    }
    if let Some(DedupeSetting::By(by)) = &head.dedupe
        && by.by.iter().all(|by| by.as_constant().is_some())
    {
        let word = by.by.first().and_then(same).unwrap_or_else(|| "id".into());
        reader
            .error(
                dedupe,
                "`dedupe` is the same for every message: the second would be taken for a repeat of the first",
            )
            .label("`by` names no value of the message")
            .help(format!("write `by: [$.{word}]`, or `dedupe: none` if repeats are harmless"));
    }
    for (name, value) in head.track.iter().flatten() {
        if let Some(word) = same(value) {
            reader
                .error(track, format!("`{name}` is the same for every message: no search finds one by it"))
                .help(format!("write `{name}: $.{word}`"));
        }
    }
}

/// Request/reply is for reading, and both of its halves must be there.
pub(super) fn check_replies(
    reader: &mut Reader<'_>,
    from_span: Span,
    head: &PipelineHead,
    source: Option<&Arc<dyn SourceSettings>>,
    steps: Option<&Steps>,
) {
    if let Some(source) = source
        && source.replies() != head.reply.is_some()
    {
        let (there, missing) = if source.replies() { ("from.reply", "reply") } else { ("reply", "from.reply") };
        reader.error(from_span, format!("`{there}` is stated and `{missing}` is not")).help(
            "request/reply needs both: `from: { ..., reply: { within: 2s } }`, and at the top `reply:` with the answer",
        );
    }
    if let Some(verb) = steps.and_then(|steps| ["remember", "aggregate"].into_iter().find(|verb| steps.has(verb)))
        && head.reply.is_some()
    {
        reader
            .error(from_span, format!("`{verb}` cannot stand in a pipeline that replies"))
            .help("a question changes nothing: let a second pipeline remember");
    }
}

/// What works, and is likely not what was meant.
pub(super) fn warn(
    reader: &mut Reader<'_>,
    span: Span,
    head: &PipelineHead,
    destinations: Option<&[Arc<Destination>]>,
) {
    if head.reply.is_some() {
        return;
    }
    let top = span.part(0, 1);
    if head.order_by.is_none() {
        reader
            .warning(top, "`order_by` is not stated")
            .help("write `order_by: $.id`, or `order_by: none` if order does not matter");
    }
    if head.dedupe.is_none() {
        reader
            .warning(top, "`dedupe` is not stated")
            .help("write `dedupe: { by: [$.id] }`, or `dedupe: none` if repeats are harmless");
    }
    for destination in destinations.unwrap_or_default() {
        if destination.on_error.retry.is_empty() {
            reader
                .warning(top, format!("destination `{}` has no retry", destination.name))
                .help("one fault makes a dead letter; write `on_error: { retry: [5s, 30s, 5m] }`");
        }
        let ladder: Duration = destination.on_error.retry.iter().sum();
        if let Some(DedupeSetting::By(by)) = &head.dedupe
            && ladder > by.keep
        {
            reader.warning(top, format!("retries of `{}` can outlast `dedupe.keep`", destination.name)).help(
                "a repeat that comes after `keep` is taken for a new message: keep longer, or retry for less long",
            );
        }
    }
}

/// A system that is away for a moment would make dead letters.
pub(super) fn warn_of_calls(reader: &mut Reader<'_>, span: Span, head: &PipelineHead, steps: Option<&Steps>) {
    let retries = head.on_error.as_ref().is_some_and(|on_error| !on_error.retry.is_empty());
    if head.reply.is_none() && !retries && steps.is_some_and(|steps| steps.has("call")) {
        reader
            .warning(span.part(0, 1), "the pipeline's `call` has no retry")
            .help("one fault of the system makes a dead letter; write `on_error: { retry: [5s, 30s, 5m] }`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a pipeline's head is told, by its lines about identity.
    fn told(lines: &str) -> String {
        let files = crate::config::Files::default();
        let environment = crate::config::Environment { only: Some(Default::default()), folder: ".".into() };
        let mut reader = Reader::new(&files, &environment);
        let file = files.add("pipeline.yaml", format!("about: x\n{lines}"));
        let node = crate::config::parse(file, &files.text(file), &mut reader.problems).expect("the lines are YAML");
        let mut map = reader.map(&node).expect("the lines are a map");
        let head: PipelineHead = map.flat(&mut reader).expect("the head is whole");
        check_identity(&mut reader, [map.span; 3], &head);
        let told: Vec<&str> = reader.problems.iter().map(|problem| problem.message.as_str()).collect();
        told.join("; ")
    }

    #[test]
    fn what_is_the_same_for_every_message_tells_none_apart() {
        assert_eq!(told("order_by: $.id\ndedupe: { by: [shop, $.id] }\ntrack: { order: $.id }"), "");
        assert_eq!(told("order_by: none\ndedupe: none"), "");
        assert!(told("order_by: customer.id").starts_with("`order_by` is the same"));
        for dedupe in ["{ by: [number] }", "{ by: [] }", "{ keep: 7d }"] {
            assert!(told(&format!("dedupe: {dedupe}")).starts_with("`dedupe` is the same"), "{dedupe}");
        }
        assert!(told("track: { order: number }").starts_with("`order` is the same"));
    }
}
