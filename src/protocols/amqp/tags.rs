//! Which deliveries may be acknowledged: runs of them end in any order, the broker wants few frames.

use std::collections::BTreeMap;

/// Deliveries of one channel, numbered as they come, in runs that follow each other without a gap.
#[derive(Debug, Default)]
pub(super) struct Tags {
    /// Runs that are not behind the mark: first number, last number, how far they are.
    runs: BTreeMap<u64, (u64, State)>,
    /// Deliveries that came and are not acknowledged.
    open: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    UnderWay,
    Done,
    /// One by one, ahead of an earlier run.
    Acknowledged,
}

/// What to tell the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ack {
    /// This one and all before it.
    UpTo(u64),
    One(u64),
}

impl Tags {
    /// A run from `first` to `last` is under way.
    pub fn begin(&mut self, first: u64, last: u64) {
        self.open += last - first + 1;
        self.runs.insert(first, (last, State::UnderWay));
    }

    /// The run that began with `first` has ended well. Gives the acknowledgment of all that is done without a gap.
    pub fn done(&mut self, first: u64) -> Option<Ack> {
        if let Some((_, state)) = self.runs.get_mut(&first) {
            *state = State::Done;
        }
        let mut up_to = None;
        while let Some(run) = self.runs.first_entry().filter(|run| run.get().1 != State::UnderWay) {
            let (first, (last, state)) = run.remove_entry();
            // A broker that is told a number it has heard already closes the channel.
            if state == State::Done {
                self.open -= last - first + 1;
                up_to = Some(Ack::UpTo(last));
            }
        }
        up_to
    }

    /// What is done behind a run that takes long: acknowledged one by one, so that a crash repeats no more than it must.
    pub fn ahead(&mut self) -> Vec<Ack> {
        let mut acks = Vec::new();
        for (first, (last, state)) in self.runs.iter_mut().filter(|(_, (_, state))| *state == State::Done) {
            *state = State::Acknowledged;
            self.open -= *last - first + 1;
            acks.extend((*first..=*last).map(Ack::One));
        }
        acks
    }

    /// Deliveries that came and are not acknowledged.
    pub fn open(&self) -> u64 {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_without_a_gap_is_one_frame() {
        let mut tags = Tags::default();
        for (first, last) in [(1, 3), (4, 4), (5, 9), (10, 12)] {
            tags.begin(first, last);
        }
        assert_eq!(tags.done(5), None);
        assert_eq!(tags.done(1), Some(Ack::UpTo(3)));
        assert_eq!(tags.done(4), Some(Ack::UpTo(9)));
        assert_eq!(tags.open(), 3);
        assert_eq!(tags.done(10), Some(Ack::UpTo(12)));
        assert_eq!(tags.open(), 0);
    }

    #[test]
    fn what_waits_behind_a_slow_run_goes_one_by_one_and_only_once() {
        let mut tags = Tags::default();
        for (first, last) in [(1, 2), (3, 4), (5, 5)] {
            tags.begin(first, last);
        }
        assert_eq!(tags.done(3), None);
        assert_eq!(tags.ahead(), [Ack::One(3), Ack::One(4)]);
        assert_eq!((tags.ahead(), tags.open()), (vec![], 3));
        assert_eq!(tags.done(1), Some(Ack::UpTo(2)));
        assert_eq!(tags.done(5), Some(Ack::UpTo(5)));
        assert_eq!(tags.open(), 0);
    }
}
