//! One operation's writes on the queues, inside the transaction of its group.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::faults;
use crate::message::{Fault, Map, MessageId, Text, Value, json};
use crate::queue::waiting::Change;
use crate::queue::{Entry, EntryRef, NewEntry};

/// The transaction of a group, as an operation sees it.
pub struct Writing<'a> {
    pub connection: &'a Connection,
    pub now: Timestamp,
    /// Whether the disk has room for new messages.
    pub open_to_intake: bool,
    pub(super) queues: &'a mut Queues,
    pub(super) changes: &'a mut Vec<(i64, Change)>,
}

/// The queues of the file, as of the transaction under way.
#[derive(Default)]
pub(super) struct Queues {
    ids: HashMap<Text, i64>,
    /// By id - 1.
    all: Vec<QueueFile>,
    /// Queues as of the last commit; later ones were made by the transaction under way.
    committed: usize,
}

pub(super) struct QueueFile {
    pub name: Text,
    pub last: i64,
    pub entries: u64,
    committed: (i64, u64),
    /// A consumer may take new entries from memory.
    pub consumed: bool,
    insert: String,
    delete: String,
    retry: String,
}

impl Writing<'_> {
    /// Stores an entry at the end of its queue.
    pub fn store(&mut self, new: &NewEntry) -> Result<EntryRef, Fault> {
        self.park(new, 0)
    }

    /// [`Writing::store`], of an entry that was handed out before so many times.
    pub fn park(&mut self, new: &NewEntry, attempts: u32) -> Result<EntryRef, Fault> {
        let id = self.queues.id(self.connection, &new.queue)?;
        let queue = self.queues.get_mut(id)?;
        let (number, due) = (queue.last + 1, new.due.filter(|due| *due > self.now));
        insert(self.connection, &queue.insert, number, (new, attempts), due, self.now)?;
        queue.last = number;
        queue.entries += 1;
        let entry = queue.consumed.then(|| Box::new(owned(id, number, (new, attempts), due)));
        self.changes.push((id, Change::Stored { number, entry }));
        Ok(EntryRef::new(id, number))
    }

    /// A number at the end of a queue, for an entry that comes later.
    pub fn draw(&mut self, queue: &Text) -> Result<EntryRef, Fault> {
        let id = self.queues.id(self.connection, queue)?;
        let queue = self.queues.get_mut(id)?;
        queue.last += 1;
        Ok(EntryRef::new(id, queue.last))
    }

    /// Stores an entry at the number it had before it was ended, ahead of its key.
    pub fn store_at(&mut self, at: EntryRef, new: &NewEntry) -> Result<(), Fault> {
        let queue = self.queues.get_mut(at.queue())?;
        insert(self.connection, &queue.insert, at.number(), (new, 0), None, self.now)?;
        queue.entries += 1;
        self.changes.push((at.queue(), Change::Again { number: at.number(), key: new.key.clone() }));
        Ok(())
    }

    /// Ends an entry.
    ///
    /// # Errors
    /// `STORE-STALE` where it was ended before.
    pub fn end(&mut self, at: EntryRef) -> Result<(), Fault> {
        let queue = self.queues.get_mut(at.queue())?;
        if self.connection.prepare_cached(&queue.delete)?.execute([at.number()])? == 0 {
            return Err(faults::stale("the message"));
        }
        queue.entries = queue.entries.saturating_sub(1);
        self.changes.push((at.queue(), Change::Ended { number: at.number() }));
        Ok(())
    }

    /// Returns an entry, to be handed out again at `due`.
    pub fn retry(&mut self, at: EntryRef, due: Timestamp, counts: bool) -> Result<(), Fault> {
        let queue = self.queues.get_mut(at.queue())?;
        let values = params![at.number(), nanoseconds(due), i64::from(counts)];
        if self.connection.prepare_cached(&queue.retry)?.execute(values)? == 0 {
            return Err(faults::stale("the message"));
        }
        // As the file has it, so that a restart wakes it at the same time.
        let due = timestamp(nanoseconds(due));
        self.changes.push((at.queue(), Change::Returned { number: at.number(), due }));
        Ok(())
    }

    /// Stops a key. `stopped` is the entry that stopped it: a replay of the same message takes its place again.
    pub fn hold(&mut self, queue: &Text, key: &Text, stopped: Option<(EntryRef, MessageId)>) -> Result<(), Fault> {
        let id = self.queues.id(self.connection, queue)?;
        let (at, message) = (stopped.map(|(at, _)| at.0), stopped.as_ref().map(|(_, message)| message.as_bytes()));
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO held (queue, key, at, message) VALUES (?, ?, ?, ?)")?
            .execute(params![id, key.as_str(), at, message.map(|id| id.as_slice())])?;
        self.changes.push((id, Change::Held { key: key.clone() }));
        Ok(())
    }

    /// Lets a key go on. Where it was stopped by `message`, gives the place to store that again: do so before the commit.
    pub fn release(&mut self, queue: &str, key: &str, by: Option<MessageId>) -> Result<Released, Fault> {
        let Some(id) = self.queues.ids.get(queue).copied() else { return Ok(Released::NotHeld) };
        let held: Option<(Option<i64>, Option<Vec<u8>>)> = self
            .connection
            .prepare_cached("SELECT at, message FROM held WHERE queue = ? AND key = ?")?
            .query_row(params![id, key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((at, message)) = held else { return Ok(Released::NotHeld) };
        if by.is_some_and(|by| message.as_deref() != Some(by.as_bytes())) {
            return Ok(Released::NotHeld);
        }
        self.connection.prepare_cached("DELETE FROM held WHERE queue = ? AND key = ?")?.execute(params![id, key])?;
        Ok(Released::Held { queue: id, key: key.into(), at: at.map(EntryRef) })
    }

    /// The last word of a release, after what goes ahead of the key was stored.
    pub fn released(&mut self, queue: i64, key: Text) {
        self.changes.push((queue, Change::Released { key }));
    }

    /// Key and message of an entry.
    pub fn identity(&self, at: EntryRef) -> Result<Option<(Option<Text>, MessageId)>, Fault> {
        let sql = format!("SELECT key, message FROM entry_{} WHERE number = ?", at.queue());
        let found: Option<(Option<String>, [u8; 16])> = self
            .connection
            .prepare_cached(&sql)?
            .query_row([at.number()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(found.map(|(key, message)| (key.map(Text::from), MessageId::from_bytes(message))))
    }

    /// Entries of a queue, those of this transaction included.
    pub fn entries(&self, queue: &str) -> u64 {
        self.queues.ids.get(queue).and_then(|id| self.queues.get(*id)).map_or(0, |queue| queue.entries)
    }

    /// Whether an entry is of the queue of this name.
    pub fn is_of(&self, at: EntryRef, queue: &str) -> bool {
        self.queues.ids.get(queue) == Some(&at.queue())
    }
}

/// What a release found.
pub enum Released {
    NotHeld,
    Held { queue: i64, key: Text, at: Option<EntryRef> },
}

impl Queues {
    pub fn load(connection: &Connection) -> Result<Queues, Fault> {
        let mut statement = connection.prepare("SELECT id, name, last, entries FROM queue ORDER BY id")?;
        let mut rows = statement.query([])?;
        let mut queues = Queues::default();
        while let Some(row) = rows.next()? {
            let (id, name): (i64, String) = (row.get(0)?, row.get(1)?);
            if id != queues.all.len() as i64 + 1 {
                return Err(faults::corrupt("the numbers of the queues have gaps"));
            }
            let entries = u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0);
            queues.add(id, name.into(), row.get(2)?, entries);
        }
        queues.committed = queues.all.len();
        Ok(queues)
    }

    pub fn find(&self, name: &str) -> Option<i64> {
        self.ids.get(name).copied()
    }

    pub fn each(&self) -> impl Iterator<Item = (i64, &QueueFile)> {
        self.all.iter().enumerate().map(|(index, queue)| (index as i64 + 1, queue))
    }

    pub fn get(&self, id: i64) -> Option<&QueueFile> {
        self.all.get(usize::try_from(id - 1).ok()?)
    }

    /// # Errors
    /// `STORE-STALE`: a reference to a queue that never was.
    pub fn get_mut(&mut self, id: i64) -> Result<&mut QueueFile, Fault> {
        let index = usize::try_from(id - 1).ok();
        index.and_then(|index| self.all.get_mut(index)).ok_or_else(|| faults::stale("the message"))
    }

    /// The queue's id; makes the queue where it is new.
    pub fn id(&mut self, connection: &Connection, name: &Text) -> Result<i64, Fault> {
        if let Some(id) = self.ids.get(name) {
            return Ok(*id);
        }
        let id = self.all.len() as i64 + 1;
        connection
            .execute("INSERT INTO queue (id, name, last, entries) VALUES (?, ?, 0, 0)", params![id, name.as_str()])?;
        connection.execute_batch(&format!(
            "CREATE TABLE entry_{id} (number INTEGER PRIMARY KEY, key TEXT, due INTEGER, attempts INTEGER NOT NULL,
             start_at INTEGER NOT NULL, message BLOB NOT NULL, origin BLOB, time INTEGER NOT NULL, stored INTEGER NOT NULL,
             headers TEXT, body BLOB NOT NULL)"
        ))?;
        self.add(id, name.clone(), 0, 0);
        Ok(id)
    }

    /// Writes the counters that the transaction changed; its last write.
    pub fn save(&self, connection: &Connection) -> Result<(), Fault> {
        for (index, queue) in self.all.iter().enumerate() {
            if queue.committed != (queue.last, queue.entries) {
                connection.prepare_cached("UPDATE queue SET last = ?, entries = ? WHERE id = ?")?.execute(params![
                    queue.last,
                    queue.entries as i64,
                    index as i64 + 1
                ])?;
            }
        }
        Ok(())
    }

    pub fn committed(&mut self) {
        self.committed = self.all.len();
        for queue in &mut self.all {
            queue.committed = (queue.last, queue.entries);
        }
    }

    pub fn undone(&mut self) {
        for queue in self.all.drain(self.committed..) {
            self.ids.remove(&queue.name);
        }
        for queue in &mut self.all {
            (queue.last, queue.entries) = queue.committed;
        }
    }

    fn add(&mut self, id: i64, name: Text, last: i64, entries: u64) {
        self.ids.insert(name.clone(), id);
        self.all.push(QueueFile {
            name,
            last,
            entries,
            committed: (last, entries),
            consumed: false,
            insert: format!(
                "INSERT INTO entry_{id} (number, key, due, attempts, start_at, message, origin, time, stored, headers, body)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            ),
            delete: format!("DELETE FROM entry_{id} WHERE number = ?"),
            retry: format!("UPDATE entry_{id} SET due = ?2, attempts = attempts + ?3 WHERE number = ?1"),
        });
    }
}

fn insert(
    connection: &Connection,
    sql: &str,
    number: i64,
    (new, attempts): (&NewEntry, u32),
    due: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Fault> {
    let headers = (!new.headers.is_empty()).then(|| headers_text(&new.headers));
    let origin = (new.origin != new.message).then(|| new.origin.as_bytes().as_slice());
    connection.prepare_cached(sql)?.execute(params![
        number,
        new.key.as_deref(),
        due.map(nanoseconds),
        attempts,
        new.start_at,
        new.message.as_bytes().as_slice(),
        origin,
        nanoseconds(new.time),
        nanoseconds(now),
        headers,
        &new.body[..],
    ])?;
    Ok(())
}

/// As a reader of the file would get it. The body is copied, so that a small one does not keep a large buffer alive.
fn owned(id: i64, number: i64, (new, attempts): (&NewEntry, u32), due: Option<Timestamp>) -> Entry {
    let body = bytes::Bytes::copy_from_slice(&new.body);
    let entry = NewEntry { body, due, time: timestamp(nanoseconds(new.time)), ..new.clone() };
    Entry { at: EntryRef::new(id, number), attempts, entry }
}

/// Compact JSON of a map.
pub fn headers_text(headers: &Map) -> String {
    let mut text = String::with_capacity(64);
    text.push('{');
    for (index, (name, value)) in headers.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        json::write(&Value::Text(name.clone()), &mut text);
        text.push(':');
        json::write(value, &mut text);
    }
    text.push('}');
    text
}

/// Nanoseconds since 1970, as the file keeps times; the years before 1678 and after 2261 count as those.
pub fn nanoseconds(time: Timestamp) -> i64 {
    let exact = time.as_nanosecond();
    i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
}

pub fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::MAX)
}
