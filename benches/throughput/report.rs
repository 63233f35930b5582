//! What is printed: a table a scenario, in Markdown.

use std::fmt;
use std::time::Duration;

/// One scenario's lines.
pub struct Report {
    title: String,
    lines: Vec<Line>,
    notes: Vec<String>,
}

/// One measured thing.
pub struct Line {
    pub what: String,
    pub count: usize,
    pub took: Duration,
    /// Processor seconds of the process measured.
    pub cpu: f64,
    /// Peak memory of the hub's process, in kilobytes.
    pub peak_kb: Option<u64>,
    /// Rate as a part of the reference's.
    pub ratio: Option<f64>,
    pub target: Option<f64>,
}

impl Report {
    pub fn new(title: impl Into<String>) -> Report {
        Report { title: title.into(), lines: Vec::new(), notes: Vec::new() }
    }

    pub fn line(&mut self, line: Line) {
        self.lines.push(line);
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Lines whose ratio is below their target.
    pub fn below(&self) -> impl Iterator<Item = String> {
        self.lines.iter().filter_map(|line| match (line.ratio, line.target) {
            (Some(ratio), Some(target)) if ratio < target => {
                Some(format!("{} has {ratio:.2}, wanted {target:.2}", line.what))
            }
            _ => None,
        })
    }
}

impl Line {
    /// A line without memory, ratio and target.
    pub fn new(what: impl Into<String>, count: usize, took: Duration, cpu: f64) -> Line {
        Line { what: what.into(), count, took, cpu, peak_kb: None, ratio: None, target: None }
    }

    #[must_use]
    pub fn peak(self, kilobytes: u64) -> Line {
        Line { peak_kb: Some(kilobytes), ..self }
    }

    /// Compares with a reference's rate.
    #[must_use]
    pub fn beside(self, reference: f64, target: Option<f64>) -> Line {
        Line { ratio: Some(self.rate() / reference), target, ..self }
    }

    /// A second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dash = || "–".to_owned();
        writeln!(f, "### {}\n", self.title)?;
        writeln!(f, "| | count | rate/s | CPU s per 100k | peak RSS MB | ratio | target |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|")?;
        for line in &self.lines {
            let cpu = line.cpu * 100_000.0 / line.count as f64;
            let peak = line.peak_kb.map_or_else(dash, |kb| format!("{:.0}", kb as f64 / 1024.0));
            let ratio = line.ratio.map_or_else(dash, |ratio| format!("{ratio:.2}"));
            let target = line.target.map_or_else(dash, |target| format!("{target:.2}"));
            let (what, count, rate) = (&line.what, line.count, line.rate());
            writeln!(f, "| {what} | {count} | {rate:.0} | {cpu:.2} | {peak} | {ratio} | {target} |")?;
        }
        writeln!(f)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}\n"))
    }
}
