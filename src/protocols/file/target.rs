//! Messages into files: one each ([`Placing`]), or after one another ([`Appending`], and [`Lane`] for a whole source file).
//!
//! Several targets may share a folder; each keeps its own journal there, `.raccord-<target>.journal`. Hidden files of the
//! folder are raccord's and must stay.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::appending::Appending;
use super::disk::{self, blocking};
use super::journal::Journal;
use super::lane::Lane;
use super::names::file_name;
use super::placing::{Item, Outcome, Placing};
use super::settings::{FileName, FileTargetSettings, Mode};
use crate::codecs::Codec;
use crate::formula::{Meta, Scope, Tables};
use crate::message::{Fault, Map, MessageId, Value};
use crate::protocols::{Checkpointed, Delivery, Prepared, Surroundings, Target, TargetSettings};

/// Under this name the file's name stands in a prepared message.
const NAME: &str = "name";

impl TargetSettings for FileTargetSettings {
    fn open(&self, name: &str, codec: Arc<dyn Codec>, around: &Surroundings) -> Result<Arc<dyn Target>, Fault> {
        let folder = around.folder.join(&self.folder);
        std::fs::create_dir_all(&folder).map_err(|error| disk::fault(error, "create", &folder))?;
        let journal = Journal::new(&folder, name);
        let header = codec.framing().header;
        let writing = match self.mode {
            Mode::OneMessage => Writing::Placing(Placing { folder: folder.clone(), exists: self.exists, journal }),
            Mode::Append => Writing::Appending(Appending { folder: folder.clone(), header: header.clone(), journal }),
        };
        let lane = (self.mode == Mode::Append && self.name.of_source).then(|| {
            let lane = Lane { folder, target: name.to_owned(), exists: self.exists, header, growing: None };
            Arc::new(Mutex::new(lane))
        });
        let (mode, name) = (self.mode, self.name.clone());
        Ok(Arc::new(FileTarget { mode, name, codec, writing: Arc::new(Mutex::new(writing)), lane }))
    }
}

struct FileTarget {
    mode: Mode,
    name: FileName,
    codec: Arc<dyn Codec>,
    writing: Arc<Mutex<Writing>>,
    /// Where nothing but the source file decides the name.
    lane: Option<Arc<Mutex<Lane>>>,
}

enum Writing {
    Placing(Placing),
    Appending(Appending),
}

#[async_trait]
impl Target for FileTarget {
    fn prepare(&self, scope: &Scope<'_>) -> Result<Prepared, Fault> {
        let name = file_name(self.name.template.render(scope)?)?;
        let body = match self.mode {
            Mode::OneMessage => self.codec.encode(scope.document)?,
            Mode::Append => {
                let mut record = Vec::new();
                self.codec.encode_record(scope.document, &mut record)?;
                record.into()
            }
        };
        Ok(Prepared { body, address: Map::from_iter([(NAME, name)]) })
    }

    async fn deliver(&self, delivery: &Delivery) -> Outcome {
        let mut outcomes = self.deliver_all(std::slice::from_ref(delivery)).await;
        outcomes.pop().expect("each delivery is answered")
    }

    async fn deliver_all(&self, deliveries: &[Delivery]) -> Vec<Outcome> {
        let items: Vec<Result<Item, Fault>> = deliveries.iter().map(item).collect();
        let named: Vec<Item> = items.iter().flatten().cloned().collect();
        let writing = self.writing.clone();
        let mut written = match blocking(move || held(&writing).write(&named)).await {
            Ok(outcomes) => outcomes.into_iter(),
            Err(fault) => deliveries.iter().map(|_| Err(fault.clone())).collect::<Vec<_>>().into_iter(),
        };
        let answered = "each named item is answered";
        items.into_iter().map(|item| item.and_then(|_| written.next().expect(answered))).collect()
    }

    fn batch(&self) -> usize {
        match self.mode {
            Mode::OneMessage => 64,
            Mode::Append => 256,
        }
    }

    fn checkpointed(&self) -> Option<&dyn Checkpointed> {
        self.lane.is_some().then_some(self)
    }
}

#[async_trait]
impl Checkpointed for FileTarget {
    async fn rewind(&self, point: Option<&Value>) -> Result<(), Fault> {
        let point = point.cloned();
        self.with_lane(move |lane| lane.rewind(point.as_ref())).await
    }

    async fn append(&self, records: Bytes) -> Result<Value, Fault> {
        self.with_lane(move |lane| lane.append(&records)).await
    }

    async fn finish(&self, source: &str) -> Result<(), Fault> {
        let headers = Map::from_iter([("file_name", source)]);
        let scope = Scope {
            document: &Value::Null,
            headers: &headers,
            meta: &Meta::default(),
            item: None,
            partner: None,
            connection: None,
            locals: None,
            time: Timestamp::UNIX_EPOCH,
            id: MessageId::derive(&[source.as_bytes()]),
            tables: &NoTables,
        };
        let name = file_name(self.name.template.render(&scope)?)?;
        self.with_lane(move |lane| lane.finish(&name)).await
    }
}

impl FileTarget {
    async fn with_lane<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Lane) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let lane = self.lane.clone();
        let lane = lane.ok_or_else(|| Fault::misconfigured("FILE-MODE", "this target cannot be cut back"))?;
        blocking(move || work(&mut held(&lane))).await?
    }
}

impl Writing {
    fn write(&mut self, items: &[Item]) -> Vec<Outcome> {
        match self {
            Writing::Placing(placing) => placing.place(items),
            Writing::Appending(appending) => appending.append(items),
        }
    }
}

fn item(delivery: &Delivery) -> Result<Item, Fault> {
    // Prepared by this target, but stored in between: looked at again.
    let name = file_name(delivery.prepared.address.get(NAME).cloned())?;
    Ok(Item { id: delivery.id, name, body: delivery.prepared.body.clone() })
}

/// The disk's state is looked at afresh by each batch, so a panic in another leaves nothing half done in memory.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A name of the source alone reads no table.
struct NoTables;

impl Tables for NoTables {
    fn row(&self, table: &str, _key: &str) -> Result<Option<&Map>, Fault> {
        Err(Fault::misconfigured("FILE-NAME", format!("the name of a growing file cannot read the table `{table}`")))
    }
}
