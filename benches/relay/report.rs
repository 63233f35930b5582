//! What is printed: a table a scenario, in Markdown, each figure the mean of the rounds.

use std::fmt;

/// One side, over one round.
#[derive(Clone, Copy, Default)]
pub struct Measured {
    /// Messages a second, from the first that arrived to the last.
    pub rate: f64,
    /// Processor seconds of all processes of the side, per 100,000 messages.
    pub cpu: f64,
    /// The most memory that one process of the side had, in megabytes.
    pub peak_mb: f64,
    /// Processor seconds of the broker in that time, per 100,000 messages.
    pub broker_cpu: f64,
}

/// What a side is to reach.
#[derive(Clone, Copy, Default)]
pub struct Target {
    /// At least, of the reference's rate.
    pub ratio: Option<f64>,
    /// At most, a process.
    pub cpu: Option<f64>,
    /// At most.
    pub peak_mb: Option<f64>,
}

/// One scenario: the first side is the reference of the others.
pub struct Report {
    pub title: String,
    pub sides: Vec<Side>,
    pub notes: Vec<String>,
}

pub struct Side {
    pub what: String,
    pub rounds: Vec<Measured>,
    pub target: Target,
}

impl Side {
    pub fn new(what: impl Into<String>, target: Target) -> Side {
        Side { what: what.into(), rounds: Vec::new(), target }
    }

    fn mean(&self, of: impl Fn(&Measured) -> f64) -> f64 {
        self.rounds.iter().map(of).sum::<f64>() / self.rounds.len() as f64
    }

    /// The mean of the rounds' ratios, each to the reference's round beside it.
    fn ratio(&self, reference: &Side) -> f64 {
        let pairs = self.rounds.iter().zip(&reference.rounds);
        pairs.map(|(own, theirs)| own.rate / theirs.rate).sum::<f64>() / self.rounds.len() as f64
    }
}

impl Report {
    /// The targets that were not met.
    pub fn missed(&self) -> impl Iterator<Item = String> {
        self.sides.iter().flat_map(|side| {
            let ratio = side.ratio(&self.sides[0]);
            let (cpu, peak) = (side.mean(|round| round.cpu), side.mean(|round| round.peak_mb));
            let target = side.target;
            let below =
                target.ratio.filter(|least| ratio < *least).map(|least| format!("ratio {ratio:.2}, wanted {least:.2}"));
            let busy = target.cpu.filter(|most| cpu > *most).map(|most| format!("{cpu:.1} CPU s, wanted {most:.1}"));
            let large =
                target.peak_mb.filter(|most| peak > *most).map(|most| format!("{peak:.0} MB, wanted {most:.0}"));
            [below, busy, large].into_iter().flatten().map(|missed| format!("{}: {missed}", side.what))
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        writeln!(f, "| | rate/s | rounds | ratio | CPU s per 100k | peak RSS MB | broker's CPU s per 100k |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|")?;
        for side in &self.sides {
            let rounds: Vec<String> = side.rounds.iter().map(|round| format!("{:.0}", round.rate)).collect();
            writeln!(
                f,
                "| {} | {:.0} | {} | {:.2} | {:.2} | {:.0} | {:.2} |",
                side.what,
                side.mean(|round| round.rate),
                rounds.join(" "),
                side.ratio(&self.sides[0]),
                side.mean(|round| round.cpu),
                side.mean(|round| round.peak_mb),
                side.mean(|round| round.broker_cpu),
            )?;
        }
        writeln!(f)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}\n"))
    }
}
