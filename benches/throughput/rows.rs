//! `csv`: a file of rows, 13 fields kept and 4 computed, to a file of JSON lines, on the way that repeats and skips nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use super::Options;
use super::bare::csv_to_ndjson as bare_loop;
use super::hub::{Hub, fresh_folder};
use super::messages::price_file;
use super::orders::bare;
use super::report::{Line, Report};

const TARGET: f64 = 0.4;

const PIPELINE: &str = "
about: Each row of a price file becomes a line of JSON with four fields more.
from:
  protocol: file
  folder: in
  complete: rename
  format: csv
order_by: none
dedupe: none
steps:
  - set:
      units: =number($.quantity)
      net: \"=net_of_vat(number($.price), number($.vat_rate))\"
      name: \"=concat($.brand, ' ', $.label)\"
      day: \"=date($.sold_on, '%d/%m/%Y')\"
to:
  lines:
    protocol: file
    folder: out
    name: $headers.file_name
    mode: append
    format: ndjson
on_error:
  retry: [5s]
";

pub fn csv_to_ndjson(options: &Options) -> Report {
    let rows = options.rows;
    let folder = fresh_folder("csv-bare");
    let (input, expected) = (folder.join("prices.csv"), folder.join("prices.ndjson"));
    fs::write(&input, price_file(rows)).expect("the folder takes a file");
    let hub = Hub::start("csv", &[("prices", PIPELINE.to_owned())], 0, options.keep);
    fs::copy(&input, hub.folder.join("in/.prices")).expect("the folder takes a file");
    let before = bare_loop(&input, &expected, rows);
    let (start, cpu) = (Instant::now(), hub.cpu());
    fs::rename(hub.folder.join("in/.prices"), hub.folder.join("in/prices.csv")).expect("it was just written");
    let output = hub.folder.join("out/prices.csv");
    while !output.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let whole = Line::new("hub, checkpointed", rows, start.elapsed(), hub.cpu() - cpu).peak(hub.peak_kb());
    let after = bare_loop(&input, &expected, rows);
    compare(&output, &expected, rows);
    let reference = (before.rate() + after.rate()) / 2.0;
    let mut report = Report::new(format!("CSV of {rows} lines, 13 fields → 4 computed → JSON lines"));
    report.line(bare("bare: csv + serde_json, one sync (before)", &before));
    report.line(bare("bare: the same (after)", &after));
    report.line(whole.beside(reference, Some(TARGET)));
    report.note("Both outputs were compared line by line: the same values in the same order.");
    if !options.keep {
        let _ = fs::remove_dir_all(folder);
    }
    report
}

/// Fast and wrong would be worthless.
fn compare(output: &Path, expected: &Path, rows: usize) {
    let lines = |path: &Path| BufReader::new(fs::File::open(path).expect("it was written")).lines();
    let value = |line: std::io::Result<String>| -> serde_json::Value {
        serde_json::from_str(&line.expect("it can be read")).expect("each line is JSON")
    };
    let mut compared = 0;
    for (number, (one, other)) in lines(output).map(value).zip(lines(expected).map(value)).enumerate() {
        assert_eq!(one, other, "line {}", number + 1);
        compared += 1;
    }
    assert_eq!((compared, lines(output).count()), (rows, rows), "lines");
}
