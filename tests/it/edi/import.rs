//! A UN/EDIFACT directory, as its holder has it, becomes tables that the other commands read: archives in an archive, a folder;
//! a guideline and a spreadsheet likewise.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use rawzip::{CompressionMethod, ZipArchiveWriter};

use super::{holds, path, raccord, sample, told};

/// A folder that goes when it is done with.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("raccord-import-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        Folder(folder)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.0.join(name);
        std::fs::write(&file, bytes).expect("a file can be written");
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn zip(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut out);
    for (name, bytes) in files {
        let started = archive.new_file(name).compression_method(CompressionMethod::DEFLATE).start();
        let (mut entry, config) = started.expect("a name");
        let mut sum = config.wrap(std::io::sink());
        sum.write_all(bytes).expect("a sink");
        let (_, descriptor) = sum.finish().expect("a sink");
        entry.write_all(&miniz_oxide::deflate::compress_to_vec(bytes, 6)).expect("a list");
        entry.finish(descriptor).expect("a list");
    }
    archive.finish().expect("a list");
    out
}

fn part(name: &str) -> (&str, Vec<u8>) {
    (name, std::fs::read(sample("directory").join(name)).expect("it ships"))
}

const ORDER: &[u8] =
    b"UNB+UNOC:4+4012345000009:14+5412345000006:14+20260105:0930+IC1'UNH+1+ORDERS:D:97A:UN'BGM+220+PO-1'\
    DTM+20260105'NAD+BY+5412345000006'ZZA+Miller*Smith'LIN+1+4006381000017'QTY+12'UNS+S'UNT+9+1'UNZ+1+IC1'";

/// What the order is by the tables of `arguments`.
fn explained(folder: &Path, order: &Path, more: &[&str], code: i32) -> String {
    told(&[&["explain", "-C", path(folder)], more, &[path(order)]].concat(), code)
}

#[test]
fn a_directory_in_archives_becomes_tables_the_commands_read() {
    let hub = Folder::new("archives");
    let order = hub.put("order.edi", ORDER);
    let before = explained(&hub.0, &order, &[], 0);
    holds(&before, &["there is no definition of ORDERS D.97A; it was checked as one of D.96A"]);
    let messages = zip(&[part("ORDERS_D.97A"), ("EDMDI1.97A", b"An index.".to_vec())]);
    let inner = [("edmd.zip", messages), ("Edsd.zip", zip(&[part("EDSD.97A")])), ("EDCD.97A", part("EDCD.97A").1)];
    let archive = hub.put("d97a.zip", &zip(&[&inner[..], &[part("EDED.97A")]].concat()));
    let shown = told(&["import", "-C", path(&hub.0), path(&archive)], 0);
    holds(&shown, &["config/edi/D.97A.txt holds 1 message and 6 segments of D.97A."]);
    let after = explained(&hub.0, &order, &[], 0);
    holds(
        &after,
        &["reference 1: accepted", "ZZA who may be asked", "E9704[1]  name of the person  Smith", "E9706  pieces  12"],
    );
    assert!(!after.contains("there is no definition"), "{after}");
    // Once there, it is only written over when that is said; a folder says the same as the archive.
    let tables = hub.0.join("config/edi/D.97A.txt");
    let made = std::fs::read(&tables).expect("made");
    let again = raccord(&["import", "-C", path(&hub.0), path(&sample("directory"))], b"");
    holds(&String::from_utf8_lossy(&again.stderr), &["D.97A.txt is there already: --replace writes over it"]);
    assert_eq!(again.status.code(), Some(1));
    told(&["import", "-C", path(&hub.0), "--replace", path(&sample("directory"))], 0);
    assert_eq!(std::fs::read(&tables).expect("made again"), made);
    // Documents keep their shape there and back.
    let json = told(&["convert", "-C", path(&hub.0), path(&order)], 0);
    holds(&json, &[r#""ZZA_group":[{"ZZA":{"E9704":["Miller","Smith"]}}]"#]);
    let documents = hub.put("order.jsonl", json.as_bytes());
    told(&["diff", "-C", path(&hub.0), path(&order), path(&documents)], 0);
    // A table somebody broke is told with its line.
    std::fs::write(&tables, [&made[..], b"s ZZA 9704! nothing\n"].concat()).expect("it can be written");
    let broken = raccord(&["check", "-C", path(&hub.0), path(&order)], b"");
    let said = String::from_utf8_lossy(&broken.stderr).into_owned();
    holds(&said, &["config/edi/D.97A.txt:", "`s ZZA 9704! nothing`: `nothing` is no element or composite"]);
    assert_eq!(broken.status.code(), Some(3));
}

#[test]
fn a_guideline_and_a_spreadsheet_are_read_and_checked() {
    let hub = Folder::new("guideline");
    let tables = hub.0.join("tables");
    let order = std::fs::read_to_string(sample("orders.edi")).expect("it ships");
    let order = hub.put("orders.edi", order.as_bytes());
    // Of what the guideline does not describe the shipped tables of the release know.
    let guideline =
        hub.put("guide.txt", b"# Ours\nm ORDERS UNH! BGM! DTM!:2 (1!:2 NAD!) (2:9 LIN! QTY!) UNS! CNT UNT!\n");
    let import = |file: &Path, more: &[&str]| {
        let all = [&["import", "--tables", path(&tables)], more, &[path(file)]].concat();
        let output = raccord(&all, b"");
        let shown = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), shown)
    };
    let (code, said) = import(&guideline, &[]);
    assert!(code == Some(1) && said.contains("guide.txt does not say of which release it is"), "{said}");
    let (code, said) = import(&guideline, &["--release", "D.96A", "--guideline", "EAN008"]);
    assert!(
        code == Some(0) && said.contains("D.96A-EAN008.txt holds 1 message and 0 segments of EAN008 (D.96A)."),
        "{said}"
    );
    let shown = told(&["check", "--tables", path(&tables), path(&order)], 1);
    holds(&shown, &["DTM is missing in ORDERS"]);
    let wrong = hub.put("wrong.txt", b"d edifact D.96A X\n\nm ORDERS UNH! (1 NAD! UNT!\n");
    let (code, said) = import(&wrong, &[]);
    assert!(code == Some(1) && said.contains("wrong.txt:3: `m ORDERS UNH! (1 NAD! UNT!`: a `)` is missing"), "{said}");
    let rows = "message;group;segment;status;max\nORDERS;;UNH;M;1\nORDERS;;BGM;M;1\nORDERS;;SG1;M;9\nORDERS;SG1;NAD;M;1\nORDERS;;UNT;M;1\n";
    let sheet = hub.put("sheet.csv", rows.as_bytes());
    let (code, said) = import(&sheet, &["--release", "D.96A", "--guideline", "OWN"]);
    assert_eq!(code, Some(0), "{said}");
    let made = std::fs::read_to_string(tables.join("D.96A-OWN.txt")).expect("made");
    assert!(made.ends_with("d edifact D.96A OWN\nm ORDERS UNH! BGM! (1!:9 NAD!) UNT!\n"), "{made}");
    let bad = hub.put("bad.csv", rows.replace(";SG1;NAD", ";SG7;NAD").as_bytes());
    let (code, said) = import(&bad, &["--release", "D.96A"]);
    assert!(code == Some(1) && said.contains("bad.csv:5: the group SG7 has no row above"), "{said}");
    let none = hub.put("none.txt", b"Dear all");
    let (code, said) = import(&none, &[]);
    assert!(code == Some(1) && said.contains("nothing that looks like a UN/EDIFACT directory"), "{said}");
}

#[test]
fn what_of_a_directory_cannot_be_read_is_told() {
    let hub = Folder::new("left");
    let (_, message) = part("ORDERS_D.97A");
    let message = String::from_utf8(message).expect("text");
    let other =
        message.replace("Message Type : ORDERS", "Message Type : ORDCHG").replace("M   1---------------++", "M   1");
    let third = message.replace("Message Type : ORDERS", "Message Type : ORDRSP").replace("ZZA Who", "ZZB Who");
    let archive = zip(&[
        part("ORDERS_D.97A"),
        ("ORDCHG_D.97A", other.into_bytes()),
        ("ORDRSP_D.97A", third.into_bytes()),
        part("EDSD.97A"),
        part("EDCD.97A"),
        part("EDED.97A"),
    ]);
    let file = hub.put("d97a.zip", &archive);
    let output = raccord(&["import", "-C", path(&hub.0), path(&file)], b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    holds(
        &said,
        &[
            "d97a.zip/ORDCHG_D.97A:23: ORDCHG: the lines at the end do not fit",
            "ORDRSP: no text describes its segment ZZB",
        ],
    );
    assert_eq!(output.status.code(), Some(1));
    holds(&String::from_utf8_lossy(&output.stdout), &["holds 1 message and 6 segments of D.97A"]);
    let cut = hub.put("cut.zip", &archive[..archive.len() / 2]);
    let output = raccord(&["import", "-C", path(&hub.0), path(&cut)], b"");
    holds(&String::from_utf8_lossy(&output.stderr), &["cut.zip is no whole zip archive"]);
    assert_eq!(output.status.code(), Some(1));
    // 80 MiB of nothing in less than one.
    let bomb = hub.put("bomb.zip", &zip(&[("EDSD.97A", vec![b' '; 80 << 20])]));
    assert!(std::fs::metadata(&bomb).expect("it is there").len() < 1 << 20);
    let output = raccord(&["import", "-C", path(&hub.0), path(&bomb)], b"");
    holds(&String::from_utf8_lossy(&output.stderr), &["bomb.zip/EDSD.97A is larger than can be a directory's"]);
}
