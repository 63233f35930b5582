//! What may be written under `protocol: file`.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Node, Reader, Setting, Shape, Size, choice, settings};
use crate::formula::Template;
use crate::message::Text;

settings! {
    /// Takes the files that appear in a folder, each once, then puts them away.
    ///
    /// The format decides what one message is: a record (a line of a CSV file, a repeated element of an XML file) or the
    /// whole file. `$headers` holds `file_name`, `file_folder`, `modified` and `row`, the number of the record in its file.
    ///
    /// Hidden files, `.tmp`, `.part`, `.partial`, folders and symbolic links are left alone. A file that somebody moves back
    /// into the folder is read again, and its messages have the same ids as before: receivers that know repeats ignore them.
    /// Change its modification time (`touch`) to make new messages of it.
    pub struct FileSourceSettings {
        /// The folder to watch. A relative one starts at the hub's folder and is created; an absolute one must be there.
        folder: PathBuf,
        /// Which files: `*` stands for any characters, `?` for one. Other files are left alone.
        r#match: Pattern = "*",
        /// How raccord knows that a file is whole. Ask the system that writes it.
        complete: Complete = "quiet",
        /// With `complete: quiet`: how long size and modification time must stand still. Raise it for slow or stuttering uploads.
        quiet_for: Duration = "2s",
        /// Where a message is a whole file (the format says so): larger ones are moved to `failed`. Each is held in memory as a
        /// whole. Files that are taken record by record may have any size.
        max_file: Size = "10MB",
        /// What to do with a file once all of it is safely stored.
        after: After = "move",
        /// Where files go that were taken; relative to `folder`. A name that is taken gets a number. raccord never empties it.
        done: PathBuf = "done",
        /// Where files go that could not be taken; relative to `folder`. Beside each, `<name>.error.txt` says why.
        failed: PathBuf = "failed",
        /// How often to look, besides the system's own notice: network shares give none.
        poll: Duration = "5s",
    }
}

settings! {
    /// Writes messages into files. A file appears whole and safely on the disk under its name, or not at all.
    pub struct FileTargetSettings {
        /// The folder to write into; a relative one starts at the hub's folder. It is created.
        folder: PathBuf,
        /// The file's name, a constant or a formula such as `"=concat($.number, '.json')"`. It stays in the folder: a name
        /// with `/`, `\`, a leading dot, control characters or more than 200 bytes is refused.
        name: FileName,
        /// One file a message, or messages after one another in a file.
        mode: Mode = "one_message",
        /// What to do where a file of this name is there with other content. The same content is never an error.
        exists: Exists = "refuse",
    }
}

choice! {
    /// How raccord knows that a file is whole.
    pub enum Complete {
        /// Its size and modification time have not changed for `quiet_for`.
        Quiet = "quiet",
        /// An empty file of the same name with `.done` behind it stands beside it: `prices.csv.done`. It is removed after.
        Marker = "marker",
        /// It appears whole, by a rename: the sender uploads under another name (hidden, `.tmp`, `.part`), then renames.
        Rename = "rename",
    }
}

choice! {
    /// What to do with a file once it is taken.
    pub enum After {
        /// Moves it to `done`.
        Move = "move",
        /// Deletes it.
        Delete = "delete",
    }
}

choice! {
    /// How messages become files.
    pub enum Mode {
        /// One file a message.
        OneMessage = "one_message",
        /// Messages after one another in one file, which readers may see growing; where the format has a header line, it stands first.
        Append = "append",
    }
}

choice! {
    /// What to do where a file of this name is there with other content.
    pub enum Exists {
        /// The message goes to dead letters.
        Refuse = "refuse",
        /// The new content takes its place, at once.
        Replace = "replace",
        /// The new file's name gets the message's id before its extension: `order-5f3c….json`.
        AddId = "add_id",
    }
}

/// A pattern for file names, with `*` and `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Text);

impl Pattern {
    pub fn new(pattern: &str) -> Pattern {
        Pattern(pattern.into())
    }

    pub fn matches(&self, name: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let name: Vec<char> = name.chars().collect();
        let (mut p, mut n, mut star) = (0, 0, None);
        while n < name.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(c) if *c == '?' || *c == name[n] => {
                    p += 1;
                    n += 1;
                }
                // Let the last star take one more character.
                _ => match star {
                    Some((at, taken)) => {
                        star = Some((at, taken + 1));
                        p = at + 1;
                        n = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }
}

impl Setting for Pattern {
    fn shape() -> Shape {
        Shape::Text { what: "pattern of file names", pattern: None, example: "*.csv" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Pattern> {
        reader.parsed(node, "a pattern of file names (without folders)", |text| {
            (!text.is_empty() && !text.contains('/')).then(|| Pattern::new(text))
        })
    }
}

/// The template of a file name.
#[derive(Clone, Debug)]
pub struct FileName {
    pub template: Template,
    /// Nothing but the source file decides it: constants and `$headers.file_name`.
    pub of_source: bool,
}

impl Setting for FileName {
    fn shape() -> Shape {
        Template::shape()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<FileName> {
        let of_source = node.text().is_some_and(depends_on_source_only);
        Template::read(node, reader).map(|template| FileName { template, of_source })
    }
}

/// Judges by the text: where in doubt, no.
fn depends_on_source_only(text: &str) -> bool {
    if !text.starts_with(['$', '=']) {
        return true;
    }
    let paths = text.split('$').skip(1);
    let file_name = |path: &str| {
        path.strip_prefix("headers.file_name")
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '[')))
    };
    paths.into_iter().all(file_name) && !["now(", "today(", "uuid("].iter().any(|call| text.contains(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let check = |pattern: &str, name: &str, expect: bool| {
            assert_eq!(Pattern::new(pattern).matches(name), expect, "{pattern} {name}");
        };
        check("*", "a.csv", true);
        check("*.csv", "a.csv", true);
        check("*.csv", "a.csv.gz", false);
        check("prix-??.csv", "prix-12.csv", true);
        check("prix-??.csv", "prix-1.csv", false);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-b-b", false);
        check("é?", "éà", true);
        check(&format!("{}b", "*a".repeat(20)), &"a".repeat(200), false);
    }

    #[test]
    fn a_name_of_the_source_alone_is_recognised() {
        let check = |text: &str, expect: bool| assert_eq!(depends_on_source_only(text), expect, "{text}");
        check("prices.csv", true);
        check("$headers.file_name", true);
        check("=concat('out-', $headers.file_name)", true);
        check("=concat($headers.file_name, $.store)", false);
        check("$headers.file_name_old", false);
        check("=concat(format_date(now(), 'yyyyMMdd'), '.csv')", false);
        check("$.number", false);
    }
}
