//! The references: the least that the same promise costs, without a hub.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Map, Number, Value};

use super::hub::{cpu_of, fresh_folder};

/// Messages synced together.
pub const GROUP: usize = 256;

/// What a bare loop took.
pub struct Bare {
    pub count: usize,
    pub took: Duration,
    pub cpu: f64,
}

impl Bare {
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }
}

/// Appends bytes for each message and syncs each group of them: nothing durable can do less.
pub fn append_and_sync(messages: &[Vec<u8>], count: usize) -> Bare {
    let folder = fresh_folder("bare");
    let mut file = File::create(folder.join("bare.log")).expect("the folder takes a file");
    let bare = timed(count, || {
        let mut group = Vec::new();
        for number in 0..count {
            group.extend_from_slice(&messages[number % messages.len()]);
            if (number + 1) % GROUP == 0 || number + 1 == count {
                file.write_all(&group).expect("the disk has room");
                file.sync_data().expect("the disk syncs");
                group.clear();
            }
        }
    });
    let _ = std::fs::remove_dir_all(folder);
    bare
}

/// Reads a CSV file, adds the four fields of the pipeline, writes JSON lines; one sync at the end, no checkpoints.
pub fn csv_to_ndjson(from: &Path, to: &Path, rows: usize) -> Bare {
    timed(rows, || {
        let mut reader = csv::Reader::from_path(from).expect("the file is there");
        let names: Vec<String> = reader.headers().expect("it has a header").iter().map(str::to_owned).collect();
        let file = File::create(to).expect("the folder takes a file");
        let mut out = BufWriter::with_capacity(64 * 1024, file);
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).expect("every row reads well") {
            let mut row = Map::with_capacity(names.len() + 4);
            for (name, cell) in names.iter().zip(&record) {
                row.insert(name.clone(), Value::String(cell.to_owned()));
            }
            compute(&mut row, &record);
            serde_json::to_writer(&mut out, &row).expect("the disk has room");
            out.write_all(b"\n").expect("the disk has room");
        }
        let file = out.into_inner().expect("the disk has room");
        file.sync_all().expect("the disk syncs");
    })
}

/// `number`, `net_of_vat`, `concat` and `date` of the pipeline, as a programmer would write them.
fn compute(row: &mut Map<String, Value>, record: &csv::StringRecord) {
    let decimal = |at: usize| Decimal::from_str(&record[at]).expect("the cell holds a number");
    let exact = decimal(8) * Decimal::ONE_HUNDRED / (decimal(9) + Decimal::ONE_HUNDRED);
    let net = exact.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    let sold = jiff::civil::Date::strptime("%d/%m/%Y", &record[12]).expect("the cell holds a date");
    row.insert("units".to_owned(), Value::Number(number(decimal(7))));
    row.insert("net".to_owned(), Value::Number(number(net)));
    row.insert("name".to_owned(), Value::String(format!("{} {}", &record[3], &record[2])));
    row.insert("day".to_owned(), Value::String(sold.to_string()));
}

fn number(decimal: Decimal) -> Number {
    decimal.to_string().parse().expect("a decimal is a number")
}

fn timed(count: usize, work: impl FnOnce()) -> Bare {
    let (start, cpu) = (Instant::now(), cpu_of("self"));
    work();
    Bare { count, took: start.elapsed(), cpu: cpu_of("self") - cpu }
}
