//! What SQLite says, as faults that say what to do.

use rusqlite::ErrorCode;
use rusqlite::ffi::{SQLITE_IOERR_SHMMAP, SQLITE_IOERR_SHMSIZE};

use crate::message::Fault;

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        let (code, extended) = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => (failure.code, failure.extended_code),
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => {
                return corrupt("a value in it has the wrong type").cause(error);
            }
            _ => return Fault::retry("STORE-IO", "the store's file could not be used").cause(error),
        };
        match code {
            ErrorCode::DiskFull => full().cause(error),
            ErrorCode::SystemIoFailure if matches!(extended, SQLITE_IOERR_SHMSIZE | SQLITE_IOERR_SHMMAP) => {
                full().cause(error)
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => corrupt("it is not readable").cause(error),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => read_only().cause(error),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Fault::misconfigured(
                "STORE-LOCKED",
                "another program holds the store's file; stop it, the hub needs the file for itself",
            )
            .cause(error),
            _ => Fault::retry("STORE-IO", "the disk did not take or give the store's data; look at the system's log")
                .cause(error),
        }
    }
}

pub fn full() -> Fault {
    Fault::retry("STORE-FULL", "the disk of the store is full; make room, the hub goes on by itself")
}

pub fn corrupt(what: &str) -> Fault {
    Fault::misconfigured(
        "STORE-CORRUPT",
        format!(
            "the store's file is damaged: {what}; copy the folder aside, then restore it from a backup or run `sqlite3 raccord.db .recover`"
        ),
    )
}

pub fn read_only() -> Fault {
    Fault::misconfigured(
        "STORE-READONLY",
        "the folder of the store cannot be written; give the hub's user the right to write there",
    )
}

/// The engine has stopped, so nobody can say whether the last operation took place; a restart finds out.
pub fn gone() -> Fault {
    Fault::reconnect("STORE-GONE", "the store has stopped")
}

/// The entry, group or dead letter was settled by someone else meanwhile.
pub fn stale(what: &str) -> Fault {
    Fault::reconnect(
        "STORE-STALE",
        format!("{what} was settled by someone else meanwhile; nothing of this settle was kept"),
    )
}
