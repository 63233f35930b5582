//! Orders of 20 lines, generated: EDIFACT and X12, a file of any size or a stream without end.

use std::io::Read;

const LINES: usize = 20;

/// An interchange in three parts; the one in the middle may stand as often as wanted.
pub struct Sample {
    head: String,
    middle: String,
    tail: String,
}

impl Sample {
    pub fn whole(&self) -> String {
        [self.head.as_str(), &self.middle, &self.tail].concat()
    }
}

/// Orders as EDIFACT, at least `size` bytes.
pub fn edifact(size: usize) -> Sample {
    let mut middle = String::new();
    let mut number = 0;
    while middle.len() < size {
        number += 1;
        let head = "BGM+220+4711+9'DTM+137:20260101:102'NAD+BY+5412345000013::9'NAD+SU+4012345500004::9'";
        middle += &format!("UNH+{number}+ORDERS:D:96A:UN:EAN008'{head}");
        for line in 1..=LINES {
            let item = "IMD+F++:::Walking shoe?, brown'QTY+21:12'MOA+203:294.00'PRI+AAA:24.50:CA'RFF+PL:SPRING26'";
            middle += &format!("LIN+{line}++4012345678901:EN'PIA+5+WS-4711-BR:SA'{item}");
        }
        middle += &format!("UNS+S'UNT+{}+{number}'", 7 + 7 * LINES);
    }
    let head = "UNB+UNOC:3+5412345000013:14+4012345500004:14+260101:1200+7'".to_owned();
    Sample { head, middle, tail: format!("UNZ+{number}+7'") }
}

/// The same as X12.
pub fn x12(size: usize) -> Sample {
    let mut middle = String::new();
    let mut number = 0;
    while middle.len() < size {
        number += 1;
        middle += &format!(
            "ST*850*{number:04}~BEG*00*SA*4711**20260101~REF*DP*031~DTM*002*20260108~N1*BY*Alpha Stores*92*0001~"
        );
        for line in 1..=LINES {
            middle += &format!(
                "PO1*{line}*12*EA*24.50**UP*614141000012*VN*WS-4711-BR~PID*F****Walking shoe, brown~PO4*6*1*EA~"
            );
        }
        middle += &format!("CTT*{LINES}~SE*{}*{number:04}~", 7 + 3 * LINES);
    }
    let isa =
        "ISA*00*          *00*          *ZZ*ALPHA          *ZZ*BETA           *260101*1200*U*00401*000000007*0*P*>~";
    let head = format!("{isa}GS*PO*ALPHA*BETA*20260101*1200*3*X*004010~");
    Sample { head, middle, tail: format!("GE*{number}*3~IEA*1*000000007~") }
}

/// Gives the middle of a sample again and again.
pub struct Endless {
    sample: Sample,
    part: usize,
    at: usize,
    left: usize,
}

impl Endless {
    pub fn new(sample: Sample, left: usize) -> Endless {
        Endless { sample, part: 0, at: 0, left }
    }
}

impl Read for Endless {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let part = [&self.sample.head, &self.sample.middle, &self.sample.tail][self.part].as_bytes();
        let count = out.len().min(part.len() - self.at);
        out[..count].copy_from_slice(&part[self.at..self.at + count]);
        self.at += count;
        if self.at == part.len() && self.part < 2 {
            self.left = self.left.saturating_sub(part.len());
            self.part = if self.left == 0 { 2 } else { 1 };
            self.at = 0;
        }
        Ok(count)
    }
}
