//! Rust sources as words and marks, well enough to find paths in them.

#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub text: String,
    /// From 1.
    pub line: usize,
}

/// Words, `::` and single marks; comments, strings and character literals are left out.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    for (number, line) in blanked(text).lines().enumerate() {
        let mut rest = line.trim_start();
        while !rest.is_empty() {
            let word = rest.len() - rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
            let first = rest.chars().next().map_or(1, char::len_utf8);
            let length = if word > 0 {
                word
            } else if rest.starts_with("::") {
                2
            } else {
                first
            };
            out.push(Token { text: rest[..length].to_owned(), line: number + 1 });
            rest = rest[length..].trim_start();
        }
    }
    out
}

/// The text with comments, strings and character literals replaced by blanks; lines stay.
fn blanked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = skipped(rest, out.chars().last());
        if length > 0 {
            out.push(' ');
            out.extend(rest[..length].chars().filter(|c| *c == '\n'));
            rest = &rest[length..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// How many bytes of a comment or literal stand at the start of `rest`.
fn skipped(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return comment(rest);
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with('r') && !in_word {
        let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
        if rest[1 + hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = 2 + hashes;
            return rest[body..].find(&close).map_or(rest.len(), |end| body + end + close.len());
        }
    }
    // `'a'` and `'\n'` are characters, `'a` is a lifetime.
    let mut chars = rest.chars();
    if chars.next() == Some('\'') {
        let character = chars.next();
        if character == Some('\\') || (character.is_some() && chars.next() == Some('\'')) {
            return quoted(rest, '\'');
        }
    }
    0
}

fn quoted(rest: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == mark => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// Comments nest.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}
