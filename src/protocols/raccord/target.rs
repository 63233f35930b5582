//! Hands messages to another pipeline's receiver; the delivery's id is their position there, so a repeat is known.

use std::sync::Arc;

use async_trait::async_trait;

use super::settings::RaccordTargetSettings;
use crate::codecs::Codec;
use crate::formula::Scope;
use crate::message::{Fault, Map, Next, Text, Value};
use crate::protocols::{
    Arrival, Delivery, Pipelines, Prepared, Receipt, ReceiptOutcome, Receiver, Surroundings, Target, TargetSettings,
};

/// The header that counts the pipelines a message came through.
const DEPTH: &str = "raccord_depth";
/// More are a circle.
const DEEPEST: u32 = 16;
/// Under this name the headers stand in a prepared message.
const HEADERS: &str = "headers";

impl TargetSettings for RaccordTargetSettings {
    fn open(&self, _name: &str, codec: Arc<dyn Codec>, around: &Surroundings) -> Result<Arc<dyn Target>, Fault> {
        Ok(Arc::new(RaccordTarget { pipeline: self.pipeline.clone(), codec, pipelines: around.pipelines.clone() }))
    }

    fn hands_to(&self) -> Option<&str> {
        Some(&self.pipeline)
    }
}

struct RaccordTarget {
    pipeline: Text,
    codec: Arc<dyn Codec>,
    pipelines: Arc<dyn Pipelines>,
}

#[async_trait]
impl Target for RaccordTarget {
    fn prepare(&self, scope: &Scope<'_>) -> Result<Prepared, Fault> {
        let depth =
            scope.headers.get(DEPTH).and_then(Value::plain).and_then(|depth| depth.parse().ok()).unwrap_or(0_u32);
        if depth >= DEEPEST {
            let said =
                format!("the message came through {depth} pipelines: do they hand it to each other in a circle?");
            return Err(Fault::refuse("RACCORD-LOOP", said));
        }
        let mut headers = scope.headers.clone();
        headers.insert(DEPTH, Value::from(i64::from(depth + 1)));
        let body = self.codec.encode(scope.document)?;
        Ok(Prepared { body, address: Map::from_iter([(HEADERS, headers)]) })
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Option<Text>, Fault> {
        let mut outcomes = self.deliver_all(std::slice::from_ref(delivery)).await;
        outcomes.pop().expect("each delivery is answered")
    }

    async fn deliver_all(&self, deliveries: &[Delivery]) -> Vec<Result<Option<Text>, Fault>> {
        let arrivals = deliveries.iter().map(arrival).collect();
        match self.hand_over(arrivals).await {
            Ok(receipts) if receipts.len() == deliveries.len() => {
                receipts.iter().map(|receipt| Ok(Some(self.note(receipt)))).collect()
            }
            Ok(_) => {
                self.all(deliveries, &Fault::retry("RACCORD-ANSWER", "the other pipeline did not answer each message"))
            }
            Err(fault) => self.all(deliveries, &fault),
        }
    }

    fn batch(&self) -> usize {
        256
    }
}

impl RaccordTarget {
    async fn hand_over(&self, arrivals: Vec<Arrival>) -> Result<Vec<Receipt>, Fault> {
        // Asked for each time: a reload may have put another in its place.
        let receiver: Arc<dyn Receiver> = self.pipelines.receiver(&self.pipeline).ok_or_else(|| {
            Fault::reconnect("RACCORD-PIPELINE", format!("the pipeline `{}` does not run now", self.pipeline))
        })?;
        receiver.receive(arrivals, None).await.map_err(|fault| match fault.next() {
            Next::Retry { .. } | Next::Reconnect => fault,
            // What is wrong with the other pipeline is not wrong with the message.
            Next::Refuse | Next::Misconfigured => {
                let said = format!("the pipeline `{}` takes nothing now", self.pipeline);
                Fault::retry("RACCORD-PIPELINE", said).cause(fault)
            }
        })
    }

    fn note(&self, receipt: &Receipt) -> Text {
        let outcome = match receipt.outcome {
            ReceiptOutcome::Stored | ReceiptOutcome::Repeat => "is",
            ReceiptOutcome::Conflict | ReceiptOutcome::Dead => "is a dead letter:",
        };
        format!("in {} it {outcome} {}", self.pipeline, receipt.id).into()
    }

    fn all(&self, deliveries: &[Delivery], fault: &Fault) -> Vec<Result<Option<Text>, Fault>> {
        deliveries.iter().map(|_| Err(fault.clone())).collect()
    }
}

fn arrival(delivery: &Delivery) -> Arrival {
    let headers = delivery.prepared.address.get(HEADERS).and_then(Value::as_map).cloned().unwrap_or_default();
    let position = Some(delivery.id.to_string());
    Arrival { body: delivery.prepared.body.clone(), document: None, headers, position, fault: None }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use super::*;
    use crate::formula::Meta;
    use crate::message::MessageId;
    use crate::protocols::Source;
    use crate::protocols::conformance::{
        self, Behaviour, NoTables, Recorder, Taken, TargetPeer, codec, read_source_yaml, read_target_yaml, surroundings,
    };

    /// A hub with one other pipeline, which may stand still.
    #[derive(Default)]
    struct Other {
        recorder: Arc<Recorder>,
        down: Mutex<bool>,
    }

    impl Pipelines for Other {
        fn receiver(&self, pipeline: &str) -> Option<Arc<dyn Receiver>> {
            let down = *self.down.lock().expect("no test panics here");
            (pipeline == "stock-movement" && !down).then(|| self.recorder.clone() as Arc<dyn Receiver>)
        }
    }

    struct Peer(Arc<Other>);

    fn open(other: &Arc<Other>, pipeline: &str) -> Result<Arc<dyn Target>, Fault> {
        let mut around = surroundings(Path::new("."));
        around.pipelines = other.clone();
        read_target_yaml(&format!("protocol: raccord\npipeline: {pipeline}\n")).open(
            "web-order.to.stock",
            codec(),
            &around,
        )
    }

    #[async_trait]
    impl TargetPeer for Peer {
        fn open(&self) -> Result<Arc<dyn Target>, Fault> {
            open(&self.0, "stock-movement")
        }

        async fn behave(&self, behaviour: Behaviour) -> bool {
            *self.0.down.lock().expect("no test panics here") = behaviour == Behaviour::Down;
            matches!(behaviour, Behaviour::Well | Behaviour::Down)
        }

        async fn taken(&self) -> Vec<Taken> {
            let taken = |arrival: &Arrival| Taken {
                key: arrival.position.clone().unwrap_or_default(),
                text: String::from_utf8_lossy(&arrival.body).into_owned(),
            };
            self.0.recorder.stored().iter().map(taken).collect()
        }
    }

    #[tokio::test]
    async fn it_passes_the_suite_of_all_targets() {
        conformance::target(async || Peer(Arc::default())).await;
    }

    #[tokio::test]
    async fn a_pipeline_that_does_not_run_is_waited_for() {
        let target = open(&Arc::default(), "stok").unwrap_or_else(|fault| panic!("{fault}"));
        let fault = target.deliver(&conformance::delivery(&*target, 1)).await.expect_err("there is none");
        assert_eq!((fault.code(), fault.next()), ("RACCORD-PIPELINE", Next::Reconnect));
        assert!(fault.to_string().contains("`stok`"), "{fault}");
        assert_eq!(read_target_yaml("protocol: raccord\npipeline: stok\n").hands_to(), Some("stok"));
    }

    #[tokio::test]
    async fn a_circle_ends() {
        let other = Arc::<Other>::default();
        let target = open(&other, "stock-movement").unwrap_or_else(|fault| panic!("{fault}"));
        let id = MessageId::derive(&[b"x"]);
        let mut headers = Map::from_iter([("store", "lyon")]);
        for depth in 0.. {
            let scope = Scope {
                document: &Value::from("x"),
                headers: &headers,
                meta: &Meta::default(),
                item: None,
                partner: None,
                connection: None,
                locals: None,
                time: jiff::Timestamp::UNIX_EPOCH,
                id: id.child("stock", depth),
                tables: &NoTables,
            };
            let prepared = match target.prepare(&scope) {
                Ok(prepared) => prepared,
                Err(fault) => {
                    assert_eq!((fault.code(), depth), ("RACCORD-LOOP", 16));
                    break;
                }
            };
            let delivery = Delivery { id: scope.id, time: scope.time, prepared, attempt: 1 };
            target.deliver(&delivery).await.expect("it is taken");
            headers = other.recorder.stored().pop().expect("it came").headers;
            assert_eq!(headers.get("store"), Some(&"lyon".into()), "headers come along");
        }
    }

    #[tokio::test]
    async fn the_source_waits_until_told_to_stop() {
        let around = surroundings(Path::new("."));
        let mut source: Box<dyn Source> = read_source_yaml("protocol: raccord\n")
            .open("stock-movement", codec(), &around)
            .unwrap_or_else(|f| panic!("{f}"));
        let stop = tokio_util::sync::CancellationToken::new();
        let running = tokio::spawn({
            let stop = stop.clone();
            async move { source.run(Arc::new(Recorder::default()), stop).await }
        });
        tokio::task::yield_now().await;
        assert!(!running.is_finished());
        stop.cancel();
        conformance::bounded("its end", running).await.expect("it does not panic").expect("it ends well");
    }
}
