//! `poll`: asks again and again for what is new.
//!
//! A round asks for page after page. While one is being stored the next is asked for: never more than that is held. The cursor
//! (`poll:<pipeline>`) is the largest value of all items; it is stored with the last page of a round, or with each where the
//! items come in order, and only once what it leaves behind is stored. What comes again is known by its position: the item's
//! `id`, or a hash of what the system said of it, so that other content is another message. What the round before handed over is
//! not handed over again ([`seen`]).
//!
//! A fault of the first page ends the run: the hub says so, rests, and opens the source again. A later page is asked again a few
//! times first, and so is a call for an item, since a new round would begin with the first page.

mod items;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::answer::Reply;
use super::connection::Connection;
use super::forms::Extra;
use super::line::Line;
use super::manifest::{Poll, Request};
use super::original::{Mapping, Original};
use super::paging::{Following, Page, Paging};
use super::progress::{Largest, Progress};
use super::scope::View;
use super::waits::Waits;
use crate::clock::Clock;
use crate::codecs::Codec;
use crate::formula::Meta;
use crate::message::{Fault, Map, MessageId, Next, Text, Value, json};
use crate::protocols::{Arrival, Receipt, ReceiptOutcome, Receiver, Source, SourceSettings, Surroundings};
use crate::telemetry::PollMetrics;
use seen::Seen;

/// How often a later page, or a call for an item, is asked again.
const TIMES: u32 = 5;
/// Most arrivals of one commit.
const MOST: usize = 1_000;
/// Waits after a refused page grow from the first to the last.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A poll of a connection, as a pipeline names it.
#[derive(Clone, Debug)]
pub struct PollSource {
    pub connection: Arc<Connection>,
    pub operation: Text,
    pub poll: Box<Poll>,
    /// The pipeline's own, instead of the manifest's.
    pub every: Option<Duration>,
}

#[async_trait]
impl SourceSettings for PollSource {
    fn open(&self, pipeline: &str, _codec: Arc<dyn Codec>, around: &Surroundings) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(self.polling(pipeline, around)?))
    }

    fn alone(&self) -> bool {
        true
    }

    fn document(&self, stored: &Value, of: (MessageId, Timestamp)) -> Option<Result<Value, Fault>> {
        self.mapping().document(stored, of)
    }

    async fn again(
        &self,
        pipeline: &str,
        stored: &Arrival,
        around: &Surroundings,
    ) -> Result<Option<Vec<Arrival>>, Fault> {
        let Ok(stored) = json::read(&stored.body) else { return Ok(None) };
        let item = Original::read(&stored).map_or_else(|| stored.clone(), |original| original.item.clone());
        let polling = self.polling(pipeline, around)?;
        let round = Round::at(&polling, Map::new(), polling.clock.now());
        let made = polling.called_item(&round.view(&round.locals), item, 0, None, 0).await?;
        Ok(Some(made.into_iter().collect()))
    }
}

impl PollSource {
    /// One round from where the last ended, and no more.
    ///
    /// # Errors
    /// As [`Source::run`].
    pub(super) async fn once(
        &self,
        pipeline: &str,
        receiver: &dyn Receiver,
        around: &Surroundings,
    ) -> Result<(), Fault> {
        let polling = self.polling(pipeline, around)?;
        let mut progress = polling.progress(receiver).await?;
        polling.round(&mut progress, &mut Seen::default(), receiver).await.map(drop)
    }

    fn mapping(&self) -> Mapping<'_> {
        let PollSource { connection, operation, poll, .. } = self;
        Mapping { connection, operation, template: poll.document.as_ref(), alone: false }
    }

    fn polling(&self, pipeline: &str, around: &Surroundings) -> Result<Polling, Fault> {
        let line = self.connection.line(around)?;
        let headers = Map::from_iter([
            ("connection", Value::Text(self.connection.name.clone())),
            ("operation", Value::Text(self.operation.clone())),
        ]);
        Ok(Polling {
            pipeline: pipeline.into(),
            cursor: format!("poll:{pipeline}").into(),
            source: self.clone(),
            line,
            clock: around.clock.clone(),
            headers,
            stores_originals: self.poll.document.is_some() && self.mapping().is_of_original(),
            metrics: around.metrics.poll(pipeline, &self.connection.name, &self.operation),
        })
    }
}

struct Polling {
    pipeline: Text,
    /// The cursor's name.
    cursor: Text,
    source: PollSource,
    line: Arc<Line>,
    clock: Clock,
    /// Of each arrival.
    headers: Map,
    /// Whether what the system said is stored, and not what is made of it.
    stores_originals: bool,
    metrics: PollMetrics,
}

/// What a round brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    pages: u64,
    items: u64,
    stored: u64,
    /// Had been seen before.
    repeats: u64,
    /// Went to dead letters.
    dead: u64,
}

#[async_trait]
impl Source for Polling {
    async fn run(&mut self, receiver: Arc<dyn Receiver>, stop: CancellationToken) -> Result<(), Fault> {
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            ended = self.run_on(&*receiver) => ended,
        }
    }
}

impl Polling {
    /// Where the last round ended.
    async fn progress(&self, receiver: &dyn Receiver) -> Result<Progress, Fault> {
        let (connection, operation) = (&self.source.connection.name, &self.source.operation);
        let stored = receiver.cursor(&self.cursor).await?;
        let read = stored.as_ref().and_then(|stored| Progress::read(stored, connection, operation));
        if stored.is_some() && read.is_none() {
            tracing::warn!(%connection, %operation, "the stored cursor is another operation's: this one begins anew");
        }
        let fresh = || Progress { connection: connection.clone(), operation: operation.clone(), ..Progress::default() };
        Ok(read.unwrap_or_else(fresh))
    }

    async fn run_on(&self, receiver: &dyn Receiver) -> Result<(), Fault> {
        let (mut progress, mut seen) = (self.progress(receiver).await?, Seen::default());
        loop {
            let began = self.clock.now();
            let tally = self.round(&mut progress, &mut seen, receiver).await?;
            seen.turn();
            self.metrics.last_round.set(self.clock.now().as_second());
            self.tell(tally, self.clock.now().duration_since(began).as_millis());
            self.clock.sleep(self.source.every.unwrap_or(self.source.poll.every)).await;
        }
    }

    /// From the first page to the last.
    async fn round(&self, progress: &mut Progress, seen: &mut Seen, receiver: &dyn Receiver) -> Result<Tally, Fault> {
        let poll = &*self.source.poll;
        let time = self.clock.now();
        let mut locals = Map::new();
        if let Some(rule) = &poll.cursor {
            if progress.begin(rule, time) {
                self.store(receiver, Vec::new(), Some(progress)).await?;
            }
            if let Some(cursor) = progress.asked(rule)? {
                locals.insert("cursor", cursor);
            }
        }
        let mut round = Round::at(self, locals, time);
        let (request, ready) = round.question().await?;
        let mut asking =
            Asking { round: &round, request, ready, paging: Paging::new(poll.next.as_ref(), poll.most_pages.max(1)) };
        let mut taking = Taking {
            round: &round,
            receiver,
            largest: Largest::new(progress.cursor.as_ref()),
            progress,
            seen,
            tally: Tally::default(),
        };
        let mut came = asking.fetch(asking.paging.first(), 0).await?;
        loop {
            came = match came.following.clone() {
                Following::Page(next) if poll.calls.is_empty() => {
                    let (ahead, taken) = join(asking.fetch(next, TIMES), taking.take(came)).await;
                    taken?;
                    ahead?
                }
                Following::Page(next) => {
                    taking.take(came).await?;
                    asking.fetch(next, TIMES).await?
                }
                Following::End | Following::Limit => {
                    taking.take(came).await?;
                    return Ok(taking.tally);
                }
            };
        }
    }

    /// Stores all, and with the last of them the cursor; tries until the receiver has room.
    async fn store(
        &self,
        receiver: &dyn Receiver,
        arrivals: Vec<Arrival>,
        progress: Option<&Progress>,
    ) -> Result<Vec<Receipt>, Fault> {
        let mut cursor = progress.map(|progress| (self.cursor.clone(), progress.to_value()));
        let mut receipts = Vec::with_capacity(arrivals.len());
        let mut left = arrivals.into_iter();
        loop {
            let some: Vec<Arrival> = left.by_ref().take(MOST).collect();
            let with = if left.len() == 0 { cursor.take() } else { None };
            if !some.is_empty() || with.is_some() {
                receipts.extend(self.hand_over(receiver, some, with).await?);
            }
            if left.len() == 0 {
                return Ok(receipts);
            }
        }
    }

    async fn hand_over(
        &self,
        receiver: &dyn Receiver,
        arrivals: Vec<Arrival>,
        cursor: Option<(Text, Value)>,
    ) -> Result<Vec<Receipt>, Fault> {
        // The bytes say what the documents say: to try again, they are enough.
        let bare = |arrival: &Arrival| Arrival {
            body: arrival.body.clone(),
            document: None,
            headers: arrival.headers.clone(),
            position: arrival.position.clone(),
            fault: arrival.fault.clone(),
        };
        let again: Vec<Arrival> = arrivals.iter().map(bare).collect();
        let (mut next, mut wait) = (arrivals, FIRST_WAIT);
        loop {
            let fault = match receiver.receive(next, cursor.clone()).await {
                Ok(receipts) => return Ok(receipts),
                Err(fault) => fault,
            };
            let after = match fault.next() {
                Next::Retry { after } => after,
                Next::Reconnect => None,
                Next::Refuse | Next::Misconfigured => return Err(fault),
            };
            self.clock.sleep(after.unwrap_or(wait)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
            next = again.clone();
        }
    }

    fn tell(&self, tally: Tally, ms: i128) {
        let Tally { pages, items, stored, repeats, dead } = tally;
        let (connection, operation) = (&self.source.connection.name, &self.source.operation);
        if stored + dead > 0 {
            tracing::info!(%connection, %operation, items, pages, stored, repeats, dead, ms, "polled");
        } else {
            tracing::debug!(%connection, %operation, items, pages, repeats, ms, "polled, nothing new");
        }
    }
}

/// What the formulas of a round see.
struct Round<'p> {
    polling: &'p Polling,
    meta: Meta,
    id: MessageId,
    time: Timestamp,
    /// `$cursor`, `$job`
    locals: Map,
    /// `$` and `$headers` before any answer.
    nothing: (Value, Map),
}

impl<'p> Round<'p> {
    fn at(polling: &'p Polling, locals: Map, time: Timestamp) -> Round<'p> {
        let id = MessageId::derive(&[polling.pipeline.as_bytes(), b"round", time.to_string().as_bytes()]);
        let meta = Meta::of(&polling.pipeline, id, time);
        Round { polling, meta, id, time, locals, nothing: (Value::Null, Map::new()) }
    }

    fn view<'v>(&'v self, locals: &'v Map) -> View<'v> {
        View {
            connection: &self.polling.line.settings,
            operation: &self.polling.source.operation,
            document: &self.nothing.0,
            headers: &self.nothing.1,
            item: None,
            locals,
            meta: &self.meta,
            id: self.id,
            time: self.time,
        }
    }

    /// What is asked page by page, once a job is done where there is one; with the first page where that has come already.
    async fn question(&mut self) -> Result<(&'p Request, Option<Reply>), Fault> {
        let polling: &'p Polling = self.polling;
        let poll = &*polling.source.poll;
        match (&poll.request, &poll.job) {
            (Some(request), _) => Ok((request, None)),
            (None, Some(job)) => {
                let done = job.run(&polling.line, &self.view(&self.locals), &polling.clock).await?;
                self.locals.insert("job", done.job);
                Ok((job.fetch(), done.reply))
            }
            (None, None) => Err(Fault::misconfigured(
                "CONNECTOR-REQUEST",
                format!("`{}` says neither `request` nor `job`", polling.source.operation),
            )),
        }
    }
}

/// A page that came.
struct Came {
    reply: Reply,
    items: Vec<Value>,
    following: Following,
}

/// The asking side of a round.
struct Asking<'r, 'p> {
    round: &'r Round<'p>,
    request: &'p Request,
    /// The first page, where it has come already.
    ready: Option<Reply>,
    paging: Paging,
}

impl Asking<'_, '_> {
    async fn fetch(&mut self, page: Page, times: u32) -> Result<Came, Fault> {
        let polling = self.round.polling;
        let poll = &*polling.source.poll;
        let mut locals = self.round.locals.clone();
        locals.insert("page", page.local());
        let view = self.round.view(&locals);
        let extra = Extra { address: page.address.clone(), ..Extra::default() };
        let mut waits = Waits::new(&polling.clock, times);
        let mut reply = loop {
            if let Some(ready) = self.ready.take() {
                break ready;
            }
            match polling.line.ask(self.request, &view, &extra).await {
                Ok(reply) => break reply,
                Err(fault) => waits.after(fault).await?,
            }
        };
        if reply.missing {
            return Ok(Came { reply, items: Vec::new(), following: Following::End });
        }
        let items = match &poll.items {
            Some(items) => view.of_answer(&reply.body, &reply.headers).render(items, "items").map_err(no_items)?,
            None if poll.next.is_none() => Some(std::mem::take(&mut reply.body)),
            None => Some(reply.body.clone()),
        };
        let items = list(items)?;
        let following = self.paging.follow(&page, &view.of_answer(&reply.body, &reply.headers), &items)?;
        Ok(Came { reply, items, following })
    }
}

/// What the answer holds is not there where it should be: another answer than the manifest knows.
fn no_items(fault: Fault) -> Fault {
    match fault.next() {
        Next::Refuse => {
            let said = format!("no list of items in the answer: {}", fault.sentence());
            Fault::retry("CONNECTOR-ITEMS", said).at("items")
        }
        _ => fault,
    }
}

/// The items of an answer. One that stands alone is a list of one: so is a list of one in XML.
fn list(items: Option<Value>) -> Result<Vec<Value>, Fault> {
    match items {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::List(items)) => Ok(items),
        Some(item @ Value::Map(_)) => Ok(vec![item]),
        Some(other) => {
            let said = format!("no list of items in the answer: there is {}", other.kind());
            Err(Fault::retry("CONNECTOR-ITEMS", said).at("items"))
        }
    }
}

/// The storing side of a round.
struct Taking<'r, 'p> {
    round: &'r Round<'p>,
    receiver: &'r dyn Receiver,
    progress: &'r mut Progress,
    seen: &'r mut Seen,
    largest: Largest,
    tally: Tally,
}

impl Taking<'_, '_> {
    /// Makes messages of a page's items and stores them, with the cursor where it may move.
    async fn take(&mut self, came: Came) -> Result<(), Fault> {
        let Came { reply, items, following } = came;
        let (polling, round) = (self.round.polling, self.round);
        let view = round.view(&round.locals);
        let view = view.of_answer(&reply.body, &reply.headers);
        let faulty = self.see(&view, &items)?;
        let poll = &*polling.source.poll;
        let arrivals = if poll.calls.is_empty() {
            let made = items.into_iter().enumerate().map(|(index, item)| {
                let fault = faulty.get(&index).cloned();
                polling.arrival(&view, item, index, fault)
            });
            made.filter_map(Result::transpose).collect::<Result<Vec<Arrival>, Fault>>()?
        } else {
            polling.called(&view, items, &faulty).await?
        };
        self.tally.pages += 1;
        polling.metrics.pages.inc();
        let ordered = poll.cursor.as_ref().is_some_and(|rule| rule.ordered) && !self.largest.disordered;
        let moves = following == Following::End || ordered;
        let moved = self.largest.value().filter(|value| moves && self.progress.cursor.as_ref() != Some(value));
        let moved = moved.map(|value| Progress { cursor: Some(value.clone()), start: None, ..self.progress.clone() });
        let made = arrivals.len();
        let (arrivals, prints) = self.seen.sift(arrivals);
        self.known(made - arrivals.len());
        let receipts = polling.store(self.receiver, arrivals, moved.as_ref()).await?;
        self.seen.stored(prints);
        if let Some(moved) = moved {
            *self.progress = moved;
        }
        self.count(&receipts);
        if following == Following::Limit && !ordered {
            let said = format!(
                "there are more pages than a round asks for ({}), and without an order the cursor cannot move: raise \
                 `most_pages`, or ask for items in order and say `ordered: true`",
                poll.most_pages,
            );
            return Err(Fault::misconfigured("CONNECTOR-PAGES", said));
        }
        Ok(())
    }

    /// Looks at the cursor value of each item; gives the faults of those that have none.
    fn see(&mut self, view: &View<'_>, items: &[Value]) -> Result<BTreeMap<usize, Fault>, Fault> {
        let mut faulty = BTreeMap::new();
        self.tally.items += items.len() as u64;
        let Some(rule) = &self.round.polling.source.poll.cursor else { return Ok(faulty) };
        let was_ordered = !self.largest.disordered;
        for (index, item) in items.iter().enumerate() {
            let value = view.of_item(item, index).render(&rule.value, "cursor.value");
            let seen = value.and_then(|value| value.map_or(Ok(()), |value| self.largest.see(value)));
            match seen {
                Ok(()) => {}
                Err(fault) if fault.next() == Next::Refuse => drop(faulty.insert(index, fault)),
                Err(fault) => return Err(fault.at(format!("items[{index}]"))),
            }
        }
        if rule.ordered && was_ordered && self.largest.disordered {
            tracing::warn!("items do not come in order: in this round the cursor moves with the last page only");
        }
        Ok(faulty)
    }

    /// So many were handed over by the last round.
    fn known(&mut self, count: usize) {
        self.tally.repeats += count as u64;
        self.round.polling.metrics.repeats.inc_by(count as u64);
    }

    fn count(&mut self, receipts: &[Receipt]) {
        for receipt in receipts {
            let metrics = &self.round.polling.metrics;
            let (count, counter) = match receipt.outcome {
                ReceiptOutcome::Stored => (&mut self.tally.stored, &metrics.stored),
                ReceiptOutcome::Repeat => (&mut self.tally.repeats, &metrics.repeats),
                ReceiptOutcome::Conflict | ReceiptOutcome::Dead => (&mut self.tally.dead, &metrics.dead),
            };
            *count += 1;
            counter.inc();
        }
    }
}
