//! How a queue is cut into lanes, and their names.
//!
//! A lane is one broker queue, and in the ledger a queue of its own, consumed under a lease of the same name: `web-order#3`.

use crate::message::{MessageId, Text};
use crate::queue::Sharing;
use crate::queue::broker::BrokerLane;

/// Stands between a queue and the number of its lane; no queue has it in its name.
const MARK: char = '#';

/// The lane in which an entry keeps its order.
pub fn lane_of(queue: &Text, sharing: Sharing, partitions: u32, key: Option<&Text>, message: MessageId) -> BrokerLane {
    let partition = match sharing {
        Sharing::Competing => None,
        Sharing::Single => Some(0),
        Sharing::Keyed => {
            let hash = key.map_or_else(|| fnv(message.as_bytes()), |key| fnv(key.as_bytes()));
            Some(u32::try_from(hash % u64::from(partitions.max(1))).unwrap_or(0))
        }
    };
    BrokerLane { queue: queue.clone(), partition }
}

pub fn lanes(queue: &Text, sharing: Sharing, partitions: u32) -> Vec<BrokerLane> {
    let lane = |partition| BrokerLane { queue: queue.clone(), partition };
    match sharing {
        Sharing::Competing => vec![lane(None)],
        Sharing::Single => vec![lane(Some(0))],
        Sharing::Keyed => (0..partitions.max(1)).map(|partition| lane(Some(partition))).collect(),
    }
}

/// The lane's name in the ledger and among the leases.
pub fn name(lane: &BrokerLane) -> Text {
    match lane.partition {
        Some(partition) => format!("{}{MARK}{partition}", lane.queue).into(),
        None => lane.queue.clone(),
    }
}

/// The queue a lane's name belongs to.
pub fn queue_of(name: &str) -> Text {
    name.split_once(MARK).map_or(name, |(queue, _)| queue).into()
}

/// FNV-1a: decides where entries wait, so it never changes.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_changes_its_lane() {
        let lane = |key: &str| {
            let message = MessageId::derive(&[b"any"]);
            lane_of(&"web-order".into(), Sharing::Keyed, 16, Some(&key.into()), message).partition
        };
        assert_eq!([lane("4711"), lane("4712"), lane("Léa")], [Some(2), Some(15), Some(6)]);
    }

    #[test]
    fn names_lead_back_to_their_queue() {
        for lane in lanes(&"web-order.to.p3".into(), Sharing::Keyed, 4) {
            assert_eq!(queue_of(&name(&lane)), "web-order.to.p3");
        }
    }
}
