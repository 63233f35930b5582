//! Messages to an exchange: a run at a time, each confirmed.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::BasicProperties;
use lapin::types::ShortString;

use super::properties::{short, table, with};
use super::publisher::{Letter, Publisher};
use super::settings::AmqpTarget;
use crate::codecs::Codec;
use crate::formula::Scope;
use crate::message::{Fault, Map, Text, Value};
use crate::protocols::{Delivery, Prepared, Surroundings, Target, TargetSettings};
use crate::queue::rabbitmq::Link;

/// Messages published and confirmed together.
const BATCH: usize = 256;
/// Under these names the address holds what the settings' formulas came to.
const ROUTING_KEY: &str = "routing_key";
const HEADERS: &str = "headers";
const PROPERTIES: &str = "properties";

impl TargetSettings for AmqpTarget {
    fn open(&self, name: &str, codec: Arc<dyn Codec>, surroundings: &Surroundings) -> Result<Arc<dyn Target>, Fault> {
        let link = Link::open(self.broker.link(name, surroundings))?;
        let exchange = short("the exchange's name", &self.exchange)?;
        let declare = self.declare.clone().map(|declare| (self.exchange.clone(), declare));
        let publisher = Publisher::new(link, self.confirm_within, declare);
        Ok(Arc::new(Sender { settings: self.clone(), exchange, codec, publisher }))
    }
}

struct Sender {
    settings: AmqpTarget,
    exchange: ShortString,
    codec: Arc<dyn Codec>,
    publisher: Publisher,
}

#[async_trait]
impl Target for Sender {
    /// `address` holds `routing_key`, and `headers` and `properties` where there are any.
    fn prepare(&self, scope: &Scope<'_>) -> Result<Prepared, Fault> {
        let settings = &self.settings;
        let mut address = Map::new();
        let key = settings.routing_key.render(scope).map_err(|fault| fault.at(ROUTING_KEY))?;
        let key = key
            .as_ref()
            .and_then(Value::plain)
            .ok_or_else(|| Fault::refuse("AMQP-PROPERTY", "the routing key comes out as no text").at(ROUTING_KEY))?;
        short("the routing key", &key)?;
        address.insert(ROUTING_KEY, key);
        let mut headers = Map::new();
        for (name, template) in settings.headers.iter().flatten() {
            if let Some(value) = template.render(scope).map_err(|fault| fault.at(format!("headers.{name}")))? {
                headers.insert(name.clone(), value);
            }
        }
        if !headers.is_empty() {
            table(&headers)?;
            address.insert(HEADERS, headers);
        }
        let mut properties = Map::new();
        for (name, template) in settings.properties.iter().flat_map(|properties| properties.set()) {
            if let Some(value) = template.render(scope).map_err(|fault| fault.at(format!("properties.{name}")))? {
                properties.insert(name, value);
            }
        }
        if !properties.is_empty() {
            with(BasicProperties::default(), &properties)?;
            address.insert(PROPERTIES, properties);
        }
        Ok(Prepared { body: self.codec.encode(scope.document)?, address })
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Option<Text>, Fault> {
        let mut outcomes = self.deliver_all(std::slice::from_ref(delivery)).await;
        outcomes.pop().expect("each delivery is answered")
    }

    async fn deliver_all(&self, deliveries: &[Delivery]) -> Vec<Result<Option<Text>, Fault>> {
        let mut outcomes: Vec<Result<Option<Text>, Fault>> = deliveries.iter().map(|_| Ok(None)).collect();
        let (mut letters, mut places) = (Vec::with_capacity(deliveries.len()), Vec::with_capacity(deliveries.len()));
        for (place, delivery) in deliveries.iter().enumerate() {
            match self.letter(delivery) {
                Ok(letter) => {
                    letters.push(letter);
                    places.push(place);
                }
                Err(fault) => outcomes[place] = Err(fault),
            }
        }
        for (place, answer) in places.into_iter().zip(self.publisher.publish(&letters).await) {
            outcomes[place] = answer.map(|()| None);
        }
        outcomes
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn confirms_together(&self) -> bool {
        true
    }
}

impl Sender {
    fn letter(&self, delivery: &Delivery) -> Result<Letter, Fault> {
        let address = &delivery.prepared.address;
        let routing_key = address.get(ROUTING_KEY).and_then(Value::as_text).unwrap_or_default();
        let mode = if self.settings.persistent { 2 } else { 1 };
        let mut properties = BasicProperties::default()
            .with_content_type(self.codec.content_type().into())
            .with_delivery_mode(mode)
            .with_message_id(delivery.id.to_string().into());
        if let Ok(seconds) = u64::try_from(delivery.time.as_second()) {
            properties = properties.with_timestamp(seconds);
        }
        if let Some(set) = address.get(PROPERTIES).and_then(Value::as_map) {
            properties = with(properties, set)?;
        }
        if let Some(headers) = address.get(HEADERS).and_then(Value::as_map) {
            properties = properties.with_headers(table(headers)?);
        }
        Ok(Letter {
            exchange: self.exchange.clone(),
            routing_key: short("the routing key", routing_key)?,
            properties,
            body: delivery.prepared.body.clone(),
        })
    }
}
