//! The gate of a pipeline: what its source brings is decoded once, given its identity, and stored before the source hears
//! "accepted".

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::dead_letters::is_unread;
use super::mask::People;
use super::process::{document, key_text};
use super::relay::Relayed;
use super::{Direct, OrderBy, Pipeline, Relay, Works, pause, pseudonym, reply};
use crate::clock::later;
use crate::formula::{Meta, Scope, Template};
use crate::message::{Fault, Map, MessageId, Next, Text, Value};
use crate::protocols::{Arrival, Receipt, ReceiptOutcome, Receiver, Surroundings, Target};
use crate::queue::{Decoded, NewEntry};
use crate::store::{Accepted, Claim, DeadLetter, Event, Fence, Hold, Hop, Intake, Stored};
use crate::telemetry::PipelineMetrics;

/// How long an arrival that its source identifies is remembered, where the pipeline states no `dedupe`.
const KEEP_POSITIONS: Duration = Duration::from_secs(7 * 86_400);

/// Where a pipeline's source hands over.
pub struct Gate {
    pipeline: Arc<Pipeline>,
    works: Works,
    metrics: PipelineMetrics,
    /// The shorter ways, where the ends allow them.
    direct: Option<Direct>,
    relay: Option<Relay>,
}

impl Gate {
    /// `targets` are the opened targets, in the order of the pipeline's destinations.
    pub fn new(pipeline: Arc<Pipeline>, works: Works, targets: &[Arc<dyn Target>]) -> Gate {
        let metrics = works.metrics.pipeline(&pipeline.name);
        let direct = Direct::of(&pipeline, targets, &works);
        let relay = Relay::of(&pipeline, targets, &works);
        Gate { pipeline, works, metrics, direct, relay }
    }

    /// The ordinary way: all are stored, in one commit, under the fence of the source's turn where it has one.
    async fn store(
        &self,
        arrivals: Vec<Arrival>,
        cursor: Option<(Text, Value)>,
        fence: Option<Fence>,
    ) -> Result<Vec<Receipt>, Fault> {
        let now = self.works.clock.now();
        let has_cursor = cursor.is_some();
        let (intakes, dead): (Vec<_>, Vec<_>) =
            arrivals.into_iter().map(|arrival| self.intake(arrival, has_cursor, now)).unzip();
        let accepted = self
            .works
            .engine
            .store
            .intake_under(intakes, cursor, fence)
            .await
            .inspect_err(|_| self.metrics.refused.inc())?;
        let receipts = accepted.into_iter().zip(dead).map(|(accepted, dead)| match accepted {
            Accepted::New(id) if dead => Receipt { id, outcome: ReceiptOutcome::Dead },
            Accepted::New(id) => Receipt { id, outcome: ReceiptOutcome::Stored },
            Accepted::Repeat(id) => Receipt { id, outcome: ReceiptOutcome::Repeat },
            Accepted::Conflict(id) => Receipt { id, outcome: ReceiptOutcome::Conflict },
        });
        Ok(receipts.inspect(|receipt| self.count(receipt)).collect())
    }

    /// The shorter way from broker to broker, then the ordinary one for what is left.
    async fn relay(&self, relay: &Relay, arrivals: Vec<Arrival>) -> Result<Vec<Receipt>, Fault> {
        let Relayed { mut receipts, left } = relay.receive(arrivals).await?;
        let relayed = receipts.iter().any(Option::is_some);
        let (places, left): (Vec<usize>, Vec<Arrival>) = left.into_iter().unzip();
        let mut failures = 0;
        while !left.is_empty() {
            match self.store(left.clone(), None, None).await {
                Ok(stored) => {
                    for (place, receipt) in places.into_iter().zip(stored) {
                        receipts[place] = Some(receipt);
                    }
                    break;
                }
                // Those that were delivered need not be delivered again because others find no room: all wait.
                Err(fault) if relayed && matches!(fault.next(), Next::Retry { .. }) => {
                    warn!(code = fault.code(), "what could not be delivered finds no room, trying again: {fault}");
                    self.works.clock.sleep(pause(failures)).await;
                    failures += 1;
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(receipts.into_iter().flatten().collect())
    }

    /// One arrival as it will be stored.
    fn intake(&self, arrival: Arrival, has_cursor: bool, now: Timestamp) -> (Intake, bool) {
        let drawn = || match &arrival.position {
            Some(position) => MessageId::derive(&[self.pipeline.name.as_bytes(), b"position", position.as_bytes()]),
            None => MessageId::draw(),
        };
        let decoded = match (arrival.fault, arrival.document) {
            (Some(fault), _) => Err(People::hide_unread(&self.pipeline, &arrival.body, fault)),
            (None, Some(document)) => Ok(document),
            (None, None) => document(&self.pipeline, &arrival.body, (drawn(), now))
                .map_err(|fault| People::hide_unread(&self.pipeline, &arrival.body, fault)),
        };
        let content = || self.content(&arrival.body);
        let known = decoded.and_then(|document| {
            let id = drawn();
            match self.identify(&document, &arrival.headers, id, now) {
                Ok(identity) => Ok((identity, document)),
                Err(fault) => Err(People::of(&self.pipeline, &document).hide(fault)),
            }
        });
        // Whose cursor commits with each record repeats none: that memory can be spared.
        let position = arrival.position.as_deref().filter(|_| !(has_cursor && self.pipeline.source.resumes()));
        match known {
            Ok((identity, document)) => {
                let id = identity.id;
                let claim = match (&self.pipeline.dedupe, identity.dedupe) {
                    (Some(dedupe), Some(key)) => Some(self.claim(key, content(), id, later(now, dedupe.keep))),
                    _ => position.map(|position| {
                        let key = half_hash(position.as_bytes());
                        self.claim(key, content(), id, later(now, KEEP_POSITIONS))
                    }),
                };
                let mut entry = self.entry(id, identity.key, arrival.headers, arrival.body, now);
                entry.decoded = Decoded::new(document);
                let hops = vec![self.hop(id, Event::Accepted, None, identity.track, now)];
                (Intake { claim, stored: Stored::Entry(entry), hops }, false)
            }
            Err(fault) => {
                let id = drawn();
                let claim = position.map(|position| {
                    self.claim(half_hash(position.as_bytes()), content(), id, later(now, KEEP_POSITIONS))
                });
                let entry = self.entry(id, None, arrival.headers, arrival.body, now);
                let hops = vec![self.hop(id, Event::Dead, Some(fault.code().into()), Vec::new(), now)];
                self.metrics.dead(fault.code());
                (
                    Intake {
                        claim,
                        stored: Stored::Dead(Box::new(dead_letter(entry, &self.pipeline.name, None, &fault, 0, now))),
                        hops,
                    },
                    true,
                )
            }
        }
    }

    /// Takes a dead letter of the intake in anew, now that the pipeline may be mended: with its `dedupe` key and its order,
    /// which it had not. Gives the messages it became; `None` where it still cannot be known: then it is replayed as it is.
    ///
    /// # Errors
    /// What its source still finds wrong with it; `STORE-FULL` and other faults of the store. The dead letter is as before.
    pub(super) async fn again(
        &self,
        dead: &DeadLetter,
        around: &Surroundings,
    ) -> Result<Option<Vec<MessageId>>, Fault> {
        if is_unread(dead)
            && let Some(made) = self.made_again(dead, around).await?
        {
            let receipts = self.store(made, None, None).await?;
            return Ok(Some(receipts.iter().map(|receipt| receipt.id).collect()));
        }
        let document = document(&self.pipeline, &dead.body, (dead.message, dead.time));
        let known = document.and_then(|document| self.identify(&document, &dead.headers, dead.message, dead.time));
        let Ok(identity) = known else { return Ok(None) };
        let (id, now) = (identity.id, self.works.clock.now());
        let claim = match (&self.pipeline.dedupe, identity.dedupe) {
            (Some(dedupe), Some(key)) => Some(self.claim(key, self.content(&dead.body), id, later(now, dedupe.keep))),
            _ => None,
        };
        let entry = self.entry(id, identity.key, dead.headers.clone(), dead.body.clone(), dead.time);
        let hops = vec![self.hop(id, Event::Accepted, None, identity.track, now)];
        self.works.engine.store.intake(vec![Intake { claim, stored: Stored::Entry(entry), hops }], None).await?;
        Ok(Some(vec![id]))
    }

    /// What the source makes now of something it could make nothing of.
    async fn made_again(&self, dead: &DeadLetter, around: &Surroundings) -> Result<Option<Vec<Arrival>>, Fault> {
        let (body, headers) = (dead.body.clone(), dead.headers.clone());
        let stored = Arrival { body, document: None, headers, position: None, fault: None };
        let made = self.pipeline.source.again(&self.pipeline.name, &stored, around).await?;
        match made.as_deref() {
            Some([Arrival { fault: Some(fault), .. }]) => {
                let fault = People::anywhere(&self.pipeline, &dead.body).hide(fault.clone());
                let said = format!("it stays a dead letter, since nothing can be made of it now either: {fault}");
                Err(Fault::refuse(fault.code(), said))
            }
            _ => Ok(made),
        }
    }

    fn identify(&self, document: &Value, headers: &Map, drawn: MessageId, now: Timestamp) -> Result<Identity, Fault> {
        let meta = Meta::of(&self.pipeline.name, drawn, now);
        let scope = Scope {
            document,
            headers,
            meta: &meta,
            item: None,
            partner: None,
            connection: None,
            locals: None,
            time: now,
            id: drawn,
            tables: &*self.works.tables,
        };
        let mut identity = Identity { id: drawn, dedupe: None, key: None, track: Vec::new() };
        if let Some(dedupe) = &self.pipeline.dedupe {
            let mut parts = vec![self.pipeline.name.as_bytes().to_vec()];
            for by in &dedupe.by {
                // No text is this byte: a value that is not there is unlike any that is.
                let part =
                    render(by, &scope, "dedupe.by")?.map_or(vec![0xff], |value| key_text(&value).as_bytes().to_vec());
                parts.push(part);
            }
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            identity.id = MessageId::derive(&parts);
            identity.dedupe = Some(*identity.id.as_bytes());
        }
        if let OrderBy::Value(by) = &self.pipeline.order_by {
            identity.key = render(by, &scope, "order_by")?.map(|value| key_text(&value));
        }
        identity.track = tracked(&self.pipeline, &scope)?;
        Ok(identity)
    }

    fn entry(&self, id: MessageId, key: Option<Text>, headers: Map, body: Bytes, now: Timestamp) -> NewEntry {
        let queue = self.pipeline.name.clone();
        NewEntry {
            queue,
            message: id,
            origin: id,
            key,
            time: now,
            headers,
            body,
            start_at: 0,
            due: None,
            decoded: Decoded::default(),
        }
    }

    /// What two arrivals of the same key must share to be a repeat.
    fn content(&self, body: &Bytes) -> [u8; 16] {
        match self.pipeline.source.content(&*self.pipeline.codec, body) {
            Some(content) => half_hash(content.as_bytes()),
            None => half_hash(body),
        }
    }

    fn claim(&self, key: [u8; 16], content: [u8; 16], message: MessageId, until: Timestamp) -> Claim {
        Claim { pipeline: self.pipeline.name.clone(), key, content, message, until }
    }

    fn hop(&self, id: MessageId, event: Event, note: Option<Text>, track: Vec<(Text, Text)>, at: Timestamp) -> Hop {
        Hop {
            origin: id,
            message: id,
            pipeline: self.pipeline.name.clone(),
            at,
            event,
            destination: None,
            note,
            count: 1,
            track,
        }
    }

    fn count(&self, receipt: &Receipt) {
        match receipt.outcome {
            ReceiptOutcome::Stored => self.metrics.accepted.inc(),
            ReceiptOutcome::Repeat => self.metrics.repeats.inc(),
            ReceiptOutcome::Conflict => self.metrics.conflicts.inc(),
            ReceiptOutcome::Dead => self.metrics.undecodable.inc(),
        }
    }
}

impl Gate {
    /// The gate for a source that runs in a turn: whatever comes through it is stored only while the turn lasts.
    pub fn under(self: Arc<Gate>, hold: &Hold) -> Arc<dyn Receiver> {
        Arc::new(InTurn { gate: self, fence: hold.fence.clone(), lost: hold.lost.clone() })
    }

    async fn receive_under(
        &self,
        arrivals: Vec<Arrival>,
        cursor: Option<(Text, Value)>,
        fence: Option<Fence>,
    ) -> Result<Vec<Receipt>, Fault> {
        let bytes = arrivals.iter().map(|arrival| arrival.body.len()).sum();
        let _room = self.works.memory.room(bytes, &self.works.clock).await?;
        // What comes without a cursor (sent in by hand) has no place in a file that grows with its source.
        if let Some(direct) = &self.direct
            && cursor.is_some()
        {
            return direct.receive(arrivals, cursor, fence).await;
        }
        match &self.relay {
            Some(relay) if cursor.is_none() => self.relay(relay, arrivals).await,
            _ => self.store(arrivals, cursor, fence).await,
        }
    }

    async fn finished_under(&self, name: &str, fence: Option<Fence>) -> Result<(), Fault> {
        match &self.direct {
            Some(direct) => direct.finished(name, fence).await,
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Receiver for Gate {
    async fn receive(&self, arrivals: Vec<Arrival>, cursor: Option<(Text, Value)>) -> Result<Vec<Receipt>, Fault> {
        self.receive_under(arrivals, cursor, None).await
    }

    async fn cursor(&self, name: &str) -> Result<Option<Value>, Fault> {
        self.works.engine.store.cursor(name).await
    }

    async fn finished(&self, name: &str) -> Result<(), Fault> {
        self.finished_under(name, None).await
    }

    async fn reply(&self, arrival: Arrival) -> Result<Value, Fault> {
        reply::reply(&self.pipeline, &self.works, arrival).await
    }
}

/// A gate while a turn lasts.
struct InTurn {
    gate: Arc<Gate>,
    fence: Option<Fence>,
    lost: CancellationToken,
}

impl InTurn {
    /// The commit checks the fence; this spares an instance that woke late what it would do before.
    fn lasts(&self) -> Result<(), Fault> {
        if self.lost.is_cancelled() {
            return Err(Fault::reconnect("STORE-STALE", "the source's turn has passed on to another instance"));
        }
        Ok(())
    }
}

#[async_trait]
impl Receiver for InTurn {
    async fn receive(&self, arrivals: Vec<Arrival>, cursor: Option<(Text, Value)>) -> Result<Vec<Receipt>, Fault> {
        self.lasts()?;
        self.gate.receive_under(arrivals, cursor, self.fence.clone()).await
    }

    async fn cursor(&self, name: &str) -> Result<Option<Value>, Fault> {
        self.gate.cursor(name).await
    }

    async fn finished(&self, name: &str) -> Result<(), Fault> {
        self.lasts()?;
        self.gate.finished_under(name, self.fence.clone()).await
    }

    async fn reply(&self, arrival: Arrival) -> Result<Value, Fault> {
        self.gate.reply(arrival).await
    }
}

/// What a message is known by.
struct Identity {
    id: MessageId,
    dedupe: Option<[u8; 16]>,
    key: Option<Text>,
    track: Vec<(Text, Text)>,
}

/// What people will search for, as the journal keeps it.
fn tracked(pipeline: &Pipeline, scope: &Scope<'_>) -> Result<Vec<(Text, Text)>, Fault> {
    let mut found = Vec::with_capacity(pipeline.track.len());
    for track in &pipeline.track {
        if let Some(value) = render(&track.value, scope, "track")? {
            let value = key_text(&value);
            found.push((track.name.clone(), if track.private { pseudonym(&value) } else { value }));
        }
    }
    Ok(found)
}

/// [`tracked`], of a document that came in as `id` and passes by the intake.
pub(super) fn track(
    pipeline: &Pipeline,
    works: &Works,
    id: MessageId,
    document: &Value,
    headers: &Map,
    now: Timestamp,
) -> Result<Vec<(Text, Text)>, Fault> {
    if pipeline.track.is_empty() {
        return Ok(Vec::new());
    }
    let meta = Meta::of(&pipeline.name, id, now);
    let scope = Scope {
        document,
        headers,
        meta: &meta,
        item: None,
        partner: None,
        connection: None,
        locals: None,
        time: now,
        id,
        tables: &*works.tables,
    };
    tracked(pipeline, &scope)
}

fn render(template: &Template, scope: &Scope<'_>, place: &str) -> Result<Option<Value>, Fault> {
    template.render(scope).map_err(|fault| fault.at_step(place))
}

/// The dead letter of an entry, whose replay is the entry itself.
pub(super) fn dead_letter(
    entry: NewEntry,
    pipeline: &Text,
    destination: Option<&Text>,
    fault: &Fault,
    attempts: u32,
    at: Timestamp,
) -> DeadLetter {
    DeadLetter {
        message: entry.message,
        origin: entry.origin,
        pipeline: pipeline.clone(),
        destination: destination.cloned(),
        key: entry.key.clone(),
        time: entry.time,
        at,
        headers: entry.headers.clone(),
        body: entry.body.clone(),
        code: fault.code().into(),
        cause: fault.sentence(),
        step: fault.step().map(str::to_owned),
        position: fault.position().map(str::to_owned),
        attempts,
        replay: entry,
    }
}

fn half_hash(bytes: &[u8]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}
