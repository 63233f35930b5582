//! An intake: keys claimed, entries published and confirmed, then the ledger's commit.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use super::settle::{keys_of, publication};
use super::{Gap, Shared};
use crate::message::{Fault, Text, Value};
use crate::store::{Accepted, Claim, Claimed, Fence, Intake, Settlement, Stored, repeats};

/// Come back after: the queue may have room again.
const FULL_FOR: Duration = Duration::from_secs(1);

/// A sender hears an answer within: a broker that is away, or blocks, is one too.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

impl Shared {
    /// # Errors
    /// `QUEUE-SLOW` (retry): broker and database did not take it all in time; what they took is a repeat when it comes again.
    pub(super) async fn intake(
        &self,
        arrivals: Vec<Intake>,
        cursor: Option<(Text, Value)>,
        fence: Option<Fence>,
    ) -> Result<Vec<Accepted>, Fault> {
        match tokio::time::timeout(ANSWER_WITHIN, self.take_in(arrivals, cursor, fence)).await {
            Ok(answer) => answer,
            Err(_) => {
                let sentence =
                    format!("the queue took nothing for {} s; nothing was accepted", ANSWER_WITHIN.as_secs());
                Err(Fault::retry("QUEUE-SLOW", sentence).after(FULL_FOR))
            }
        }
    }

    async fn take_in(
        &self,
        arrivals: Vec<Intake>,
        cursor: Option<(Text, Value)>,
        fence: Option<Fence>,
    ) -> Result<Vec<Accepted>, Fault> {
        let entries = arrivals.iter().filter_map(|arrival| match &arrival.stored {
            Stored::Entry(entry) => Some(entry),
            Stored::Dead(_) => None,
        });
        let _turns = self.turns.take(keys_of(entries), None).await;
        self.check_quotas(&arrivals).await?;
        self.check_ledger().await?;
        let seen = self.claim(&arrivals).await?;
        self.gap(Gap::Claimed).await;
        let now = self.now();
        let mut commit = Settlement { fences: fence.into_iter().collect(), ..Settlement::default() };
        let mut publications = Vec::new();
        let mut accepted = Vec::with_capacity(arrivals.len());
        for (arrival, seen) in arrivals.into_iter().zip(seen) {
            let message = arrival.message();
            let told = match seen {
                Claimed::Repeat(first) => Accepted::Repeat(first),
                Claimed::Conflict => {
                    let mut letter = repeats::conflict(&arrival, message, now);
                    let told = Accepted::Conflict(letter.message);
                    letter.replay.queue = self.ledger_queue(&letter.replay).await?;
                    commit.dead.push(letter);
                    told
                }
                Claimed::Taken => Accepted::New(message),
            };
            commit.hops.extend(repeats::hops(&arrival, told));
            accepted.push(told);
            if seen != Claimed::Taken {
                continue;
            }
            match arrival.stored {
                Stored::Entry(entry) => {
                    let line = self.line(&entry.queue).await?;
                    let lane = self.lane_of(&line, entry.key.as_ref(), entry.message);
                    publications.push(publication(&line, lane, &entry, now));
                }
                Stored::Dead(mut letter) => {
                    letter.replay.queue = self.ledger_queue(&letter.replay).await?;
                    commit.dead.push(*letter);
                }
            }
            commit.claimed.extend(arrival.claim);
        }
        commit.cursors.extend(cursor);
        self.check_fences(&commit)?;
        // What the broker will never take is not accepted: its sender is told.
        if let Some((_, fault)) = self.publish_all(&publications).await?.into_iter().next() {
            return Err(fault);
        }
        self.gap(Gap::Published).await;
        self.check_fences(&commit)?;
        let committed = self.ledger.settle(commit).await;
        *self.well.lock().unwrap_or_else(PoisonError::into_inner) = committed.as_ref().err().cloned();
        committed?;
        self.gap(Gap::Committed).await;
        Ok(accepted)
    }

    async fn ledger_queue(&self, entry: &crate::queue::NewEntry) -> Result<Text, Fault> {
        let line = self.line(&entry.queue).await?;
        Ok(line.ledger_name(self.lane_of(&line, entry.key.as_ref(), entry.message)))
    }

    async fn check_quotas(&self, arrivals: &[Intake]) -> Result<(), Fault> {
        let mut asked: Vec<&Text> = Vec::new();
        for arrival in arrivals {
            let Stored::Entry(entry) = &arrival.stored else { continue };
            if asked.contains(&&entry.queue) {
                continue;
            }
            asked.push(&entry.queue);
            if self.entries(&entry.queue).await? >= self.options.quota {
                let sentence = format!(
                    "{} messages wait in {}, which is its quota; nothing was stored",
                    self.options.quota, entry.queue
                );
                return Err(Fault::retry("STORE-FULL", sentence).after(FULL_FOR));
            }
        }
        Ok(())
    }

    /// A database that did not take the last intake is asked before anything is published: senders that come back while it is
    /// away would fill the queues with repeats.
    async fn check_ledger(&self) -> Result<(), Fault> {
        let ill = self.well.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if ill {
            self.ledger.well().await?;
            *self.well.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Ok(())
    }

    /// Of each arrival what its claim came to; one without a claim is new.
    async fn claim(&self, arrivals: &[Intake]) -> Result<Vec<Claimed>, Fault> {
        let mut seen = vec![Claimed::Taken; arrivals.len()];
        let (mut claims, mut places) = (Vec::new(), Vec::new());
        let mut here: HashMap<(Text, [u8; 16]), Claim> = HashMap::new();
        for (place, arrival) in arrivals.iter().enumerate() {
            let Some(claim) = &arrival.claim else { continue };
            match here.get(&(claim.pipeline.clone(), claim.key)) {
                Some(first) if first.content == claim.content => seen[place] = Claimed::Repeat(first.message),
                Some(_) => seen[place] = Claimed::Conflict,
                None => {
                    here.insert((claim.pipeline.clone(), claim.key), claim.clone());
                    claims.push(claim.clone());
                    places.push(place);
                }
            }
        }
        if !claims.is_empty() {
            for (place, claimed) in places.into_iter().zip(self.ledger.claim(&claims).await?) {
                seen[place] = claimed;
            }
        }
        Ok(seen)
    }
}
