//! What the last round handed over. An overlap asks for the same items round after round; what was stored from them need not be
//! told to be a repeat each time.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::protocols::Arrival;

/// Most that is kept of a round, in prints of 16 bytes. What is beyond is handed over again, and found to be a repeat there.
const MOST: usize = 100_000;

type Print = [u8; 16];

/// What the last round handed over, and this one so far.
#[derive(Debug, Default)]
pub struct Seen {
    last: HashSet<Print>,
    this: HashSet<Print>,
}

impl Seen {
    /// Leaves out of a page what the last round handed over; gives the rest, and what [`Seen::stored`] is to be told of it.
    pub fn sift(&mut self, arrivals: Vec<Arrival>) -> (Vec<Arrival>, Vec<Print>) {
        let mut fresh = Vec::new();
        let left = arrivals.into_iter().filter(|arrival| {
            let Some(print) = print(arrival) else { return true };
            if self.last.contains(&print) {
                self.add(print);
                return false;
            }
            fresh.push(print);
            true
        });
        (left.collect(), fresh)
    }

    /// These are stored.
    pub fn stored(&mut self, prints: Vec<Print>) {
        prints.into_iter().for_each(|print| self.add(print));
    }

    /// A round has ended well.
    pub fn turn(&mut self) {
        self.last = std::mem::take(&mut self.this);
    }

    fn add(&mut self, print: Print) {
        if self.this.len() < MOST {
            self.this.insert(print);
        }
    }
}

fn print(arrival: &Arrival) -> Option<Print> {
    let position = arrival.position.as_ref()?;
    let mut sha = Sha256::new();
    sha.update(position.len().to_be_bytes());
    sha.update(position);
    sha.update(&arrival.body);
    sha.finalize().first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Map;

    fn arrival(position: &str, body: &'static str) -> Arrival {
        let position = Some(position.to_owned());
        Arrival { body: body.into(), document: None, headers: Map::new(), position, fault: None }
    }

    /// A round of these; gives the bodies handed over.
    fn round(seen: &mut Seen, arrivals: Vec<Arrival>) -> Vec<String> {
        let (left, prints) = seen.sift(arrivals);
        seen.stored(prints);
        seen.turn();
        left.iter().map(|arrival| String::from_utf8_lossy(&arrival.body).into_owned()).collect()
    }

    #[test]
    fn the_same_is_handed_over_once_and_what_changed_again() {
        let mut seen = Seen::default();
        assert_eq!(round(&mut seen, vec![arrival("1", "a"), arrival("2", "b")]), ["a", "b"]);
        for _ in 0..3 {
            assert_eq!(round(&mut seen, vec![arrival("1", "a"), arrival("2", "b")]), [""; 0]);
        }
        assert_eq!(round(&mut seen, vec![arrival("1", "changed"), arrival("2", "b")]), ["changed"]);
        assert_eq!(round(&mut seen, vec![]), [""; 0]);
        assert_eq!(round(&mut seen, vec![arrival("2", "b")]), ["b"], "only the last round is known");
    }

    #[test]
    fn what_was_not_stored_is_handed_over_again() {
        let mut seen = Seen::default();
        let (left, _) = seen.sift(vec![arrival("1", "a")]);
        assert_eq!(left.len(), 1);
        assert_eq!(round(&mut seen, vec![arrival("1", "a")]), ["a"]);
    }

    #[test]
    fn what_has_no_position_is_always_handed_over() {
        let mut seen = Seen::default();
        for _ in 0..2 {
            let bare = Arrival { position: None, ..arrival("", "a") };
            assert_eq!(round(&mut seen, vec![bare]), ["a"]);
        }
    }
}
