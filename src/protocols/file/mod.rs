//! Files: a watched folder in, files written whole out.

mod appending;
mod disk;
mod finder;
mod journal;
mod lane;
mod names;
mod placing;
mod progress;
mod reading;
mod settings;
mod source;
mod target;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::config::Settings;
use crate::protocols::{ProtocolKind, SourceKind, TargetKind};

pub use settings::{FileSourceSettings, FileTargetSettings};

pub static KIND: ProtocolKind = ProtocolKind {
    name: "file",
    about: "Files in a folder: taken once they are whole, written whole or not at all",
    source: Some(SourceKind {
        fields: FileSourceSettings::fields,
        read: |map, reader| Some(Arc::new(map.flat::<FileSourceSettings>(reader)?)),
    }),
    target: Some(TargetKind {
        fields: FileTargetSettings::fields,
        read: |map, reader| Some(Arc::new(map.flat::<FileTargetSettings>(reader)?)),
    }),
};
