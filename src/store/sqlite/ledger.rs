//! The file as the database of a distributed engine with one instance: its leases are always its own.

use async_trait::async_trait;

use super::settle::Operation;
use super::{SqliteStore, settled};
use crate::message::{Fault, MessageId, Text};
use crate::queue::{Consumer, Depth, Queue, Sharing, Window};
use crate::store::{Beat, Claim, Claimed, Fence, Instance, Key, Lease, Ledger, Pulse};

/// Nobody else ever has a turn.
const EPOCH: i64 = 1;

#[async_trait]
impl Queue for SqliteStore {
    async fn declare(&self, queue: &str, sharing: Sharing) -> Result<(), Fault> {
        self.file.declare(queue, sharing).await
    }

    async fn consume(&self, queue: &str, window: Window) -> Result<Box<dyn Consumer>, Fault> {
        self.file.consume(queue, window).await
    }

    async fn depth(&self, queue: &str) -> Result<Depth, Fault> {
        self.file.depth(queue).await
    }

    async fn entries(&self, queue: &str) -> Result<u64, Fault> {
        self.file.entries(queue).await
    }

    async fn queues(&self) -> Result<Vec<(Text, u64)>, Fault> {
        self.file.queues().await
    }
}

#[async_trait]
impl Ledger for SqliteStore {
    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Claimed>, Fault> {
        let claims = claims.to_vec();
        self.write(|reply| Operation::Claim { claims, claimed: Vec::new(), reply }).await
    }

    async fn settled(&self, entries: &[(Text, MessageId)]) -> Result<Vec<bool>, Fault> {
        let entries = entries.to_vec();
        self.file.read(move |connection| settled::read(connection, &entries)).await
    }

    async fn keys(&self, queue: &str) -> Result<Vec<Key>, Fault> {
        let keys = self.file.keys(queue).await?;
        Ok(keys.into_iter().map(|(key, entries, held)| Key { key, entries, held }).collect())
    }

    async fn beat(&self, beat: Beat) -> Result<Pulse, Fault> {
        if beat.leaves {
            return Ok(Pulse::default());
        }
        let taken = beat.take.into_iter().map(|lease| Fence { lease, epoch: EPOCH });
        let kept = beat.renew.into_iter().filter(|fence| !beat.pass_on.contains(fence));
        let held: Vec<Fence> = kept.chain(taken).collect();
        let names = || held.iter().map(|fence| fence.lease.clone());
        let lease = |name| Lease { name, holder: Some(beat.instance.clone()) };
        let instance = Instance {
            name: beat.name,
            revision: beat.revision,
            seen: self.clock.now(),
            holds: names().collect(),
            this: true,
        };
        Ok(Pulse {
            leases: names().map(lease).collect(),
            instances: vec![instance],
            wants: vec![(beat.instance.clone(), beat.wants)],
            held,
        })
    }

    fn is_shared(&self) -> bool {
        false
    }
}
