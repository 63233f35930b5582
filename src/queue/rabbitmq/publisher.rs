//! Publishing with confirms, many at a time: one task owns one channel, and every letter is answered.
//!
//! Which letter a return belongs to is found by its content. lapin hands a returned message to whichever confirm it completes
//! next, and completes those of one `multiple` acknowledgement in no order. Two facts make a sure verdict possible:
//! - a confirm completed while a return waits inside lapin carries one: so one that carries none is its letter's own verdict,
//!   as soon as all returns carried by confirms that were completed before it have been seen;
//! - confirms wake the window in the order they were completed: once everything awake has been looked at, those were seen.
//!
//! A confirm that carries somebody else's return stays doubtful until the window is empty, when no return can be left.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::fast::FixedState;
use futures_util::stream::{FuturesUnordered, Stream};
use futures_util::task::AtomicWaker;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, ErrorKind};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::faults::{fault_of, gone, too_large};
use super::link::Link;
use crate::message::Fault;
use crate::telemetry::BrokerMetrics;

/// Most bytes published and not confirmed, over all letters: lapin copies them into its frames. One larger letter goes alone.
const UNCONFIRMED_BYTES: usize = 8 << 20;

/// Calls waiting behind the one that is being sent.
const CALLS: usize = 256;

/// How long a call waits for a broker that takes nothing, before it is told to come back.
const BLOCKED_WITHIN: Duration = Duration::from_secs(10);

/// How long the broker has to open a channel for confirms.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// One message for the broker. Always mandatory: what nobody would get comes back.
#[derive(Clone, Debug)]
pub struct Letter {
    pub exchange: ShortString,
    pub routing_key: ShortString,
    pub properties: BasicProperties,
    pub body: Bytes,
}

/// Publishes over one link, which should carry nothing else.
pub struct Publisher {
    calls: mpsc::Sender<Call>,
}

struct Call {
    letters: Vec<Letter>,
    reply: oneshot::Sender<Vec<Result<(), Fault>>>,
}

impl Publisher {
    /// `confirm_within`: how long the broker has for a confirm before the channel is given up. `unconfirmed`: most letters
    /// published and not confirmed. Within a tokio runtime.
    pub fn new(link: Arc<Link>, confirm_within: Duration, unconfirmed: usize) -> Publisher {
        Publisher::measured(link, confirm_within, unconfirmed, BrokerMetrics::default())
    }

    pub(super) fn measured(
        link: Arc<Link>,
        confirm_within: Duration,
        unconfirmed: usize,
        metrics: BrokerMetrics,
    ) -> Publisher {
        let (calls, queue) = mpsc::channel(CALLS);
        tokio::spawn(Press::new(link, confirm_within, unconfirmed, metrics).run(queue));
        Publisher { calls }
    }

    /// Publishes all in order and answers each in its place. May be called from several tasks at once.
    ///
    /// # Errors
    /// Of one: `misconfigured` where no queue gets it or we may not, `refuse` where it is too large, `retry` where the broker
    /// refused it or takes nothing now, `reconnect` where it was not confirmed; with the last two it may be there all the same.
    pub async fn publish(&self, letters: Vec<Letter>) -> Vec<Result<(), Fault>> {
        let count = letters.len();
        let lost = |_| vec![Err(gone("the hub is stopping")); count];
        let (reply, answer) = oneshot::channel();
        match self.calls.send(Call { letters, reply }).await {
            Ok(()) => answer.await.unwrap_or_else(|_| lost(())),
            Err(_) => lost(()),
        }
    }
}

/// The task behind a publisher.
struct Press {
    link: Arc<Link>,
    confirm_within: Duration,
    unconfirmed: usize,
    metrics: BrokerMetrics,
    channel: Option<Arc<Channel>>,
    /// The broker refused a message on this channel. It may do so for as long as the channel lives: RabbitMQ's channel remembers
    /// where the leader of a quorum queue was when it first published there.
    refused: bool,
    window: Window,
    bytes: usize,
    /// Calls with a letter that has no answer yet.
    open: HashMap<u64, Open, FixedState>,
    /// The call that is being sent, and how far it is.
    sending: Option<Sending>,
    next_call: u64,
    /// Returns seen and not matched yet, by what identifies their letter.
    returned: HashMap<u64, Vec<String>, FixedState>,
    doubtful: Vec<Settled>,
    /// The largest body the broker takes, once it said so.
    largest: usize,
}

struct Sending {
    call: u64,
    /// Place of the next letter in the call.
    at: usize,
    letters: std::vec::IntoIter<Letter>,
}

struct Open {
    answers: Vec<Option<Result<(), Fault>>>,
    left: usize,
    about: Vec<About>,
    reply: oneshot::Sender<Vec<Result<(), Fault>>>,
    /// When the last of its letters went out, or the call came in.
    last: Instant,
}

/// Enough of a letter to tell whether it is the one that the broker closed the channel for.
#[derive(Clone, Copy)]
struct About {
    exchange: u64,
    size: usize,
}

struct Settled {
    call: u64,
    at: usize,
    identity: u64,
    size: usize,
    result: lapin::Result<Confirmation>,
}

type Sent = Pin<Box<dyn Future<Output = Settled> + Send>>;

impl Press {
    fn new(link: Arc<Link>, confirm_within: Duration, unconfirmed: usize, metrics: BrokerMetrics) -> Press {
        Press {
            link,
            confirm_within,
            unconfirmed: unconfirmed.max(1),
            metrics,
            channel: None,
            refused: false,
            window: Window::default(),
            bytes: 0,
            open: HashMap::default(),
            sending: None,
            next_call: 0,
            returned: HashMap::default(),
            doubtful: Vec::new(),
            largest: usize::MAX,
        }
    }

    async fn run(mut self, mut calls: mpsc::Receiver<Call>) {
        let mut tick = interval((self.confirm_within / 8).clamp(Duration::from_millis(5), Duration::from_secs(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut blocked_since: Option<Instant> = None;
        let link = self.link.clone();
        loop {
            if self.sending.is_some() && self.window.is_empty() {
                self.make_ready(&mut calls).await;
            }
            self.send();
            let waits = self.sending.is_some() && link.blocked();
            tokio::select! {
                biased;
                settled = self.window.settled(), if !self.window.is_empty() => self.settle(settled),
                call = calls.recv(), if self.sending.is_none() => match call {
                    Some(call) => self.begin(call),
                    None if self.open.is_empty() => return,
                    // The last letters are still on their way.
                    None => self.rest().await,
                },
                _ = link.unblocked(BLOCKED_WITHIN), if waits => {}
                _ = tick.tick(), if !self.open.is_empty() => {
                    let now = Instant::now();
                    if self.link.blocked() {
                        let since = *blocked_since.get_or_insert(now);
                        if now.duration_since(since) >= BLOCKED_WITHIN {
                            self.answer_blocked(&mut calls);
                        }
                    } else if blocked_since.take().is_some() {
                        self.open.values_mut().for_each(|open| open.last = now);
                    }
                    self.check_overdue(now);
                }
            }
        }
    }

    /// After the last call: waits for the confirms that are missing.
    async fn rest(&mut self) {
        while !self.window.is_empty() {
            match timeout(self.confirm_within, self.window.settled()).await {
                Ok(settled) => self.settle(settled),
                Err(_) => self.give_up(None),
            }
        }
        self.open.clear();
    }

    fn begin(&mut self, call: Call) {
        let count = call.letters.len();
        if count == 0 {
            let _ = call.reply.send(Vec::new());
            return;
        }
        let about = call
            .letters
            .iter()
            .map(|letter| About { exchange: hash(letter.exchange.as_str()), size: letter.body.len() });
        let open = Open {
            answers: vec![None; count],
            left: count,
            about: about.collect(),
            reply: call.reply,
            last: Instant::now(),
        };
        self.next_call += 1;
        self.open.insert(self.next_call, open);
        self.sending = Some(Sending { call: self.next_call, at: 0, letters: call.letters.into_iter() });
    }

    /// A channel for confirms, or an answer to the call that wants one.
    async fn make_ready(&mut self, calls: &mut mpsc::Receiver<Call>) {
        if !self.refused && self.channel.as_ref().is_some_and(|channel| channel.status().connected()) {
            return;
        }
        (self.channel, self.refused) = (None, false);
        let opened = async {
            let channel = self.link.channel().await?;
            match timeout(ANSWER_WITHIN, channel.confirm_select(ConfirmSelectOptions::default())).await {
                Ok(Ok(())) => Ok(channel),
                Ok(Err(error)) => Err(fault_of(&error)),
                Err(_) => Err(gone("the broker did not answer in time")),
            }
        };
        match opened.await {
            Ok(channel) => self.channel = Some(Arc::new(channel)),
            Err(fault) => {
                // Who came meanwhile waited for the same attempt.
                while let Ok(call) = calls.try_recv() {
                    let _ = call.reply.send(vec![Err(fault.clone()); call.letters.len()]);
                }
                self.answer_all(|_| fault.clone());
            }
        }
    }

    /// Hands as many letters to the channel as the window has room for.
    fn send(&mut self) {
        let Some(channel) = self.channel.clone() else { return };
        if !self.doubtful.is_empty() || self.refused || self.link.blocked() {
            return;
        }
        while let Some(sending) = &mut self.sending {
            let next = sending.letters.as_slice().first().map_or(0, |letter| letter.body.len());
            let fits = self.window.is_empty() || self.bytes + next <= UNCONFIRMED_BYTES;
            if self.window.len() >= self.unconfirmed || !fits {
                break;
            }
            let (call, at) = (sending.call, sending.at);
            let Some(letter) = sending.letters.next() else {
                self.sending = None;
                break;
            };
            sending.at += 1;
            if letter.body.len() > self.largest {
                self.answer(call, at, Err(too_large()));
                continue;
            }
            let identity = identity_of(&letter.exchange, &letter.routing_key, &letter.properties);
            let size = letter.body.len();
            self.bytes += size;
            if let Some(open) = self.open.get_mut(&call) {
                open.last = Instant::now();
            }
            let channel = channel.clone();
            self.window.push(Box::pin(async move {
                let Letter { exchange, routing_key, properties, body } = letter;
                let options = BasicPublishOptions { mandatory: true, immediate: false };
                let sent = channel.basic_publish(exchange, routing_key, options, &body, properties).await;
                drop(body);
                let result = match sent {
                    Ok(confirm) => confirm.await,
                    Err(error) => Err(error),
                };
                Settled { call, at, identity, size, result }
            }));
        }
        self.metrics.unconfirmed.set(i64::try_from(self.window.len()).unwrap_or(i64::MAX));
    }

    fn settle(&mut self, settled: Vec<Settled>) {
        for one in &settled {
            self.bytes -= one.size;
            if let Ok(Confirmation::Ack(Some(back)) | Confirmation::Nack(Some(back))) = &one.result {
                self.metrics.returned.inc();
                let identity = identity_of(&back.exchange, &back.routing_key, &back.properties);
                let said = format!("{} {}", back.reply_code, back.reply_text);
                self.returned.entry(identity).or_default().push(said);
            }
        }
        let mut lost = None;
        for one in settled {
            match &one.result {
                Err(error) => lost = lost.or_else(|| Some(error.clone())),
                Ok(_) => self.judge(one),
            }
        }
        if lost.is_some() {
            self.give_up(lost.as_ref());
        } else if self.window.is_empty() {
            for mut one in std::mem::take(&mut self.doubtful) {
                one.result = Ok(Confirmation::Ack(None));
                self.judge(one);
            }
            self.returned.clear();
        }
        self.metrics.unconfirmed.set(i64::try_from(self.window.len()).unwrap_or(i64::MAX));
    }

    fn judge(&mut self, one: Settled) {
        let said = match self.returned.get_mut(&one.identity).and_then(Vec::pop) {
            Some(said) => Err(Fault::misconfigured("AMQP-UNROUTED", "no queue takes the message").detail(said)),
            None => match &one.result {
                Ok(Confirmation::Ack(None)) => Ok(()),
                Ok(Confirmation::Ack(Some(_))) => return self.doubtful.push(one),
                Ok(Confirmation::Nack(_)) => {
                    self.refused = true;
                    Err(Fault::retry("AMQP-NACK", "the broker refused the message"))
                }
                Ok(Confirmation::NotRequested) | Err(_) => Err(unconfirmed()),
            },
        };
        self.answer(one.call, one.at, said);
    }

    fn answer(&mut self, call: u64, at: usize, said: Result<(), Fault>) {
        let Some(open) = self.open.get_mut(&call) else { return };
        if open.answers[at].replace(said).is_none() {
            open.left -= 1;
        }
        if open.left == 0 {
            let open = self.open.remove(&call).expect("just found");
            let _ = open.reply.send(open.answers.into_iter().flatten().collect());
        }
    }

    fn check_overdue(&mut self, now: Instant) {
        let overdue = |open: &Open| now.duration_since(open.last) >= self.confirm_within;
        if !self.window.is_empty() && !self.link.blocked() && self.open.values().any(overdue) {
            self.give_up(None);
        }
    }

    /// The channel is lost, for `error` or for its silence: what has no confirm is answered, and the next call gets a new channel.
    fn give_up(&mut self, error: Option<&lapin::Error>) {
        let said = match error.map(lapin::Error::kind) {
            Some(ErrorKind::ProtocolError(said)) => Some((said.get_id(), said.get_message().to_string())),
            _ => None,
        };
        let (code, text) = said.as_ref().map_or((0, ""), |(code, text)| (*code, text.as_str()));
        let named = text.split_once("exchange '").and_then(|(_, rest)| rest.split_once('\''));
        let named = named.filter(|_| matches!(code, 403 | 404)).map(|(name, _)| hash(name));
        let sizes: Vec<usize> = if text.contains("message size") { numbers(text) } else { Vec::new() };
        if let [_, .., most] = sizes[..] {
            self.largest = self.largest.min(most);
        }
        let fault = error.map(fault_of);
        self.answer_all(|about| match &fault {
            Some(fault) if named == Some(about.exchange) => fault.clone(),
            Some(fault) if sizes.first() == Some(&about.size) => fault.clone(),
            Some(fault) if matches!(error.map(lapin::Error::kind), Some(ErrorKind::SerialisationError(_))) => {
                fault.clone()
            }
            _ => unconfirmed(),
        });
    }

    /// Answers every letter that has no answer, and starts afresh.
    fn answer_all(&mut self, fault: impl Fn(&About) -> Fault) {
        for (_, open) in std::mem::take(&mut self.open) {
            let answers = open.answers.into_iter().zip(&open.about);
            let _ = open.reply.send(answers.map(|(said, about)| said.unwrap_or_else(|| Err(fault(about)))).collect());
        }
        self.sending = None;
        self.window = Window::default();
        self.bytes = 0;
        self.returned.clear();
        self.doubtful.clear();
        self.channel = None;
        self.metrics.unconfirmed.set(0);
    }

    /// Answers the calls that wait for a broker which takes nothing. What is in the window stays: it goes out before anything
    /// later does.
    fn answer_blocked(&mut self, calls: &mut mpsc::Receiver<Call>) {
        let fault = Fault::retry("AMQP-BLOCKED", "the broker takes no messages now: it is short of memory or disk");
        for (_, open) in std::mem::take(&mut self.open) {
            let answers = open.answers.into_iter().map(|said| said.unwrap_or_else(|| Err(fault.clone())));
            let _ = open.reply.send(answers.collect());
        }
        self.sending = None;
        while let Ok(call) = calls.try_recv() {
            let _ = call.reply.send(vec![Err(fault.clone()); call.letters.len()]);
        }
    }
}

fn unconfirmed() -> Fault {
    Fault::reconnect("AMQP-UNCONFIRMED", "the broker did not confirm the message")
}

/// What tells a returned letter: letters alike in all this are returned together.
fn identity_of(exchange: &ShortString, routing_key: &ShortString, properties: &BasicProperties) -> u64 {
    let id = properties.message_id().as_ref().map(ShortString::as_str);
    hash((exchange.as_str(), routing_key.as_str(), id))
}

fn hash(what: impl Hash) -> u64 {
    FixedState::default().hash_one(what)
}

fn numbers(text: &str) -> Vec<usize> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Letters published and not confirmed.
struct Window {
    sent: FuturesUnordered<Sent>,
    gate: Arc<Gate>,
    waker: Waker,
}

/// Knows whether the window was woken since it was last looked through: it also says that it has nothing when it only wanted
/// to let others run.
#[derive(Default)]
struct Gate {
    woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Gate {
    fn wake(self: Arc<Gate>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Gate>) {
        self.woken.store(true, Ordering::SeqCst);
        self.task.wake();
    }
}

impl Default for Window {
    fn default() -> Window {
        let gate = Arc::new(Gate::default());
        Window { sent: FuturesUnordered::new(), waker: gate.clone().into(), gate }
    }
}

impl Window {
    fn push(&mut self, sent: Sent) {
        self.sent.push(sent);
        self.gate.woken.store(true, Ordering::SeqCst);
    }

    fn len(&self) -> usize {
        self.sent.len()
    }

    fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Everything that is settled, at least one, after having looked at all that woke the window.
    async fn settled(&mut self) -> Vec<Settled> {
        std::future::poll_fn(|context| self.poll_settled(context)).await
    }

    fn poll_settled(&mut self, context: &mut Context<'_>) -> Poll<Vec<Settled>> {
        self.gate.task.register(context.waker());
        let mut settled = Vec::new();
        let mut inner = Context::from_waker(&self.waker);
        while self.gate.woken.swap(false, Ordering::SeqCst) {
            while let Poll::Ready(Some(one)) = Pin::new(&mut self.sent).poll_next(&mut inner) {
                settled.push(one);
            }
        }
        if settled.is_empty() { Poll::Pending } else { Poll::Ready(settled) }
    }
}
