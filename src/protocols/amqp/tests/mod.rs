//! The protocol against a real broker.
