//! What a pipeline's YAML says.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use crate::codecs::{self, Codec};
use crate::config::{Field, MapReader, Node, Reader, Setting, Settings, Shape, Span, StructShape, choice, settings};
use crate::connectors::{self, Connectors};
use crate::formula::Template;
use crate::message::{Text, Value};
use crate::partners::{self, EnvelopeCodec, Partners, Taken};
use crate::protocols::{self, SourceSettings, TargetSettings};
use crate::queue::Sharing;
use crate::steps::{self, ConnectionNames, Place as DocumentPlace, RowTemplate, StepPlace, Steps, TableNames};

/// A pipeline, read and checked.
#[derive(Debug)]
pub struct Pipeline {
    pub name: Text,
    pub about: String,
    pub owner: Option<Text>,
    pub source: Arc<dyn SourceSettings>,
    pub codec: Arc<dyn Codec>,
    /// The document of partners it takes.
    pub takes: Option<Taken>,
    /// Where `from` stands, for problems between pipelines.
    pub source_span: Span,
    /// What people search for.
    pub track: Vec<Track>,
    pub order_by: OrderBy,
    pub dedupe: Option<Dedupe>,
    pub private: Vec<DocumentPlace>,
    pub steps: Steps,
    pub destinations: Vec<Arc<Destination>>,
    pub on_error: OnError,
    /// Makes it request/reply: never queued.
    pub reply: Option<Template>,
    /// Whether `dedupe` was stated, if only as `none`.
    pub repeats_considered: bool,
    /// Hash of the text it was read from: what did not change keeps running through a reload.
    pub revision: [u8; 16],
}

/// Where messages of a pipeline go.
#[derive(Debug)]
pub struct Destination {
    pub name: Text,
    /// Where it stands, for problems between pipelines.
    pub span: Span,
    /// `web-order.to.erp`
    pub queue: Text,
    pub steps: Steps,
    pub target: Arc<dyn TargetSettings>,
    pub codec: Arc<dyn Codec>,
    pub on_error: OnError,
    /// Deliveries under way at once.
    pub concurrency: usize,
    /// What the destination's system answered goes into a durable table, in the commit that ends the delivery.
    pub remember: Option<RowTemplate>,
}

/// A value people will search for.
#[derive(Clone, Debug)]
pub struct Track {
    pub name: Text,
    pub value: Template,
    /// It comes from a private place: the journal keeps a pseudonym.
    pub private: bool,
}

impl Track {
    fn new(name: Text, value: Template, private: &[DocumentPlace]) -> Track {
        let mut is_private = false;
        value.paths(&mut |path| is_private |= private.iter().any(|place| within(path.text(), place.text())));
        Track { name, value, private: is_private }
    }
}

impl Track {
    /// What is known of every message of a partner.
    fn of_partner() -> impl Iterator<Item = Track> {
        ["partner", "interchange"].into_iter().filter_map(|name| {
            let value = Template::path(&format!("$headers.{name}?"))?;
            Some(Track { name: name.into(), value, private: false })
        })
    }
}

/// Whether a path leads into a place, or through it: `$.customer.email?` into `$.customer`.
fn within(path: &str, place: &str) -> bool {
    let (path, place) = (path.trim_end_matches('?'), place.trim_end_matches('?'));
    let inside = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    inside(path, place) || inside(place, path)
}

/// Which messages keep their order.
#[derive(Clone, Debug)]
pub enum OrderBy {
    /// Order does not matter.
    None,
    /// Those with the same value.
    Value(Template),
}

/// What makes two arrivals the same message.
#[derive(Clone, Debug)]
pub struct Dedupe {
    pub by: Vec<Template>,
    pub keep: Duration,
}

/// What happens when a delivery fails.
#[derive(Clone, Debug, PartialEq)]
pub struct OnError {
    /// Each delay is one more attempt.
    pub retry: Vec<Duration>,
    pub then: Then,
}

choice! {
    /// What happens to a message when its attempts are used up, or it is refused.
    pub enum Then {
        /// It goes to dead letters; later messages of its key go on.
        DeadLetter = "dead_letter",
        /// It goes to dead letters, and later messages of its key wait until a person replays, discards or releases it.
        HoldKey = "hold_key",
    }
}

settings! {
    /// One flow: where messages come from, what is done to them, where they go.
    pub struct PipelineHead {
        /// What the flow is for, in a sentence: shown in the console and in alerts.
        about: String,
        /// The team that is called: a label on metrics and alerts.
        owner: Option<Text>,
        /// What people will search for: a name, and where its value stands in the message as it comes in.
        track: Option<BTreeMap<Text, Template>>,
        /// Messages with the same value keep their order, retries included. `none` says that order does not matter.
        order_by: Option<OrderBy>,
        /// What makes two arrivals the same message. `none` says that repeats are harmless.
        dedupe: Option<DedupeSetting>,
        /// Paths to people's data: masked in the journal, the logs and the console.
        private: Vec<DocumentPlace>,
        /// What happens when a delivery fails, for all destinations that do not say otherwise.
        on_error: Option<OnErrorSettings>,
        /// Answers the caller at once with this document (request/reply). Such a pipeline has no `to`.
        reply: Option<Template>,
    }
}

settings! {
    /// What makes two arrivals the same message.
    pub struct DedupeBy {
        /// The values that identify a message.
        by: Vec<Template>,
        /// How long a message is remembered. Longer than any sender repeats.
        keep: Duration = "30d",
    }
}

settings! {
    /// What happens when a delivery fails.
    pub struct OnErrorSettings {
        /// Delays before each further attempt, for faults that may pass. Attempts = delays + 1.
        retry: Vec<Duration>,
        /// What happens when the attempts are used up, or the destination refuses.
        then: Then = "dead_letter",
    }
}

settings! {
    /// A destination: a target, its format, and what happens when it fails.
    pub struct DestinationHead {
        /// Delays before each further attempt; overrides `on_error` of the pipeline.
        retry: Option<Vec<Duration>>,
        /// What happens when the attempts are used up; overrides `on_error` of the pipeline.
        then: Option<Then>,
        /// Deliveries under way at once. 1 for a peer that cannot take more.
        concurrency: u32 = "16",
    }
}

#[derive(Clone, Debug)]
pub enum DedupeSetting {
    None,
    By(DedupeBy),
}

const DEDUPE_NONE: &str = "none";

impl Setting for OrderBy {
    fn shape() -> Shape {
        Shape::Template("path or formula, or `none`")
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<OrderBy> {
        if node.text() == Some("none") {
            return Some(OrderBy::None);
        }
        Template::read(node, reader).map(OrderBy::Value)
    }
}

impl Setting for DedupeSetting {
    fn shape() -> Shape {
        Shape::Either(vec![
            Shape::Text { what: "`none`: repeats are harmless", pattern: Some("^none$"), example: DEDUPE_NONE },
            DedupeBy::shape(),
        ])
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<DedupeSetting> {
        if node.text() == Some(DEDUPE_NONE) {
            return Some(DedupeSetting::None);
        }
        DedupeBy::read(node, reader).map(DedupeSetting::By)
    }
}

/// The shape of `pipeline.yaml`.
pub fn shape() -> Shape {
    let extra = |name, about, shape, required| Field { name, about, shape, default: None, required };
    Shape::Struct(StructShape::of::<PipelineHead>().and(vec![
        extra(
            "from",
            "Where messages come from: a protocol with its settings, and the format of what it brings.",
            source_shape,
            true,
        ),
        extra("steps", "What is done to each message, in order.", steps::steps_shape, false),
        extra("to", "Where messages go: one or more destinations, each on its own.", destinations_shape, false),
    ]))
}

fn source_shape() -> Shape {
    let wire = protocols::source_shape(&codecs::format_fields());
    Shape::Either(vec![wire, Shape::Struct(connectors::source_shape()), Shape::Struct(partners::source_shape())])
}

fn destinations_shape() -> Shape {
    Shape::Named(|| Box::new(destination_shape()))
}

fn destination_shape() -> Shape {
    let mut fields = DestinationHead::fields();
    let about = "What is done to each message for this destination only.";
    fields.push(Field { name: "steps", about, shape: steps::steps_shape, default: None, required: false });
    let about = "What the system answered (`$result`) goes into a durable table, in the commit that ends the delivery. `$` is the \
                 document that was delivered. A formula that fails leaves the row out and is told in the log and the journal: \
                 the message has been delivered.";
    let remember = Field { name: "remember", about, shape: RowTemplate::shape, default: None, required: false };
    let connected = connectors::target_shape().and(fields.iter().cloned().chain([remember]).collect());
    let partner = partners::target_shape().and(fields.clone());
    fields.extend(codecs::format_fields());
    Shape::Either(vec![protocols::target_shape(&fields), Shape::Struct(connected), Shape::Struct(partner)])
}

impl Pipeline {
    /// Reads `pipeline.yaml`; `folder` is where its other files are.
    pub fn read(
        name: &str,
        node: &Node,
        reader: &mut Reader<'_>,
        folder: &FilePath,
        names: Names<'_>,
    ) -> Option<Pipeline> {
        let mut map = reader.map(node)?;
        let head: Option<PipelineHead> = map.flat(reader);
        let from = match map.node("from") {
            Some(from) => read_source(from, reader, names),
            None => {
                reader
                    .error(map.span.part(0, 1), "`from` is missing")
                    .label("a pipeline says where its messages come from");
                None
            }
        };
        let no_steps = || Some(Steps::default());
        let steps = map
            .node("steps")
            .map_or_else(no_steps, |node| Steps::read(node, reader, &names.place(name, "steps", folder)));
        let defaults = head.as_ref().map_or_else(OnError::default, |head| OnError::of(head.on_error.as_ref()));
        let to = map.node("to");
        let destinations = match to {
            Some(to) => read_destinations(to, reader, &Place { pipeline: name, folder, names, defaults: &defaults }),
            None => Some(Vec::new()),
        };
        let from_span = map.node("from").map_or(map.span, |node| node.span.part(0, 1));
        let span = map.span;
        let stated = ["order_by", "dedupe", "track"].map(|name| map.node(name).map_or(span, |node| node.span));
        map.finish(reader);

        let head = head?;
        check_identity(reader, stated, &head);
        check_ends(reader, span, &head, to, destinations.as_deref());
        check_replies(reader, from_span, &head, from.as_ref().map(|from| &from.source), steps.as_ref());
        warn(reader, span, &head, destinations.as_deref());
        warn_of_calls(reader, span, &head, steps.as_ref());
        let From { source, codec, takes } = from?;
        let mut track: Vec<Track> = head
            .track
            .unwrap_or_default()
            .into_iter()
            .map(|(name, value)| Track::new(name, value, &head.private))
            .collect();
        if takes.is_some() {
            track.extend(
                Track::of_partner()
                    .filter(|own| !track.iter().any(|stated| stated.name == own.name))
                    .collect::<Vec<_>>(),
            );
        }
        Some(Pipeline {
            name: name.into(),
            about: head.about,
            owner: head.owner,
            source,
            codec,
            takes,
            source_span: from_span,
            track,
            order_by: head.order_by.unwrap_or(OrderBy::None),
            repeats_considered: head.dedupe.is_some(),
            dedupe: match head.dedupe {
                Some(DedupeSetting::By(DedupeBy { by, keep })) => Some(Dedupe { by, keep }),
                Some(DedupeSetting::None) | None => None,
            },
            private: head.private,
            steps: steps?,
            destinations: destinations?,
            on_error: defaults,
            reply: head.reply,
            revision: [0; 16],
        })
    }
}

impl Pipeline {
    /// Its queues, and how instances share them: by key where there is an order, all to one where members of a group meet.
    pub fn queues(&self) -> Vec<(Text, Sharing)> {
        if self.reply.is_some() {
            return Vec::new();
        }
        let shared = match self.order_by {
            OrderBy::None => Sharing::Competing,
            OrderBy::Value(_) => Sharing::Keyed,
        };
        let own = if self.steps.has("aggregate") { Sharing::Single } else { shared };
        let destinations = self.destinations.iter().map(|to| (to.queue.clone(), shared));
        [(self.name.clone(), own)].into_iter().chain(destinations).collect()
    }

    /// Its own steps, then those of each destination.
    pub fn all_steps(&self) -> impl Iterator<Item = &Steps> {
        [&self.steps].into_iter().chain(self.destinations.iter().map(|to| &to.steps))
    }

    /// Whether it is one of a partner's, which nobody writes.
    pub fn is_lane(&self) -> bool {
        self.name.contains('.')
    }

    /// The key of every message, where that is the same: in a partner's lane.
    pub fn only_key(&self) -> Option<Text> {
        match &self.order_by {
            OrderBy::Value(by) => by.as_constant().and_then(Value::plain),
            OrderBy::None => None,
        }
    }

    /// Whether each record of an input (a row of a file) is a message of its own.
    pub fn takes_records(&self) -> bool {
        self.source.resumes() && self.codec.records(Box::new(std::io::empty())).is_some()
    }
}

impl Default for OnError {
    fn default() -> OnError {
        OnError { retry: Vec::new(), then: Then::DeadLetter }
    }
}

impl OnError {
    fn of(settings: Option<&OnErrorSettings>) -> OnError {
        settings
            .map_or_else(OnError::default, |on_error| OnError { retry: on_error.retry.clone(), then: on_error.then })
    }
}

/// What exists beside the pipelines, by name.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    pub tables: &'a TableNames,
    pub connections: &'a ConnectionNames,
    pub connectors: &'a Connectors,
    pub partners: &'a Arc<Partners>,
}

impl<'a> Names<'a> {
    fn place(self, pipeline: &'a str, step: &'a str, folder: &'a FilePath) -> StepPlace<'a> {
        StepPlace { pipeline, step, folder, tables: self.tables, connections: self.connections }
    }
}

/// Where destinations are read, and what they inherit.
struct Place<'a> {
    pipeline: &'a str,
    folder: &'a FilePath,
    names: Names<'a>,
    defaults: &'a OnError,
}

/// Where messages come from.
struct From {
    source: Arc<dyn SourceSettings>,
    codec: Arc<dyn Codec>,
    takes: Option<Taken>,
}

fn read_source(node: &Node, reader: &mut Reader<'_>, names: Names<'_>) -> Option<From> {
    let mut map = reader.map(node)?;
    if map.node("connection").is_some() {
        let source = names.connectors.read_source(&mut map, reader);
        map.finish(reader);
        return Some(From { source: source?, codec: codecs::json_documents(), takes: None });
    }
    if map.node("partner").is_some() {
        let source = names.partners.read_source(&mut map, reader);
        map.finish(reader);
        let (source, codec) = source?;
        let takes = Some(source.taken.clone());
        return Some(From { source, codec, takes });
    }
    let source = protocols::read_source(&mut map, reader);
    let codec = codecs::read_format(&mut map, reader);
    map.finish(reader);
    Some(From { source: source?, codec: codec?, takes: None })
}

fn read_destinations(node: &Node, reader: &mut Reader<'_>, place: &Place<'_>) -> Option<Vec<Arc<Destination>>> {
    let map = reader.map(node)?;
    let mut whole = true;
    let mut out = Vec::new();
    for (key, node) in map.rest() {
        match read_destination(&key.name, node, reader, place) {
            Some(destination) => out.push(Arc::new(destination)),
            None => whole = false,
        }
    }
    whole.then_some(out)
}

fn read_destination(name: &Text, node: &Node, reader: &mut Reader<'_>, place: &Place<'_>) -> Option<Destination> {
    let mut map: MapReader<'_> = reader.map(node)?;
    let head: Option<DestinationHead> = map.flat(reader);
    let base = format!("to.{name}.steps");
    let steps_place = place.names.place(place.pipeline, &base, place.folder);
    let steps = match map.node("steps") {
        Some(node) => Steps::read(node, reader, &steps_place),
        None => Some(Steps::default()),
    };
    let (target, codec) = match (map.node("connection"), map.node("partner")) {
        (Some(_), _) => (place.names.connectors.read_target(&mut map, reader), Some(codecs::json_documents())),
        (None, Some(_)) => {
            let codec: Arc<dyn Codec> = Arc::new(EnvelopeCodec);
            (place.names.partners.read_target(&mut map, reader), Some(codec))
        }
        (None, None) => (protocols::read_target(&mut map, reader), codecs::read_format(&mut map, reader)),
    };
    let remember = match map.node("remember") {
        Some(node) => Some(read_remember(node, map.node("connection").is_some(), reader, place.names.tables)?),
        None => None,
    };
    map.finish(reader);
    if let (Some(steps), Some(at)) = (&steps, node.field("steps"))
        && steps.has("aggregate")
    {
        reader.error(at.span.part(0, 1), "`aggregate` cannot stand among a destination's steps").help(
            "gather in the pipeline's own `steps`; to gather for one destination, hand over to a second pipeline",
        );
        return None;
    }
    let head = head?;
    Some(Destination {
        span: node.span.part(0, 1),
        name: name.clone(),
        queue: format!("{}.to.{name}", place.pipeline).into(),
        steps: steps?,
        target: target?,
        codec: codec?,
        on_error: OnError {
            retry: head.retry.unwrap_or_else(|| place.defaults.retry.clone()),
            then: head.then.unwrap_or(place.defaults.then),
        },
        concurrency: head.concurrency.clamp(1, 256) as usize,
        remember,
    })
}

/// The `remember:` of a destination, which only a connected system answers.
fn read_remember(node: &Node, connected: bool, reader: &mut Reader<'_>, tables: &TableNames) -> Option<RowTemplate> {
    if !connected {
        reader
            .error(node.span.part(0, 1), "`remember` of a destination keeps what a connected system answered")
            .label("this destination has no `connection`")
            .help("write `remember` as a step, or name a `connection` and an `operation`");
        return None;
    }
    let row = RowTemplate::read(node, reader, tables)?;
    let mut strange = None;
    row.paths(&mut |path| {
        if ["$headers", "$partner", "$connection"].iter().any(|root| within(path.text(), root)) {
            strange = Some(path.text().to_owned());
        }
    });
    if let Some(path) = strange {
        reader
            .error(node.span.part(0, 1), format!("`{path}` is not kept until the delivery"))
            .label("sees `$`, the document that was delivered, `$result` and `$meta`")
            .help("put the value into the document, in `steps`");
        return None;
    }
    Some(row)
}

/// A pipeline either answers its caller or sends somewhere.
fn check_ends(
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
fn check_identity(reader: &mut Reader<'_>, [order_by, dedupe, track]: [Span; 3], head: &PipelineHead) {
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
fn check_replies(
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
fn warn(reader: &mut Reader<'_>, span: Span, head: &PipelineHead, destinations: Option<&[Arc<Destination>]>) {
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
fn warn_of_calls(reader: &mut Reader<'_>, span: Span, head: &PipelineHead, steps: Option<&Steps>) {
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

    #[test]
    fn a_path_is_private_inside_a_private_place_and_around_it() {
        assert!(within("$.customer.email?", "$.customer"));
        assert!(within("$.customer", "$.customer.email"));
        assert!(within("$.customer['email']", "$.customer"));
        assert!(!within("$.customer_number", "$.customer"));
    }
}
