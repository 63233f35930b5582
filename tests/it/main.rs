//! The tests that look at the whole: one binary, one file a subject.

mod amqp;
mod bad_input;
mod check;
mod commands;
mod connectors;
mod crash;
mod distributed;
mod documents;
mod edi;
mod edi_fuzz;
mod edi_judges;
mod faults;
mod flows;
mod guards;
mod harness;
mod instances;
mod layers;
mod partners;
#[path = "../parts/mod.rs"]
mod parts;
mod real_parts;
mod sources;
mod systems;
mod tour;
