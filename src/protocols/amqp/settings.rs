//! What a pipeline says about RabbitMQ, in and out.

use std::collections::BTreeMap;
use std::time::Duration;

use super::properties::{self, MOST_SHORT};
use crate::config::{MapReader, Node, Reader, Secret, Span, TlsSettings, choice, settings, tls};
use crate::formula::Template;
use crate::message::{Map, Text};

settings! {
    /// Messages of a RabbitMQ queue.
    ///
    /// The broker gives again what was not acknowledged. What cannot be decoded never goes back to the queue, where it would
    /// come again at once and for ever. Where `dedupe: none` and `order_by: none` are stated, the steps look nothing up and
    /// remember nothing, and the only destination is `amqp` too, messages go straight from queue to exchange.
    ///
    /// ```yaml
    /// from:
    ///   protocol: amqp
    ///   broker: { addresses: [rabbit.example], vhost: shop, user: raccord, password: "${RABBIT_PASSWORD}" }
    ///   queue: orders.paid
    ///   format: json
    /// ```
    pub struct AmqpSource {
        /// Where the broker is, and who connects.
        broker: BrokerSettings,
        /// The queue. It must exist, unless `declare` makes it. A message is acknowledged once the hub has it, also as a dead
        /// letter where it cannot be decoded; while the hub has no room, messages stay in the queue.
        ///
        /// `$headers` holds a message's headers, names lower case and `-` as `_`, values with their types (a time is a text
        /// such as `2026-11-02T09:00:00Z`, bytes are base64); `$headers.amqp` the properties that are set (`message_id`,
        /// `correlation_id`, `reply_to`, `content_type`, `content_encoding`, `timestamp`, `type`, `app_id`, `user_id`,
        /// `priority`, `expiration` in milliseconds, `persistent`), and `exchange`, `routing_key`, `redelivered`.
        queue: Text,
        /// Makes the queue and its bindings at each connection, where they are not there. Left out: an administrator does.
        declare: Option<QueueDeclaration>,
        /// What identifies a message, so that one that comes again is known as a repeat: `message_id` (the property), the
        /// name of a header, or `none`. A message that lacks it is taken for a new one each time.
        id: Text = "message_id",
        /// Most messages taken from the queue and not acknowledged yet. Left out: from 32 to 512, such that they take about
        /// 8 MB. `1` for one at a time.
        prefetch: Option<u32>,
    }
}

settings! {
    /// Messages to a RabbitMQ exchange, each confirmed by the broker.
    ///
    /// Messages that the broker refuses as too large go to dead letters. What it does not confirm in time is published
    /// again, with the same `message_id`.
    ///
    /// ```yaml
    /// to:
    ///   erp:
    ///     protocol: amqp
    ///     broker: { addresses: [rabbit.example], vhost: erp, user: raccord, password: "${RABBIT_PASSWORD}" }
    ///     exchange: orders
    ///     routing_key: "=concat('order.', $.channel)"
    ///     headers: { store: $.store }
    ///     properties: { correlation_id: $.number, priority: 5 }
    ///     format: json
    /// ```
    pub struct AmqpTarget {
        /// Where the broker is, and who connects.
        broker: BrokerSettings,
        /// The exchange. Left out: the broker's default exchange, where `routing_key` is the name of a queue.
        exchange: Text = "",
        /// The routing key: a constant, a path or a formula. A message that no queue gets (no binding for its key) is not
        /// lost: the destination rests until a person adds the binding or corrects the key, as it does for an exchange that
        /// is missing or may not be written to.
        routing_key: Template,
        /// Makes the exchange at each connection, where it is not there. Left out: an administrator does.
        declare: Option<ExchangeDeclaration>,
        /// Headers to send, each a constant, a path or a formula. A whole number is sent as a 64-bit integer, another number
        /// as a double where that keeps its digits (else as text), lists and maps as such. `{ "@timestamp": ... }` (a time or
        /// seconds), `{ "@bytes": ... }` (base64) and `{ "@decimal": ... }` send what AMQP has and JSON has not.
        headers: Option<BTreeMap<Text, Template>>,
        /// The message's properties.
        properties: Option<PropertiesTemplate>,
        /// Whether messages survive a restart of the broker, in queues that do.
        persistent: bool = "true",
        /// How long the broker may take to confirm, before the message is published again on a new channel.
        confirm_within: Duration = "30s",
    }
}

settings! {
    /// A broker.
    pub struct BrokerSettings {
        /// The brokers of the cluster, each `host` or `host:port` (5672, with `tls` 5671); tried in turn.
        addresses: Vec<Text>,
        /// The virtual host.
        vhost: Text = "/",
        /// Who connects. With a client certificate and the broker's plugin for it, leave out user and password.
        user: Option<Text>,
        password: Option<Secret>,
        /// An encrypted connection.
        tls: Option<TlsSettings>,
        /// A connection that is silent for twice as long is taken for dead.
        heartbeat: Duration = "10s",
    }
}

settings! {
    /// A queue to make where it is not there. One of that name that is otherwise is left as it is, and the source tells the
    /// difference.
    pub struct QueueDeclaration {
        /// The kind of queue.
        r#type: QueueType = "quorum",
        /// Whether it survives a restart of the broker.
        durable: bool = "true",
        /// Further arguments, such as `x-max-length: 100000`. Numbers, `true` and `false` are sent as such, words as text.
        arguments: Option<BTreeMap<Text, Template>>,
        /// Which messages come to it.
        bind: Vec<Binding>,
    }
}

settings! {
    /// Messages of an exchange that come to the queue.
    pub struct Binding {
        /// The exchange, which must exist.
        exchange: Text,
        /// The key, or the pattern of a `topic` exchange: `order.*`.
        routing_key: Text = "",
        /// What a `headers` exchange compares.
        arguments: Option<BTreeMap<Text, Template>>,
    }
}

settings! {
    /// An exchange to make where it is not there.
    pub struct ExchangeDeclaration {
        /// How it routes.
        r#type: ExchangeType = "topic",
        /// Whether it survives a restart of the broker.
        durable: bool = "true",
        /// Further arguments, such as `alternate-exchange: unrouted`.
        arguments: Option<BTreeMap<Text, Template>>,
    }
}

settings! {
    /// Properties of a message, each a constant, a path or a formula. What comes out as nothing is not sent. The content
    /// type is that of the format.
    pub struct PropertiesTemplate {
        /// Left out: the delivery's id, which is the same for each repeat.
        message_id: Option<Template>,
        correlation_id: Option<Template>,
        /// The queue for an answer.
        reply_to: Option<Template>,
        /// The kind of message, such as `order.created`.
        r#type: Option<Template>,
        app_id: Option<Template>,
        /// The user who connects, where receivers are to be sure of it: the broker refuses another.
        user_id: Option<Template>,
        content_encoding: Option<Template>,
        /// 0 to 255.
        priority: Option<Template>,
        /// Milliseconds after which the broker lets the message go.
        expiration: Option<Template>,
        /// A time (`2026-11-02T09:00:00Z`) or seconds since 1970. Left out: the message's time.
        timestamp: Option<Template>,
    }
}

choice! {
    /// A kind of queue.
    pub enum QueueType {
        /// Replicated over the brokers of a cluster: what messages that must not be lost need.
        Quorum = "quorum",
        /// On one broker.
        Classic = "classic",
    }
}

choice! {
    /// How an exchange routes.
    pub enum ExchangeType {
        /// To queues bound with the very routing key.
        Direct = "direct",
        /// To queues whose binding's pattern fits the routing key.
        Topic = "topic",
        /// To all queues bound to it.
        Fanout = "fanout",
        /// To queues whose binding's arguments fit the headers.
        Headers = "headers",
    }
}

impl QueueType {
    pub(super) fn word(self) -> &'static str {
        match self {
            QueueType::Quorum => "quorum",
            QueueType::Classic => "classic",
        }
    }
}

impl PropertiesTemplate {
    /// Those that are set, by name.
    pub(super) fn set(&self) -> impl Iterator<Item = (&'static str, &Template)> {
        [
            ("message_id", &self.message_id),
            ("correlation_id", &self.correlation_id),
            ("reply_to", &self.reply_to),
            ("type", &self.r#type),
            ("app_id", &self.app_id),
            ("user_id", &self.user_id),
            ("content_encoding", &self.content_encoding),
            ("priority", &self.priority),
            ("expiration", &self.expiration),
            ("timestamp", &self.timestamp),
        ]
        .into_iter()
        .filter_map(|(name, template)| Some((name, template.as_ref()?)))
    }
}

impl AmqpSource {
    /// Reports what is wrong with fields taken together; false where something is.
    pub(super) fn check(&self, map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> bool {
        let mut checked = Checked { reader, well: true };
        checked.broker(map.node("broker"), map.span, &self.broker);
        let mut at = |name: &'static str| map.node(name).map_or(map.span, |node| node.span);
        checked.name(at("queue"), "queue", &self.queue);
        if self.queue.is_empty() {
            checked.error(at("queue"), "a queue has a name");
        }
        if self.id.is_empty() {
            checked.error(at("id"), "`id` is `message_id`, the name of a header, or `none`");
        }
        if self.prefetch.is_some_and(|most| most == 0 || most > u32::from(u16::MAX)) {
            checked.error(at("prefetch"), "`prefetch` is from 1 to 65535");
        }
        if let Some(declare) = &self.declare {
            let span = at("declare");
            if declare.r#type == QueueType::Quorum && !declare.durable {
                checked.error(span, "a quorum queue is always durable: leave `durable` out, or write `type: classic`");
            }
            checked.arguments(span, declare.arguments.as_ref());
            for binding in &declare.bind {
                checked.name(span, "exchange", &binding.exchange);
                checked.name(span, "routing key", &binding.routing_key);
                checked.arguments(span, binding.arguments.as_ref());
                if binding.exchange.is_empty() {
                    checked.error(span, "the default exchange needs no binding: every queue is bound to it");
                }
            }
        }
        checked.well
    }
}

impl AmqpTarget {
    /// Reports what is wrong with fields taken together; false where something is.
    pub(super) fn check(&self, map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> bool {
        let mut checked = Checked { reader, well: true };
        checked.broker(map.node("broker"), map.span, &self.broker);
        let mut at = |name: &'static str| map.node(name).map_or(map.span, |node| node.span);
        checked.name(at("exchange"), "exchange", &self.exchange);
        if let Some(declare) = &self.declare {
            checked.arguments(at("declare"), declare.arguments.as_ref());
            if self.exchange.is_empty() {
                checked.error(at("declare"), "the default exchange is always there: name one, or leave `declare` out");
            }
        }
        for name in self.headers.iter().flat_map(BTreeMap::keys) {
            checked.name(at("headers"), "header", name);
        }
        checked.well
    }
}

struct Checked<'r, 'a> {
    reader: &'r mut Reader<'a>,
    well: bool,
}

impl Checked<'_, '_> {
    fn error(&mut self, span: Span, said: impl Into<String>) {
        self.reader.error(span, said);
        self.well = false;
    }

    fn broker(&mut self, node: Option<&Node>, around: Span, broker: &BrokerSettings) {
        let span = node.map_or(around, |node| node.span);
        if broker.addresses.is_empty() {
            self.error(span, "`addresses` names no broker");
        }
        if broker.user.is_some() != broker.password.is_some() {
            self.error(span, "`user` and `password` go together");
        }
        let before = self.reader.problems.len();
        tls::check(node.and_then(|node| node.field("tls")), broker.tls.as_ref(), self.reader);
        self.well &= self.reader.problems.len() == before;
    }

    fn name(&mut self, span: Span, what: &str, name: &str) {
        if name.len() > MOST_SHORT {
            self.error(span, format!("the {what} is longer than {MOST_SHORT} bytes"));
        }
    }

    fn arguments(&mut self, span: Span, arguments: Option<&BTreeMap<Text, Template>>) {
        for (name, template) in arguments.into_iter().flatten() {
            match template.as_constant() {
                None => {
                    self.error(span, format!("argument `{name}` is the same for all messages: no path, no formula"))
                }
                Some(value) => {
                    let map = Map::from_iter([(name.clone(), value.clone())]);
                    if let Err(fault) = properties::table(&map) {
                        self.error(span, fault.sentence());
                    }
                }
            }
        }
    }
}

/// Constant arguments as a map.
pub(super) fn arguments(templates: Option<&BTreeMap<Text, Template>>) -> Map {
    let constant = |(name, template): (&Text, &Template)| Some((name.clone(), template.as_constant()?.clone()));
    templates.into_iter().flatten().filter_map(constant).collect()
}
