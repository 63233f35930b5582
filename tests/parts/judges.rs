//! Other people's readers of EDI, as judges of what the hub writes: pydifact and pyx12 from PyPI, edifact and node-x12 from npm.
//!
//! Each has one script in `tests/edi/judges/`, which reads many files in one process and tells of each what it saw.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::install;
use super::kept::kept;

const REQUIREMENTS: &str = include_str!("../edi/judges/requirements.txt");
const PACKAGE: &str = include_str!("../edi/judges/package.json");

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judge {
    /// PyPI's, of EDIFACT.
    Pydifact,
    /// PyPI's, of X12, with maps of some transaction sets.
    Pyx12,
    /// npm's, of EDIFACT, with tables of some messages of D.01B.
    Edifact,
    /// npm's, of X12.
    NodeX12,
}

/// What a judge says of a file.
#[derive(Debug)]
pub struct Said {
    /// Each segment: its tag, its elements, their components; nothing empty at the end of any.
    pub segments: Vec<Segment>,
    pub complaints: Vec<String>,
    /// pyx12 alone: it knows the transaction set itself, not only the envelope.
    pub mapped: bool,
    /// pyx12 alone: the acknowledgment it would answer.
    pub answer: String,
}

pub type Segment = (String, Vec<Vec<String>>);

impl Judge {
    pub const ALL: [Judge; 4] = [Judge::Pydifact, Judge::Pyx12, Judge::Edifact, Judge::NodeX12];

    /// What it says of each file, which is read as `latin1` or `utf8`.
    #[track_caller]
    pub fn read(self, files: &[(PathBuf, &str)]) -> Vec<Said> {
        let (mut command, script) = match self {
            Judge::Pydifact => (Command::new(python()), "pydifact_reads.py"),
            Judge::Pyx12 => (Command::new(python()), "pyx12_reads.py"),
            Judge::Edifact => (node(), "edifact_reads.js"),
            Judge::NodeX12 => (node(), "node_x12_reads.js"),
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edi/judges").join(script);
        let piped = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.env("PYTHONIOENCODING", "utf-8").spawn().expect("it was installed");
        let asked: String = files.iter().map(|(path, encoding)| format!("{}\t{encoding}\n", path.display())).collect();
        let mut stdin = child.stdin.take().expect("it is piped");
        // One that ends early closes the pipe; what it said tells why.
        let asking = std::thread::spawn(move || drop(stdin.write_all(asked.as_bytes())));
        let output = child.wait_with_output().expect("it ends");
        asking.join().expect("it does not panic");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{self:?}: {}\n{err}", output.status);
        let said: Vec<Said> =
            out.lines().map(|line| said(line).unwrap_or_else(|| panic!("{self:?}: {line}"))).collect();
        assert_eq!(said.len(), files.len(), "{self:?}: {err}");
        said
    }
}

fn said(line: &str) -> Option<Said> {
    let told: Value = serde_json::from_str(line).ok()?;
    let segment = |segment: &Value| Some((segment[0].as_str()?.to_owned(), trimmed(elements(&segment[1])?)));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(Said {
        segments: told["segments"].as_array()?.iter().map(segment).collect::<Option<_>>()?,
        complaints: told["complaints"].as_array()?.iter().map(text).collect::<Option<_>>()?,
        mapped: told["mapped"].as_bool().unwrap_or_default(),
        answer: text(&told["answer"]).unwrap_or_default(),
    })
}

/// Some give an element of one component as the text alone.
fn elements(value: &Value) -> Option<Vec<Vec<String>>> {
    let element = |element: &Value| match element {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(parts) => parts.iter().map(|part| part.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    value.as_array()?.iter().map(element).collect()
}

/// Without empty components and elements at the ends.
pub fn trimmed(mut elements: Vec<Vec<String>>) -> Vec<Vec<String>> {
    for element in &mut elements {
        element.truncate(element.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1));
    }
    elements.truncate(elements.iter().rposition(|element| !element.is_empty()).map_or(0, |last| last + 1));
    elements
}

/// A Python with the judges of PyPI in it.
fn python() -> PathBuf {
    let made = kept("judges", "python", &[REQUIREMENTS], |folder| {
        eprintln!("installing pydifact and pyx12 from PyPI (once)");
        install(Command::new(install::python()).args(["-m", "venv"]).arg(folder));
        fs::write(folder.join("requirements.txt"), REQUIREMENTS).expect("the folder was just made");
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        install(pip.arg(folder.join("requirements.txt")));
    });
    made.join("bin/python")
}

/// Node.js with the judges of npm at hand.
fn node() -> Command {
    let made = kept("judges", "node", &[PACKAGE], |folder| {
        eprintln!("installing edifact and node-x12 from npm (once)");
        fs::write(folder.join("package.json"), PACKAGE).expect("the folder was just made");
        let mut npm = Command::new(install::npm());
        install(npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder));
    });
    let mut command = Command::new("node");
    command.env("NODE_PATH", made.join("node_modules"));
    command
}

#[track_caller]
fn install(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "{command:?}: {}\n{said}\nThis test reads EDI with packages from PyPI and npm, which are fetched once and kept in \
         the build folder: it needs the network that one time (or a mirror, told to pip and npm the usual way).",
        done.status
    );
}
