//! The segment table of a message: which segments in which order, and the groups they are in, which are drawn.
//!
//! ```text
//! 0010   UNH Message header                           M   1
//! 0020       ---- Segment group 1  ------------------ C   9-----------+
//! 0030   ABC Something                                M   1           |
//! 0040       ---- Segment group 2  ------------------ C   5----------+|
//! 0050   DEF Something whose name goes on in                         ||
//!            the next line                            M   1----------++
//! 0060   UNT Message trailer                          M   1
//! ```
//! A bar at the end is a group that is open, a `+` one that begins or ends there. The numbers may be missing.

use super::{Left, is_marker};
use crate::edi::syntax::Tag;

/// A message, its structure as the tables write it.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub name: String,
    /// `D.96A`, if the text says so.
    pub release: Option<String>,
    pub structure: String,
}

/// The message of a text; none where the text is of something else.
pub fn read(text: &str) -> Option<Result<Message, Left>> {
    let (name, release) = heading(text)?;
    let mut table = Table::default();
    for (index, line) in text.lines().enumerate() {
        match table.take(line) {
            Ok(false) => {}
            Ok(true) => return Some(Ok(Message { name, release, structure: table.structure })),
            Err(why) => return Some(Err(Left { line: index + 1, why: format!("{name}: {why}") })),
        }
    }
    // A message of an interactive exchange, which is another standard.
    if table.structure.is_empty() && text.contains("UIH") {
        return None;
    }
    let why = match table.structure.is_empty() {
        true => format!("{name} has no segment table that begins with UNH"),
        false => format!("the segment table of {name} does not end with UNT"),
    };
    Some(Err(Left { line: 0, why }))
}

/// `Message Type : ORDERS`, `Version : D`, `Release : 96A`, which stand at the beginning.
fn heading(text: &str) -> Option<(String, Option<String>)> {
    let said = |what: &str| {
        text.lines().take(120).find_map(|line| {
            let (before, after) = line.split_once(':')?;
            let word = after.split_whitespace().next()?;
            before.trim().eq_ignore_ascii_case(what).then(|| word.to_owned())
        })
    };
    let name = said("Message Type")?;
    let plain = (1..=6).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let release = said("Version").zip(said("Release")).map(|(version, release)| format!("{version}.{release}"));
    plain.then_some((name, release))
}

#[derive(Default)]
struct Table {
    structure: String,
    /// The groups that are open, and whether each waits for its first segment.
    open: Vec<bool>,
    /// A segment whose line goes on in the next.
    begun: Option<String>,
}

/// Deeper than any message.
const DEEPEST: usize = 30;

impl Table {
    /// Takes a line; true where it was the last of the table.
    fn take(&mut self, line: &str) -> Result<bool, String> {
        let whole = match self.begun.take() {
            Some(begun) => format!("{begun} {}", line.trim()),
            None => line.trim().to_owned(),
        };
        let numbered = whole.split(' ').next().is_some_and(is_position);
        let mut words: Vec<&str> = whole.split_whitespace().collect();
        if words.first().copied().is_some_and(is_position) {
            words.remove(0);
        }
        while words.first().copied().is_some_and(is_marker) && !words.first().is_some_and(|word| word.starts_with("--"))
        {
            words.remove(0);
        }
        let Some(first) = words.first().copied() else { return Ok(false) };
        let group = words.iter().position(|word| word.eq_ignore_ascii_case("group"));
        let group =
            group.filter(|at| *at > 0 && words[at - 1].eq_ignore_ascii_case("segment") && first.starts_with("--"));
        if group.is_some() {
            let usage = Usage::of(&words).ok_or("it is not said how often the group may stand")?;
            return self.group(&usage).map(|()| false);
        }
        let is_tag = first.len() == 3 && first.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if !is_tag || (self.structure.is_empty() && first != "UNH") {
            return Ok(false);
        }
        match Usage::of(&words) {
            Some(usage) => self.segment(first, &usage),
            // Before the table UNH is explained; in it a line without usage goes on.
            None if self.structure.is_empty() => Ok(false),
            None if numbered && whole.len() < 200 => {
                self.begun = Some(whole.trim_end_matches(['|', '+', '-', ' ']).to_owned());
                Ok(false)
            }
            None => Ok(false),
        }
    }

    fn group(&mut self, usage: &Usage) -> Result<(), String> {
        if self.structure.is_empty() {
            return Ok(());
        }
        if self.open.last() == Some(&true) {
            return Err("a group begins with a group".to_owned());
        }
        if usage.bars != self.open.len() || usage.turns != 1 {
            return Err(format!(
                "the lines at the end do not fit: {} of the {} open groups go on where a group begins",
                usage.bars,
                self.open.len()
            ));
        }
        if self.open.len() == DEEPEST {
            return Err("groups are nested too deep".to_owned());
        }
        self.open.push(true);
        let bang = if usage.mandatory { "!" } else { "" };
        // A group has a number in the tables, which says nothing.
        self.structure.push_str(&format!(" ({}{bang}{}", self.open.len(), usage.max()));
        Ok(())
    }

    fn segment(&mut self, tag: &str, usage: &Usage) -> Result<bool, String> {
        if Tag::new(tag).is_empty() {
            return Err(format!("`{tag}` is no segment"));
        }
        if usage.bars + usage.turns != self.open.len() {
            return Err(format!(
                "the lines at the end do not fit: {} open groups, but {} lines at {tag}",
                self.open.len(),
                usage.bars + usage.turns
            ));
        }
        if let Some(waits) = self.open.last_mut() {
            *waits = false;
        }
        if !self.structure.is_empty() {
            self.structure.push(' ');
        }
        let bang = if usage.mandatory { "!" } else { "" };
        self.structure.push_str(&format!("{tag}{bang}{}", usage.max()));
        for _ in 0..usage.turns {
            self.open.pop();
            self.structure.push(')');
        }
        Ok(tag == "UNT")
    }
}

fn is_position(word: &str) -> bool {
    (3..=5).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// `M   9------++|`
struct Usage {
    mandatory: bool,
    max: u32,
    /// `|`
    bars: usize,
    /// `+`
    turns: usize,
}

impl Usage {
    fn of(words: &[&str]) -> Option<Usage> {
        let at = (1..words.len().saturating_sub(1)).rev().find(|at| {
            let number = words[at + 1].starts_with(|c: char| c.is_ascii_digit());
            number && matches!(words[*at], "M" | "C")
        })?;
        let digits = words[at + 1].bytes().take_while(u8::is_ascii_digit).count();
        let (max, drawn) = words[at + 1].split_at(digits);
        let drawn: String = std::iter::once(drawn).chain(words[at + 2..].iter().copied()).collect();
        if !drawn.chars().all(|c| "-|+".contains(c)) {
            return None;
        }
        let count = |of: char| drawn.chars().filter(|c| *c == of).count();
        let max = max.parse().ok().filter(|max| *max > 0)?;
        Some(Usage { mandatory: words[at] == "M", max, bars: count('|'), turns: count('+') })
    }

    fn max(&self) -> String {
        if self.max > 1 { format!(":{}", self.max) } else { String::new() }
    }
}
