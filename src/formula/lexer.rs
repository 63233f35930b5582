//! A formula's text → tokens.

use std::borrow::Cow;

use super::{Issue, path};

#[derive(Clone, Debug, PartialEq)]
pub enum Token<'t> {
    Number(&'t str),
    Text(Cow<'t, str>),
    /// A name, or one of the words `and or not in true false null`.
    Word(&'t str),
    Path(&'t str),
    /// `+ - * / == != < <= > >= ( ) [ ] ,`
    Symbol(&'static str),
    End,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Lexeme<'t> {
    pub token: Token<'t>,
    pub from: usize,
    pub to: usize,
}

/// Longer ones first.
const SYMBOLS: &[&str] = &["==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "(", ")", "[", "]", ","];

/// What people write from other languages, and what it is here.
const FOREIGN: &[(&str, &str)] = &[
    ("&&", "write `and`"),
    ("||", "write `or`"),
    ("=", "equal is written `==`"),
    ("!", "write `not`; different is written `!=`"),
    ("&", "texts are joined by `concat(a, b)`"),
    ("\"", "text stands between single quotes: 'text'"),
    ("’", "text stands between straight single quotes: 'text'"),
    ("‘", "text stands between straight single quotes: 'text'"),
    ("{", "a formula makes no maps; a template does"),
    ("?", "a choice is written `if(condition, a, b)`"),
    (".", "a field is chosen inside the path: first($.lines[*].name)"),
    (";", "arguments are separated by `,`"),
];

/// The tokens of `text`, ending with [`Token::End`].
pub fn tokens(text: &str) -> Result<Vec<Lexeme<'_>>, Issue> {
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        let (token, length) = next(&text[at..], at)?;
        let end = token == Token::End;
        out.push(Lexeme { token, from: at, to: at + length });
        if end {
            return Ok(out);
        }
        at += length;
    }
}

fn next(rest: &str, at: usize) -> Result<(Token<'_>, usize), Issue> {
    let Some(first) = rest.chars().next() else {
        return Ok((Token::End, 0));
    };
    match first {
        '$' => {
            let length = path::scan(rest);
            Ok((Token::Path(&rest[..length]), length))
        }
        '\'' => quoted(rest, at),
        '0'..='9' => Ok(number(rest)),
        first if first.is_alphabetic() || first == '_' => {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            Ok((Token::Word(&rest[..length]), length))
        }
        _ => symbol(rest, at),
    }
}

/// `'it''s'` is the text `it's`.
fn quoted(rest: &str, at: usize) -> Result<(Token<'_>, usize), Issue> {
    let mut end = 1;
    while let Some(quote) = rest[end..].find('\'') {
        end += quote + 1;
        if !rest[end..].starts_with('\'') {
            let inner = &rest[1..end - 1];
            let text = if inner.contains('\'') { Cow::Owned(inner.replace("''", "'")) } else { Cow::Borrowed(inner) };
            return Ok((Token::Text(text), end));
        }
        end += 1;
    }
    let issue = Issue::new(at, at + rest.len(), "a text without its closing quote", "begins here");
    Err(issue.help("a quote inside a text is written twice: 'l''heure'"))
}

fn number(rest: &str) -> (Token<'_>, usize) {
    let run = |from: usize| rest.as_bytes()[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = run(0);
    let fraction = if rest.as_bytes().get(whole) == Some(&b'.') { run(whole + 1) } else { 0 };
    let length = if fraction > 0 { whole + 1 + fraction } else { whole };
    (Token::Number(&rest[..length]), length)
}

fn symbol(rest: &str, at: usize) -> Result<(Token<'_>, usize), Issue> {
    if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        return Ok((Token::Symbol(symbol), symbol.len()));
    }
    let foreign = FOREIGN.iter().find(|(sign, _)| rest.starts_with(sign));
    let length = foreign.map_or_else(|| rest.chars().next().map_or(1, char::len_utf8), |(sign, _)| sign.len());
    let label = foreign.map_or("not known here", |(_, label)| label);
    Err(Issue::new(at, at + length, format!("`{}` is no part of a formula", &rest[..length]), label))
}
