//! What PostgreSQL says, as faults that say what to do.

use tokio_postgres::error::SqlState;

use crate::message::Fault;

/// Why a statement or a transaction did not take place.
#[derive(Debug)]
pub enum Failure {
    /// The operation's own, or the database's: nothing was kept.
    Fault(Fault),
    /// It met another transaction and lost: the same again may pass.
    Again(Fault),
    /// The connection is of no use any more.
    Lost(Fault),
}

impl Failure {
    pub fn fault(self) -> Fault {
        match self {
            Failure::Fault(fault) | Failure::Again(fault) | Failure::Lost(fault) => fault,
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Fault(fault)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        let Some(database) = error.as_db_error() else {
            // What came back does not fit the type that was asked for.
            let typed =
                std::error::Error::source(&error).is_some_and(|source| source.is::<tokio_postgres::types::WrongType>());
            return if typed { Failure::Fault(unexpected().cause(error)) } else { Failure::Lost(lost().cause(error)) };
        };
        let (state, said) = (database.code(), format!("{}: {}", database.severity(), database.message()));
        if *state == SqlState::T_R_SERIALIZATION_FAILURE || *state == SqlState::T_R_DEADLOCK_DETECTED {
            return Failure::Again(busy().detail(said));
        }
        if *state == SqlState::LOCK_NOT_AVAILABLE || *state == SqlState::QUERY_CANCELED {
            return Failure::Fault(busy().detail(said));
        }
        if *state == SqlState::READ_ONLY_SQL_TRANSACTION || gone(state) {
            return Failure::Lost(lost().detail(said));
        }
        Failure::Fault(of_state(state).detail(said))
    }
}

/// The server ends sessions: shut down, restarted, crashed, or out of connections.
fn gone(state: &SqlState) -> bool {
    let code = state.code();
    code.starts_with("08") || code.starts_with("57P") || *state == SqlState::TOO_MANY_CONNECTIONS || code == "25P03"
}

fn of_state(state: &SqlState) -> Fault {
    match &state.code()[..2] {
        _ if *state == SqlState::INSUFFICIENT_PRIVILEGE => Fault::misconfigured("STORE-LOGIN", LACKS_RIGHT),
        // A schema that one may not use is as one that is not there.
        _ if *state == SqlState::INVALID_SCHEMA_NAME => Fault::misconfigured("STORE-LOGIN", LACKS_RIGHT),
        _ if *state == SqlState::INVALID_CATALOG_NAME => Fault::misconfigured(
            "STORE-LOGIN",
            "the database is not there; create it, or correct `store.postgres.database`",
        ),
        // Said of who comes, before any password: where from, by what name, encrypted or not, with what certificate.
        _ if *state == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Fault::misconfigured(
            "STORE-LOGIN",
            "the database does not let the hub in as it comes: it may want another `store.postgres.user`, encryption \
             (`store.postgres.tls`) or a client certificate (`tls.certificate`); its `pg_hba.conf` says which",
        ),
        "28" => Fault::misconfigured(
            "STORE-LOGIN",
            "the database does not let the hub in; correct `store.postgres.user` and `password`",
        ),
        // Disk full, out of memory, and other limits of the server.
        "53" => full(),
        "42" => Fault::misconfigured(
            "STORE-CORRUPT",
            "the hub's tables in the database are not as the hub made them; restore the schema from a backup",
        ),
        "XX" => corrupt("the database says that its data is damaged"),
        "58" => Fault::retry("STORE-IO", "the database's machine has a fault; look at the database's log"),
        _ => unexpected(),
    }
}

const LACKS_RIGHT: &str = "the database refuses the user of `store.postgres.user` a right that the hub needs";

/// A missing right with the `statement` that gives it; anything else as it is.
pub fn granted_by(failure: Failure, statement: &str) -> Failure {
    match failure {
        Failure::Fault(fault) if fault.code() == "STORE-LOGIN" => {
            let sentence = format!("{}; an administrator gives it by `{statement}`", fault.sentence());
            Failure::Fault(fault.in_other_words(sentence))
        }
        failure => failure,
    }
}

pub fn lost() -> Fault {
    let sentence = "the database does not answer: check that it runs, and `store.postgres.addresses`; the hub goes on by itself \
                    when it does";
    Fault::retry("STORE-IO", sentence)
}

pub fn busy() -> Fault {
    Fault::retry("STORE-IO", "the database took too long, or others were in the way; it is tried again")
}

pub fn full() -> Fault {
    Fault::retry("STORE-FULL", "the database has no room; make room on its disk, the hub goes on by itself")
}

pub fn no_writes() -> Fault {
    Fault::misconfigured("STORE-LOGIN", "none of `store.postgres.addresses` is a server that takes writes")
}

pub fn corrupt(what: &str) -> Fault {
    Fault::misconfigured("STORE-CORRUPT", format!("{what}; restore the schema from a backup"))
}

fn unexpected() -> Fault {
    Fault::retry("STORE-IO", "the database refused a statement of the hub; look at the database's log")
}
