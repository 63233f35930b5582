//! The tests' own real servers: RabbitMQ, PostgreSQL and business systems on free ports of this machine, and a network
//! that breaks as told.
//!
//! One shared server of each kind serves all test processes of a run: the first that needs it starts it, a watchdog
//! ends it once no process used it for some minutes, and `tests/run` ends it when it is done. A test that wants to kill,
//! stop or starve a server starts a private one, which ends with the test, however the test ends.
//!
//! | asked for | here |
//! |---|---|
//! | a broker | [`rabbitmq::Rabbit::shared`], [`rabbitmq::Rabbit::private`], [`rabbitmq::Rabbit::cluster`] |
//! | a database | [`postgres::Postgres::shared`], [`postgres::Postgres::private`] |
//! | an ERP | [`tryton::Tryton::shared`], [`tryton::Tryton::private`] |
//! | a web shop | [`vendure::Vendure::shared`], [`vendure::Vendure::private`], [`medusa::Medusa::shared`] |
//! | a catalogue | [`oscar::Oscar::shared`], [`oscar::Oscar::private`] |
//! | somebody else's reading of an EDI file | [`judges::Judge`] |
//! | certificates for the private ones | [`certificates::Authority`] |
//! | a broken network | [`proxy::Proxy`] |
//!
//! `RACCORD_TEST_AMQP`, `RACCORD_TEST_POSTGRES`, `RACCORD_TEST_TRYTON`, `RACCORD_TEST_VENDURE`, `RACCORD_TEST_MEDUSA` and
//! `RACCORD_TEST_OSCAR` name servers to use in place of the shared ones; private ones are started all the same. What is not
//! Debian's is installed for the first test that asks for it, and kept. Everything lives in `parts/` of the build folder.
//! All calls block, but those of the proxy: a test that needs its runtime meanwhile wraps them in
//! `tokio::task::spawn_blocking`.
#![allow(dead_code, reason = "unit tests, whole tests and benchmarks each use their part of it")]

mod application;
pub mod certificates;
pub mod http;
mod install;
pub mod judges;
mod kept;
pub mod postgres;
pub mod proxy;
pub mod rabbitmq;
pub mod server;
pub mod tryton;
pub mod medusa;
pub mod oscar;
pub mod vendure;

#[allow(unused_imports, reason = "not every user of this module waits")]
pub use server::wait_for;
