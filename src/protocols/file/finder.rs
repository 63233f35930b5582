//! Which files of the watched folder are whole, oldest first.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::settings::{Complete, Pattern};
use crate::clock::later;

/// Files looked at in one go; the others wait their turn, so that a crowded folder does not fill the memory.
const MOST: usize = 1_000;

/// Looks for whole files and remembers which are still growing.
pub struct Finder {
    pub folder: PathBuf,
    pub matching: Pattern,
    pub complete: Complete,
    pub quiet_for: Duration,
    growing: HashMap<OsString, (State, Timestamp)>,
}

/// A whole file.
#[derive(Clone, Debug)]
pub struct Found {
    pub path: PathBuf,
    /// Its name, for people; not all names on a disk are text.
    pub name: String,
    pub state: State,
    /// What says that it is whole, to be removed with it.
    pub marker: Option<PathBuf>,
}

/// What changes when somebody writes to a file: size in bytes, modification time in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub size: u64,
    pub modified: i128,
}

/// What a look found.
pub struct Look {
    /// Oldest first; files of the same time in the order of their names.
    pub whole: Vec<Found>,
    /// Look again after this long, where a file is still growing.
    pub again: Option<Duration>,
}

impl State {
    pub fn of(metadata: &fs::Metadata) -> State {
        let nanoseconds = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        State { size: metadata.len(), modified: nanoseconds }
    }
}

impl Finder {
    pub fn new(folder: PathBuf, matching: Pattern, complete: Complete, quiet_for: Duration) -> Finder {
        Finder { folder, matching, complete, quiet_for, growing: HashMap::new() }
    }

    pub fn look(&mut self, now: Timestamp) -> io::Result<Look> {
        let mut oldest = BTreeSet::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            if !self.wanted(&name.to_string_lossy()) {
                continue;
            }
            // Not followed: a symbolic link could lead out of the folder.
            let Ok(metadata) = self.folder.join(&name).symlink_metadata() else { continue };
            if metadata.is_file() {
                let state = State::of(&metadata);
                oldest.insert((state.modified, name, state.size));
                if oldest.len() > MOST {
                    oldest.pop_last();
                }
            }
        }
        Ok(self.sort_out(oldest, now))
    }

    fn sort_out(&mut self, oldest: BTreeSet<(i128, OsString, u64)>, now: Timestamp) -> Look {
        let mut look = Look { whole: Vec::new(), again: None };
        let mut growing = HashMap::new();
        for (modified, name, size) in oldest {
            let state = State { size, modified };
            let path = self.folder.join(&name);
            let mut marker = None;
            let whole = match self.complete {
                Complete::Rename => true,
                Complete::Marker => {
                    let beside = marker_of(&path);
                    let there = beside.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
                    marker = Some(beside);
                    there
                }
                Complete::Quiet => {
                    let since = match self.growing.get(&name) {
                        Some((last, since)) if *last == state => *since,
                        _ => now,
                    };
                    let left = Duration::try_from(later(since, self.quiet_for).duration_since(now)).unwrap_or_default();
                    growing.insert(name.clone(), (state, since));
                    if !left.is_zero() {
                        look.again = Some(look.again.map_or(left, |again| again.min(left)));
                    }
                    left.is_zero()
                }
            };
            if whole {
                let name = name.to_string_lossy().into_owned();
                look.whole.push(Found { path, name, state, marker });
            }
        }
        self.growing = growing;
        look
    }

    fn wanted(&self, name: &str) -> bool {
        let unfinished = name.starts_with('.')
            || [".tmp", ".part", ".partial"].iter().any(|ending| name.ends_with(ending))
            || (self.complete == Complete::Marker && name.ends_with(".done"));
        !unfinished && self.matching.matches(name)
    }
}

fn marker_of(path: &std::path::Path) -> PathBuf {
    let mut marker = path.as_os_str().to_owned();
    marker.push(".done");
    marker.into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::Room;
    use super::*;

    /// What a look `seconds` after the start finds.
    fn look(finder: &mut Finder, seconds: i64) -> Vec<String> {
        let now = Timestamp::from_second(1_000_000 + seconds).expect("in range");
        finder.look(now).expect("the folder can be read").whole.into_iter().map(|found| found.name).collect()
    }

    fn finder(room: &Room, complete: Complete) -> Finder {
        Finder::new(room.path(""), Pattern::new("*.csv"), complete, Duration::from_secs(2))
    }

    #[test]
    fn a_file_is_whole_once_it_is_quiet() {
        let room = Room::new();
        let mut finder = finder(&room, Complete::Quiet);
        room.write("a.csv", "1\n");
        assert!(look(&mut finder, 0).is_empty());
        room.write("a.csv", "1\n2\n");
        assert!(look(&mut finder, 1).is_empty());
        assert!(look(&mut finder, 2).is_empty(), "it has changed a second ago");
        assert_eq!(look(&mut finder, 3), ["a.csv"]);
    }

    #[test]
    fn a_marker_stands_beside_a_whole_file() {
        let room = Room::new();
        let mut finder = finder(&room, Complete::Marker);
        finder.matching = Pattern::new("*");
        room.write("a.csv", "1\n");
        assert!(look(&mut finder, 0).is_empty());
        room.write("a.csv.done", "");
        assert_eq!(look(&mut finder, 0), ["a.csv"]);
    }

    #[test]
    fn unfinished_names_links_and_folders_are_left_alone() {
        let room = Room::new();
        let mut finder = finder(&room, Complete::Rename);
        finder.matching = Pattern::new("*");
        for name in [".a.csv", "a.csv.tmp", "a.csv.part", "a.partial", "sub/a.csv"] {
            room.write(name, "1");
        }
        let outside = Room::new();
        std::os::unix::fs::symlink(outside.write("secret.csv", "1"), room.path("link.csv")).expect("a link");
        assert!(look(&mut finder, 0).is_empty());
        fs::rename(room.path("a.csv.tmp"), room.path("a.csv")).expect("it renames");
        assert_eq!(look(&mut finder, 0), ["a.csv"]);
    }

    #[test]
    fn the_oldest_come_first() {
        let room = Room::new();
        let mut finder = finder(&room, Complete::Rename);
        for (name, second) in [("b.csv", 20), ("a.csv", 30), ("d.csv", 10), ("c.csv", 10)] {
            room.write(name, "1");
            room.set_modified(name, second);
        }
        assert_eq!(look(&mut finder, 0), ["c.csv", "d.csv", "b.csv", "a.csv"]);
    }
}
