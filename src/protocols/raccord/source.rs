//! Waits: other pipelines hand their messages straight to this pipeline's receiver.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::settings::RaccordSourceSettings;
use crate::codecs::Codec;
use crate::message::Fault;
use crate::protocols::{Receiver, Source, SourceSettings, Surroundings};

impl SourceSettings for RaccordSourceSettings {
    fn open(&self, _pipeline: &str, _codec: Arc<dyn Codec>, _around: &Surroundings) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(RaccordSource))
    }
}

struct RaccordSource;

#[async_trait]
impl Source for RaccordSource {
    async fn run(&mut self, _receiver: Arc<dyn Receiver>, stop: CancellationToken) -> Result<(), Fault> {
        stop.cancelled().await;
        Ok(())
    }
}
