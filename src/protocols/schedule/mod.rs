//! The clock as a source: one message at each time of a schedule.

mod settings;
mod source;

use std::sync::Arc;

use crate::config::Settings;
use crate::protocols::{ProtocolKind, SourceKind};

pub use settings::ScheduleSettings;

pub static KIND: ProtocolKind = ProtocolKind {
    name: "schedule",
    about: "The clock: one message at each time of a schedule",
    source: Some(SourceKind {
        fields: ScheduleSettings::fields,
        read: |map, reader| Some(Arc::new(map.flat::<ScheduleSettings>(reader)?)),
    }),
    target: None,
};
