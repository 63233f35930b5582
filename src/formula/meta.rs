//! `$meta`: what the hub knows of a message, made only when a formula asks.

use std::sync::OnceLock;

use jiff::Timestamp;

use crate::message::{Map, MessageId, Text};

/// What `$meta` says: id, time, pipeline.
#[derive(Debug, Default)]
pub struct Meta {
    of: Option<(Text, MessageId, Timestamp)>,
    map: OnceLock<Map>,
}

impl Meta {
    pub fn of(pipeline: &Text, id: MessageId, time: Timestamp) -> Meta {
        Meta { of: Some((pipeline.clone(), id, time)), map: OnceLock::new() }
    }

    pub fn map(&self) -> &Map {
        self.map.get_or_init(|| match &self.of {
            Some((pipeline, id, time)) => Map::from_iter([
                ("id", Text::from(id.to_string())),
                ("time", Text::from(time.to_string())),
                ("pipeline", pipeline.clone()),
            ]),
            None => Map::new(),
        })
    }
}

impl From<Map> for Meta {
    fn from(map: Map) -> Meta {
        Meta { of: None, map: OnceLock::from(map) }
    }
}
