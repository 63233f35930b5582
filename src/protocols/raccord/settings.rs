//! What may be written under `protocol: raccord`.

use crate::config::settings;
use crate::message::Text;

settings! {
    /// Takes what other pipelines of this hub hand over (`to: { protocol: raccord, pipeline: ... }`).
    ///
    /// The message's headers come along; `raccord_depth` counts the pipelines it came through.
    pub struct RaccordSourceSettings {}
}

settings! {
    /// Hands the message to another pipeline of this hub, which keeps it before this one lets it go.
    ///
    /// Write the same `format` here and in the other pipeline's `from`. A message that came through 16 pipelines is refused:
    /// it goes round in a circle.
    pub struct RaccordTargetSettings {
        /// The pipeline's name. Its `from` may be any protocol; `protocol: raccord` takes nothing but such messages.
        pipeline: Text,
    }
}
