//! One file → batches of arrivals, read on a thread of its own while earlier batches are being stored.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc::Sender;

use super::disk;
use super::finder::{Found, State};
use super::progress::Progress;
use crate::codecs::{Codec, Record, Records};
use crate::message::{Fault, Map, Value};
use crate::protocols::Arrival;

/// A batch closes at so many records or bytes, whichever comes first. Those that were read while others were stored are stored
/// together, so they need not be large for the syncs they cost.
pub const BATCH_RECORDS: usize = 1_024;
const BATCH_BYTES: usize = 512 * 1024;

/// What one commit will hold.
pub struct Batch {
    pub arrivals: Vec<Arrival>,
    /// How far the file is read with it: records, bytes, lines.
    pub row: u64,
    pub position: u64,
    pub line: u64,
    /// The file ends here, and nobody wrote to it meanwhile.
    pub complete: bool,
}

impl Batch {
    /// Goes on with the batch after this one.
    pub fn join(&mut self, next: Batch) {
        self.arrivals.extend(next.arrivals);
        let Batch { row, position, line, complete, .. } = next;
        (self.row, self.position, self.line, self.complete) = (row, position, line, complete);
    }
}

/// A file being read.
pub struct Reading {
    pub found: Found,
    /// What was taken before.
    pub at: Progress,
    /// The folder as configured, for the header.
    pub folder: String,
    pub max_file: u64,
    pub codec: Arc<dyn Codec>,
}

type Stream<'a> = Box<dyn Records + Send + 'a>;

/// Opens a file for reading; never through a symbolic link, which could lead out of the folder.
pub fn open(found: &Found) -> io::Result<File> {
    let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    File::options().read(true).custom_flags(no_link).open(&found.path)
}

impl Reading {
    /// Reads to the end, or until nobody listens any more. A fault is the last thing sent: `refuse` speaks of the file, the
    /// others of the disk.
    pub fn run(self, batches: &Sender<Result<Batch, Fault>>) {
        let read = self.read(batches);
        if let Err(fault) = read {
            // Nobody listens: the source is stopping.
            let _ = batches.blocking_send(Err(fault));
        }
    }

    /// Record by record where the format has records, else as a whole.
    fn read(&self, batches: &Sender<Result<Batch, Fault>>) -> Result<(), Fault> {
        let broken = Broken::default();
        match self.resumed(&broken)? {
            Some((records, row)) => self.records(records, row, &broken, batches),
            None => self.whole(batches),
        }
    }

    fn whole(&self, batches: &Sender<Result<Batch, Fault>>) -> Result<(), Fault> {
        let size = self.found.state.size;
        if size > self.max_file {
            return Err(self.too_large(size));
        }
        let file = self.open()?;
        let mut body = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        (&file).take(size + 1).read_to_end(&mut body).map_err(|error| self.unreadable(error))?;
        self.unchanged(&file)?;
        let arrival = self.arrival(&self.headers(), 1, body.into(), None, None);
        let _ = batches.blocking_send(Ok(Batch {
            arrivals: vec![arrival],
            row: 1,
            position: size,
            line: 1,
            complete: true,
        }));
        Ok(())
    }

    fn records(
        &self,
        mut records: Stream<'_>,
        mut row: u64,
        broken: &Broken,
        batches: &Sender<Result<Batch, Fault>>,
    ) -> Result<(), Fault> {
        let file = self.open()?;
        let headers = self.headers();
        let (mut arrivals, mut bytes) = (Vec::new(), 0);
        let ended = loop {
            let record = match records.next() {
                None => break Ok(()),
                Some(Err(fault)) => break Err(fault),
                Some(Ok(record)) => record,
            };
            row += 1;
            if row <= self.at.row {
                continue;
            }
            bytes += record.raw.len();
            arrivals.push(self.record(&headers, row, record));
            if arrivals.len() >= BATCH_RECORDS || bytes >= BATCH_BYTES {
                let arrivals = std::mem::take(&mut arrivals);
                bytes = 0;
                let (position, line) = (records.position(), records.line());
                if batches.blocking_send(Ok(Batch { arrivals, row, position, line, complete: false })).is_err() {
                    return Ok(());
                }
            }
        };
        if let Some(error) = broken.take() {
            return Err(self.unreadable(error));
        }
        if ended.is_ok() {
            self.unchanged(&file)?;
        }
        let (position, line, complete) = (records.position(), records.line(), ended.is_ok());
        let _ = batches.blocking_send(Ok(Batch { arrivals, row: row.max(self.at.row), position, line, complete }));
        ended
    }

    /// The records from where the last commit stopped, and how many are before them. Where the format cannot begin in the
    /// middle, from the first on: those before are read and left out.
    fn resumed(&self, broken: &Broken) -> Result<Option<(Stream<'_>, u64)>, Fault> {
        if self.at.row > 0 {
            let mut rest = self.input(broken)?;
            rest.file.seek(SeekFrom::Start(self.at.position)).map_err(|error| self.unreadable(error))?;
            let mut beginning = self.input(broken)?;
            let (position, line) = (self.at.position, self.at.line);
            if let Some(records) = self.codec.records_from(&mut beginning, Box::new(rest), position, line)? {
                return Ok(Some((records, self.at.row)));
            }
        }
        let records = self.codec.records(Box::new(self.input(broken)?));
        Ok(records.map(|records| (records, 0)))
    }

    fn input(&self, broken: &Broken) -> Result<Noticing, Fault> {
        Ok(Noticing { file: self.open()?, broken: broken.clone() })
    }

    fn record(&self, headers: &Map, row: u64, record: Record) -> Arrival {
        let body = record.bytes();
        match record.document {
            Ok(document) => self.arrival(headers, row, body, Some(document), None),
            Err(fault) => self.arrival(headers, row, body, None, Some(fault.at(record.place))),
        }
    }

    fn arrival(&self, headers: &Map, row: u64, body: Bytes, document: Option<Value>, fault: Option<Fault>) -> Arrival {
        let mut own = Map::with_capacity(headers.len() + 1);
        headers.iter().for_each(|(name, value)| drop(own.insert(name.clone(), value.clone())));
        own.insert("row", Value::from(rust_decimal::Decimal::from(row)));
        let position = Some(format!("{}@{}#{row}", self.found.name, self.at.identity));
        Arrival { body, document, headers: own, position, fault }
    }

    fn headers(&self) -> Map {
        let modified = Timestamp::from_nanosecond(self.found.state.modified).unwrap_or_default();
        let mut headers = Map::with_capacity(4);
        headers.insert("file_name", self.found.name.as_str());
        headers.insert("file_folder", self.folder.as_str());
        headers.insert("modified", modified.to_string());
        headers
    }

    fn open(&self) -> Result<File, Fault> {
        let file = open(&self.found).map_err(|error| self.unreadable(error))?;
        self.unchanged(&file)?;
        Ok(file)
    }

    /// Rows read from a file that changes are rows of no file: people must look.
    fn unchanged(&self, file: &File) -> Result<(), Fault> {
        let state = State::of(&file.metadata().map_err(|error| self.unreadable(error))?);
        if state == self.found.state {
            return Ok(());
        }
        let said = format!(
            "{} was changed while it was read: its sender was not done; raise `quiet_for`, or agree on `complete: rename`",
            self.found.name
        );
        Err(Fault::refuse("FILE-CHANGED", said))
    }

    fn too_large(&self, size: u64) -> Fault {
        let said = format!(
            "{} has {size} bytes and may have {}: raise `max_file`, or choose a format that makes a message of each record",
            self.found.name, self.max_file
        );
        Fault::refuse("FILE-TOO-LARGE", said)
    }

    fn unreadable(&self, error: io::Error) -> Fault {
        disk::fault(error, "read", &self.found.path)
    }
}

/// Tells a broken disk from a broken file: a codec sees both as the end of its input.
struct Noticing {
    file: File,
    broken: Broken,
}

#[derive(Clone, Default)]
struct Broken(Arc<Mutex<Option<io::Error>>>);

impl Broken {
    fn take(&self) -> Option<io::Error> {
        self.0.lock().expect("no code panics while holding it").take()
    }
}

impl Read for Noticing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.file.read(into).map_err(|error| {
            let told = io::Error::from(error.kind());
            *self.broken.0.lock().expect("no code panics while holding it") = Some(error);
            told
        })
    }
}
