//! From a partner's lane to the pipelines of this hub, and back to the lane itself; builds on what the protocol `raccord` does.
//!
//! What is handed over is a map: `to` (a pipeline), `body` (bytes, each as the character of its number), `headers`, and `fault` for
//! what is known to be no message, which becomes a dead letter of `to`.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::load::Partners;
use super::take::Routes;
use crate::codecs::Codec;
use crate::edi::findings::Code;
use crate::formula::Scope;
use crate::message::{Fault, Map, Text, Value};
use crate::protocols::{
    Arrival, Delivery, Pipelines, Prepared, Receipt, ReceiptOutcome, Receiver, Source, SourceSettings, Surroundings,
    Target, TargetSettings,
};

/// The other faults a message can be handed over with.
const FAULTS: [&str; 6] =
    ["PARTNER-UNKNOWN", "PARTNER-RECEIVER", "PARTNER-MODE", "PARTNER-NUMBER", "PARTNER-DOCUMENT", "PARTNER-REJECTED"];

const TO: &str = "to";
const BODY: &str = "body";
const HEADERS: &str = "headers";
const FAULT: &str = "fault";

/// A thing to hand over, as a document.
pub fn parcel(to: &str, body: &[u8], headers: Map, fault: Option<&Fault>) -> Value {
    let mut map = Map::from_iter([(TO, Value::from(to)), (BODY, from_bytes(body)), (HEADERS, headers.into())]);
    if let Some(fault) = fault {
        map.insert(FAULT, fault_value(fault));
    }
    map.into()
}

/// A fault as a document, for the way to where it is known again.
pub fn fault_value(fault: &Fault) -> Value {
    let what = fault.clone().without_detail().sentence();
    let mut map = Map::from_iter([("code", fault.code().to_owned()), ("what", what)]);
    for (key, value) in [("said", fault.said()), ("at", fault.position())] {
        if let Some(value) = value {
            map.insert(key, value.to_owned());
        }
    }
    map.into()
}

/// The fault in a document.
pub fn fault_of(value: &Value) -> Fault {
    let text = |key| value.get(key).and_then(Value::as_text).unwrap_or_default();
    let code = text("code");
    let known = Code::named(code).map(Code::name).or_else(|| FAULTS.into_iter().find(|fault| *fault == code));
    let fault = Fault::refuse(known.unwrap_or("EDI-STRAY"), text("what")).detail(text("said"));
    match text("at") {
        "" => fault,
        at => fault.at(at),
    }
}

/// Bytes as a text of as many characters.
pub fn from_bytes(bytes: &[u8]) -> Value {
    Value::text(bytes.iter().map(|byte| char::from(*byte)).collect::<String>())
}

/// The bytes of such a text.
pub fn to_bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect()
}

/// Brings what a lane hands over to the pipeline it is for.
#[derive(Clone, Debug)]
pub struct HandOver {
    pub routes: Arc<Routes>,
    pub partners: Arc<Partners>,
    /// The lane itself.
    pub lane: Text,
}

impl HandOver {
    /// Whether there is such a pipeline in this configuration.
    fn knows(&self, to: &str) -> bool {
        let lane = |partner: &Text| to.strip_suffix(".out") == Some(partner.as_str());
        self.lane == to
            || self.routes.0.values().any(|pipeline| pipeline == to)
            || self.partners.partners.keys().any(lane)
    }
}

impl TargetSettings for HandOver {
    fn open(&self, _name: &str, _codec: Arc<dyn Codec>, around: &Surroundings) -> Result<Arc<dyn Target>, Fault> {
        Ok(Arc::new(Opened { to: self.clone(), pipelines: around.pipelines.clone() }))
    }
}

struct Opened {
    to: HandOver,
    pipelines: Arc<dyn Pipelines>,
}

#[async_trait]
impl Target for Opened {
    fn prepare(&self, scope: &Scope<'_>) -> Result<Prepared, Fault> {
        let text = |key| scope.document.get(key).and_then(Value::as_text).unwrap_or_default();
        let mut address = Map::from_iter([(TO, text(TO))]);
        for key in [HEADERS, FAULT] {
            if let Some(value) = scope.document.get(key) {
                address.insert(key, value.clone());
            }
        }
        Ok(Prepared { body: to_bytes(text(BODY)).into(), address })
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Option<Text>, Fault> {
        let Prepared { body, address } = &delivery.prepared;
        let to = address.get(TO).and_then(Value::as_text).unwrap_or_default();
        if !self.to.knows(to) {
            let said =
                format!("there is no pipeline `{to}` any more: bring one of that name back and replay, or discard it");
            return Err(Fault::refuse("PARTNER-DOCUMENT", said));
        }
        let headers = address.get(HEADERS).and_then(Value::as_map).cloned().unwrap_or_default();
        let fault = address.get(FAULT).map(fault_of);
        give(
            &*self.pipelines,
            to,
            Arrival { body: body.clone(), document: None, headers, position: None, fault },
            delivery,
        )
        .await
    }
}

/// Gives one message to a pipeline of this hub; the delivery's id is its position there, so a repeat is known.
///
/// # Errors
/// `PARTNER-PIPELINE` (reconnect): the pipeline does not run now, or takes nothing.
pub async fn give(
    pipelines: &dyn Pipelines,
    to: &str,
    arrival: Arrival,
    delivery: &Delivery,
) -> Result<Option<Text>, Fault> {
    let receiver = pipelines
        .receiver(to)
        .ok_or_else(|| Fault::reconnect("PARTNER-PIPELINE", format!("the pipeline `{to}` does not run now")))?;
    let arrival = Arrival { position: Some(delivery.id.to_string()), ..arrival };
    // What is wrong with the other pipeline is not wrong with the message: no attempt is counted.
    let received = receiver.receive(vec![arrival], None).await.map_err(|fault| {
        Fault::reconnect("PARTNER-PIPELINE", format!("the pipeline `{to}` takes nothing now")).cause(fault)
    })?;
    let [receipt] = received[..] else {
        return Err(Fault::reconnect("PARTNER-PIPELINE", format!("the pipeline `{to}` did not answer")));
    };
    Ok(Some(note(to, &receipt)))
}

fn note(to: &str, receipt: &Receipt) -> Text {
    let outcome = match receipt.outcome {
        ReceiptOutcome::Stored | ReceiptOutcome::Repeat => "is",
        ReceiptOutcome::Conflict | ReceiptOutcome::Dead => "is a dead letter:",
    };
    format!("in {to} it {outcome} {}", receipt.id).into()
}

/// Waits: others hand their messages straight to the pipeline's receiver.
#[derive(Debug)]
pub struct Waiting;

impl SourceSettings for Waiting {
    fn open(&self, _pipeline: &str, _codec: Arc<dyn Codec>, _around: &Surroundings) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(Waiting))
    }
}

#[async_trait]
impl Source for Waiting {
    async fn run(&mut self, _receiver: Arc<dyn Receiver>, stop: CancellationToken) -> Result<(), Fault> {
        stop.cancelled().await;
        Ok(())
    }
}
