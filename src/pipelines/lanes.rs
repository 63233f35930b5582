//! The lanes of partners: pipelines that nobody writes. `<partner>.in` opens what a mailbox brings, `<partner>.out` numbers and sends
//! what pipelines give.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::spec::{Destination, Names, OnError, OrderBy, Pipeline, Then};
use crate::codecs::{Codec, json_documents};
use crate::config::{Problem, Reader, parse};
use crate::formula::Template;
use crate::message::{Text, Value};
use crate::partners::{
    Envelope, EnvelopeCodec, HandOver, InterchangeCodec, Mailbox, Overdue, Partner, Partners, Routes, Take, Waiting,
};
use crate::protocols::{SourceSettings, TargetSettings};
use crate::steps::{Place, StepPlace, Steps};

/// What is tried where something of the hub itself is busy, in seconds.
const RETRY: [u64; 6] = [5, 30, 120, 600, 3_600, 21_600];

/// The lanes of all partners; `pipelines` are those that take their documents.
pub(super) fn lanes(
    pipelines: &BTreeMap<Text, Arc<Pipeline>>,
    names: Names<'_>,
    reader: &mut Reader<'_>,
) -> Vec<Pipeline> {
    let partners = names.partners;
    let taken = |pipeline: &Arc<Pipeline>| {
        let taken = pipeline.takes.as_ref()?;
        Some(((taken.partner.clone(), taken.document.clone()), pipeline.name.clone()))
    };
    let routes = Arc::new(Routes(pipelines.values().filter_map(taken).collect()));
    let mut lanes: Vec<Pipeline> =
        partners.mailboxes.iter().map(|mailbox| incoming(mailbox, partners, &routes)).collect();
    for partner in partners.partners.values() {
        let out = partner.out.as_ref().and_then(|out| outgoing(partner, out, names, reader));
        lanes.extend(out);
    }
    lanes
}

fn incoming(mailbox: &Mailbox, partners: &Arc<Partners>, routes: &Arc<Routes>) -> Pipeline {
    let take = Take {
        partners: partners.clone(),
        accepted: mailbox.partners.clone(),
        routes: routes.clone(),
        pipeline: mailbox.name.clone(),
    };
    let steps = Steps::default().with(vec![("take", Box::new(take))]);
    let about = format!("What {} sends.", mailbox.partners.join(", "));
    let hand_over: Arc<dyn TargetSettings> =
        Arc::new(HandOver { routes: routes.clone(), partners: partners.clone(), lane: mailbox.name.clone() });
    let source = (mailbox.source.clone(), Arc::new(InterchangeCodec) as Arc<dyn Codec>);
    let to = (Text::new_static("pipelines"), hand_over, json_documents());
    let mut hash = Sha256::new().chain_update(format!("{:?} {:?}", mailbox.said(), routes));
    for partner in partners.partners.values() {
        hash.update(partner.revision);
    }
    let on_error = OnError { retry: RETRY.map(Duration::from_secs).to_vec(), then: Then::DeadLetter };
    let (name, key, private) = (mailbox.name.clone(), &mailbox.name, &["$.bytes"][..]);
    Lane { name, about, key, source, steps, to, private, on_error, hash }.pipeline(mailbox.span)
}

fn outgoing(
    partner: &Arc<Partner>,
    out: &Arc<dyn TargetSettings>,
    names: Names<'_>,
    reader: &mut Reader<'_>,
) -> Option<Pipeline> {
    let name: Text = format!("{}.out", partner.name).into();
    // The step is there in any case: where a group goes on is told by its place, which must not move when a profile is edited.
    let (within, most) = partner.batch.as_ref().map_or((1, 1), |batch| (batch.within.as_secs().max(1), batch.most));
    // Acknowledgments wait for nobody.
    let when = if partner.batch.is_some() { "not has($.acknowledges)" } else { "false" };
    let yaml =
        format!("- aggregate: {{ by: $.document, within: {within}s, count: {most}, most: {most} }}\n  when: {when}\n");
    let file = reader.files.add(format!("config/partners/{}.yaml", partner.name), yaml.clone());
    let node = parse(file, &yaml, &mut Vec::<Problem>::new())?;
    let (folder, tables, connections) = (std::path::Path::new("."), names.tables, names.connections);
    let gathering =
        Steps::read(&node, reader, &StepPlace { pipeline: &name, step: "steps", folder, tables, connections })?;
    let partners = names.partners;
    let place = format!("steps[{}]", gathering.len()).into();
    let (of, pipeline) = (partner.name.clone(), name.clone());
    let envelope = Envelope { partners: partners.clone(), partner: of.clone(), pipeline, place };
    let overdue = Overdue { partner: of };
    // What waits for an acknowledgment is a group, which closes as those of `aggregate` do.
    let steps = gathering.with(vec![("aggregate", Box::new(envelope)), ("overdue", Box::new(overdue))]);
    let about = format!("What is sent to {}: {}", partner.name, partner.about);
    let source = (Arc::new(Waiting) as Arc<dyn SourceSettings>, json_documents());
    let codec: Arc<dyn Codec> = Arc::new(EnvelopeCodec);
    let to = (Text::new_static("transport"), out.clone(), codec);
    let on_error = OnError { retry: partner.retry.clone(), then: Then::DeadLetter };
    let hash = Sha256::new().chain_update(partner.revision);
    let (key, private) = (&partner.name, &["$.given", "$.content", "$.items[*].given", "$.items[*].content"][..]);
    Some(Lane { name, about, key, source, steps, to, private, on_error, hash }.pipeline(partner.out_span))
}

/// What a lane is made of.
struct Lane<'a> {
    name: Text,
    about: String,
    /// All of it keeps its order.
    key: &'a Text,
    source: (Arc<dyn SourceSettings>, Arc<dyn Codec>),
    steps: Steps,
    to: (Text, Arc<dyn TargetSettings>, Arc<dyn Codec>),
    /// Whose data is in it is not known: it is masked whole.
    private: &'a [&'a str],
    on_error: OnError,
    hash: Sha256,
}

impl Lane<'_> {
    fn pipeline(self, span: crate::config::Span) -> Pipeline {
        let (source, codec) = self.source;
        let (called, target, to_codec) = self.to;
        let digest: [u8; 32] = self.hash.finalize().into();
        let mut revision = [0; 16];
        revision.copy_from_slice(&digest[..16]);
        let destination = Destination {
            queue: format!("{}.to.{called}", self.name).into(),
            name: called,
            span,
            steps: Steps::default(),
            target,
            codec: to_codec,
            on_error: self.on_error.clone(),
            // One after the other: an interchange does not overtake the one before.
            concurrency: 1,
            remember: None,
        };
        Pipeline {
            name: self.name,
            about: self.about,
            owner: None,
            source,
            codec,
            takes: None,
            source_span: span,
            track: Vec::new(),
            order_by: OrderBy::Value(Template::constant(Value::from(self.key.clone()))),
            dedupe: None,
            private: self.private.iter().filter_map(|place| Place::parse(place)).collect(),
            steps: self.steps,
            destinations: vec![Arc::new(destination)],
            on_error: self.on_error,
            reply: None,
            repeats_considered: true,
            revision,
        }
    }
}
