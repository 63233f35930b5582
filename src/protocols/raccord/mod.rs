//! From one pipeline to another of the same hub.

mod settings;
mod source;
mod target;

use std::sync::Arc;

use crate::config::Settings;
use crate::protocols::{ProtocolKind, SourceKind, TargetKind};

pub use settings::{RaccordSourceSettings, RaccordTargetSettings};

pub static KIND: ProtocolKind = ProtocolKind {
    name: "raccord",
    about: "From one pipeline to another of this hub",
    source: Some(SourceKind {
        fields: RaccordSourceSettings::fields,
        read: |map, reader| Some(Arc::new(map.flat::<RaccordSourceSettings>(reader)?)),
    }),
    target: Some(TargetKind {
        fields: RaccordTargetSettings::fields,
        read: |map, reader| Some(Arc::new(map.flat::<RaccordTargetSettings>(reader)?)),
    }),
};
