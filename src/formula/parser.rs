//! Tokens → the tree of a formula, by precedence climbing.
//!
//! From loosest to tightest: `or`, `and`, `not`, comparisons and `in` (which do not chain), `+ -`, `* /`, unary `-`. A syntax
//! error ends the parse; an unknown function or a bad path is noted and the parse goes on, so several are told at once.

use regex::Regex;

use super::functions::{self, Function};
use super::lexer::{Lexeme, Token, tokens};
use super::{Issue, Path};
use crate::config::nearest;
use crate::message::{Number, Value};

/// Longest formula, in bytes.
const MAX_LENGTH: usize = 16 * 1024;
/// Deepest nesting of parentheses, lists, calls and signs.
const MAX_NESTING: usize = 64;
/// Deepest tree: a chain of operators counts too.
const MAX_DEPTH: u16 = 256;

#[derive(Clone, Debug)]
pub struct Expression {
    pub kind: ExpressionKind,
    pub from: usize,
    pub to: usize,
    depth: u16,
}

#[derive(Clone, Debug)]
pub enum ExpressionKind {
    Constant(Value),
    Path(Path),
    List(Vec<Expression>),
    Not(Box<Expression>),
    Negate(Box<Expression>),
    And(Box<[Expression; 2]>),
    Or(Box<[Expression; 2]>),
    Arithmetic(Arithmetic, Box<[Expression; 2]>),
    Compare(Comparison, Box<[Expression; 2]>),
    Call(Box<Call>),
    /// In place of something reported, so that the parse can go on; its arguments are still checked. Never evaluated.
    Faulty(Vec<Expression>),
}

#[derive(Clone, Debug)]
pub struct Call {
    pub function: &'static Function,
    pub arguments: Vec<Expression>,
    /// The regular expression, compiled once where it is written out.
    pub pattern: Option<Regex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    Different,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

#[derive(Clone, Copy)]
enum Infix {
    Or,
    And,
    Compare(Comparison),
    Arithmetic(Arithmetic),
}

const NOT: u8 = 3;
const COMPARE: u8 = 4;
const UNARY: u8 = 7;

/// The tree of `text`, unless a syntax error ended the parse, and everything wrong that the parse saw.
pub fn parse(text: &str) -> (Option<Expression>, Vec<Issue>) {
    if text.len() > MAX_LENGTH {
        return (None, vec![Issue::new(0, text.len(), "a formula longer than 16,384 characters", "too long")]);
    }
    match tokens(text) {
        Ok(lexemes) => {
            let mut parser = Parser { lexemes: &lexemes, at: 0, nesting: 0, issues: Vec::new() };
            (parser.whole().ok(), parser.issues)
        }
        Err(issue) => (None, vec![issue]),
    }
}

impl Expression {
    /// Calls `see` with every path in the tree.
    pub fn paths<'e>(&'e self, see: &mut dyn FnMut(&'e Path)) {
        if let ExpressionKind::Path(path) = &self.kind {
            see(path);
        }
        self.children().iter().for_each(|child| child.paths(see));
    }

    pub fn children(&self) -> &[Expression] {
        match &self.kind {
            ExpressionKind::Constant(_) | ExpressionKind::Path(_) => &[],
            ExpressionKind::List(items) | ExpressionKind::Faulty(items) => items,
            ExpressionKind::Not(inner) | ExpressionKind::Negate(inner) => std::slice::from_ref(inner),
            ExpressionKind::And(pair)
            | ExpressionKind::Or(pair)
            | ExpressionKind::Arithmetic(_, pair)
            | ExpressionKind::Compare(_, pair) => &**pair,
            ExpressionKind::Call(call) => &call.arguments,
        }
    }
}

struct Parser<'t> {
    lexemes: &'t [Lexeme<'t>],
    at: usize,
    nesting: usize,
    issues: Vec<Issue>,
}

/// A syntax error, already noted.
struct Stop;

impl<'t> Parser<'t> {
    fn whole(&mut self) -> Result<Expression, Stop> {
        let root = self.expression(0)?;
        let rest = self.peek();
        match &rest.token {
            Token::End => Ok(root),
            Token::Symbol(")" | "]") => Err(self.stop(rest, "a closing bracket that nothing opened", "remove it")),
            Token::Word("not") => {
                Err(self.stop_help(rest, "`not` stands before what it denies", "here", "write `not x in [a, b]`"))
            }
            _ => Err(self.stop(rest, "an operator is missing", "between what stands before and this")),
        }
    }

    fn expression(&mut self, minimum: u8) -> Result<Expression, Stop> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            let here = self.peek();
            return Err(self.stop(here, "nested deeper than 64 levels", "the limit is reached here"));
        }
        let mut left = self.prefix(minimum)?;
        while let Some((infix, power)) = infix(&self.peek().token) {
            if power < minimum {
                break;
            }
            let operator = self.take();
            let right = self.expression(power + 1)?;
            if power == COMPARE && matches!(infix_power(self.peek()), Some(COMPARE)) {
                let again = self.peek();
                return Err(self.stop_help(
                    again,
                    "comparisons do not chain",
                    "the second one",
                    "write `a < b and b < c`",
                ));
            }
            let (from, to) = (left.from, right.to);
            left = self.built(infix.build(left, right), from, to, operator)?;
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn prefix(&mut self, minimum: u8) -> Result<Expression, Stop> {
        let lexeme = self.take();
        let (from, to) = (lexeme.from, lexeme.to);
        let constant = |value| Ok(Expression { kind: ExpressionKind::Constant(value), from, to, depth: 1 });
        match &lexeme.token {
            Token::Number(digits) => self.number(digits, lexeme),
            Token::Text(text) => constant(Value::text(text.as_ref())),
            Token::Word("true") => constant(Value::Bool(true)),
            Token::Word("false") => constant(Value::Bool(false)),
            Token::Word("null") => constant(Value::Null),
            Token::Word("not") if minimum > NOT => Err(self.stop_help(
                lexeme,
                "`not` binds looser than the operator before it",
                "here",
                "put it between parentheses: `(not x)`",
            )),
            Token::Word("not") => {
                let inner = self.expression(NOT)?;
                let to = inner.to;
                self.built(ExpressionKind::Not(Box::new(inner)), from, to, lexeme)
            }
            Token::Symbol("-") => {
                let inner = self.expression(UNARY)?;
                let to = inner.to;
                self.built(ExpressionKind::Negate(Box::new(inner)), from, to, lexeme)
            }
            Token::Path(text) => Ok(self.path(text, lexeme)),
            Token::Symbol("(") => {
                let inner = self.expression(0)?;
                self.close(")", lexeme)?;
                Ok(inner)
            }
            Token::Symbol("[") => {
                let (items, to) = self.arguments("]", lexeme)?;
                self.built(ExpressionKind::List(items), from, to, lexeme)
            }
            Token::Word(name) if self.peek().token == Token::Symbol("(") => self.call(name, lexeme),
            Token::Word(name) => Err(self.lone_word(name, lexeme)),
            Token::End => Err(self.stop(lexeme, "the formula ends too early", "a value is missing here")),
            Token::Symbol(symbol) => {
                Err(self.stop(lexeme, format!("a value was expected, not `{symbol}`"), "a value is missing here"))
            }
        }
    }

    fn number(&mut self, digits: &str, lexeme: &Lexeme<'_>) -> Result<Expression, Stop> {
        let (from, to) = (lexeme.from, lexeme.to);
        match Number::read(digits) {
            Some(number @ Number::Decimal(_)) => {
                Ok(Expression { kind: ExpressionKind::Constant(Value::Number(number)), from, to, depth: 1 })
            }
            Some(Number::Wide(_)) => Err(self.stop(lexeme, "a number of more than 28 digits", "too many digits")),
            None => Err(self.stop_help(
                lexeme,
                "a number does not begin with a zero",
                "is this a number?",
                &format!("a code is text, between quotes: '{digits}'"),
            )),
        }
    }

    fn path(&mut self, text: &str, lexeme: &Lexeme<'_>) -> Expression {
        let kind = match Path::parse(text) {
            Ok(path) => ExpressionKind::Path(path),
            Err(issues) => {
                self.issues.extend(issues.into_iter().map(|issue| issue.moved(lexeme.from)));
                ExpressionKind::Faulty(Vec::new())
            }
        };
        Expression { kind, from: lexeme.from, to: lexeme.to, depth: 1 }
    }

    fn call(&mut self, name: &str, lexeme: &Lexeme<'_>) -> Result<Expression, Stop> {
        let open = self.take();
        let (arguments, to) = self.arguments(")", open)?;
        let Some(function) = functions::find(name) else {
            self.issues.push(unknown_function(name, lexeme));
            return self.built(ExpressionKind::Faulty(arguments), lexeme.from, to, lexeme);
        };
        let pattern = match functions::pattern_of(function, &arguments) {
            Ok(pattern) => pattern,
            Err(issue) => {
                self.issues.push(issue);
                None
            }
        };
        let call = Call { function, arguments, pattern };
        self.built(ExpressionKind::Call(Box::new(call)), lexeme.from, to, lexeme)
    }

    fn arguments(&mut self, close: &'static str, open: &Lexeme<'_>) -> Result<(Vec<Expression>, usize), Stop> {
        let mut items = Vec::new();
        if self.peek().token == Token::Symbol(close) {
            return Ok((items, self.take().to));
        }
        loop {
            items.push(self.expression(0)?);
            if self.peek().token == Token::Symbol(",") {
                self.take();
                continue;
            }
            return self.close(close, open).map(|to| (items, to));
        }
    }

    fn close(&mut self, close: &'static str, open: &Lexeme<'_>) -> Result<usize, Stop> {
        let here = self.peek();
        match &here.token {
            Token::Symbol(symbol) if *symbol == close => Ok(self.take().to),
            Token::End => Err(self.stop(open, format!("the `{close}` of this one is missing"), "opened here")),
            _ => Err(self.stop(here, format!("expected `,` or `{close}`"), "before this")),
        }
    }

    fn lone_word(&mut self, name: &str, lexeme: &Lexeme<'_>) -> Stop {
        let words = ["true", "false", "null", "not"];
        let lower = name.to_lowercase();
        let label = match (words.iter().find(|word| **word == lower), functions::find(name)) {
            (Some(word), _) => format!("written `{word}`"),
            (None, Some(_)) => format!("a function is called with parentheses: `{name}(…)`"),
            (None, None) => format!("a text is written '{name}', a field `$.{name}`"),
        };
        self.stop(lexeme, format!("unknown word `{name}`"), label)
    }

    fn built(&mut self, kind: ExpressionKind, from: usize, to: usize, place: &Lexeme<'_>) -> Result<Expression, Stop> {
        let mut expression = Expression { kind, from, to, depth: 0 };
        let deepest = expression.children().iter().map(|child| child.depth).max().unwrap_or(0);
        if deepest >= MAX_DEPTH {
            return Err(self.stop(place, "more than 256 operations in one chain", "the limit is reached here"));
        }
        expression.depth = deepest + 1;
        Ok(expression)
    }

    fn peek(&self) -> &'t Lexeme<'t> {
        // The last token is End, and `take` never goes past it.
        &self.lexemes[self.at]
    }

    fn take(&mut self) -> &'t Lexeme<'t> {
        let lexeme = &self.lexemes[self.at];
        self.at = (self.at + 1).min(self.lexemes.len() - 1);
        lexeme
    }

    fn stop(&mut self, lexeme: &Lexeme<'_>, message: impl Into<String>, label: impl Into<String>) -> Stop {
        self.issues.push(Issue::new(lexeme.from, lexeme.to, message, label));
        Stop
    }

    fn stop_help(&mut self, lexeme: &Lexeme<'_>, message: &str, label: &str, help: &str) -> Stop {
        self.issues.push(Issue::new(lexeme.from, lexeme.to, message, label).help(help));
        Stop
    }
}

impl Infix {
    fn build(self, left: Expression, right: Expression) -> ExpressionKind {
        let pair = Box::new([left, right]);
        match self {
            Infix::Or => ExpressionKind::Or(pair),
            Infix::And => ExpressionKind::And(pair),
            Infix::Compare(comparison) => ExpressionKind::Compare(comparison, pair),
            Infix::Arithmetic(arithmetic) => ExpressionKind::Arithmetic(arithmetic, pair),
        }
    }
}

/// The operator a token is, and how tightly it binds.
fn infix(token: &Token<'_>) -> Option<(Infix, u8)> {
    let compare = |comparison| Some((Infix::Compare(comparison), COMPARE));
    match token {
        Token::Word("or") => Some((Infix::Or, 1)),
        Token::Word("and") => Some((Infix::And, 2)),
        Token::Word("in") => compare(Comparison::In),
        Token::Symbol("==") => compare(Comparison::Equal),
        Token::Symbol("!=") => compare(Comparison::Different),
        Token::Symbol("<") => compare(Comparison::Less),
        Token::Symbol("<=") => compare(Comparison::LessOrEqual),
        Token::Symbol(">") => compare(Comparison::Greater),
        Token::Symbol(">=") => compare(Comparison::GreaterOrEqual),
        Token::Symbol("+") => Some((Infix::Arithmetic(Arithmetic::Add), 5)),
        Token::Symbol("-") => Some((Infix::Arithmetic(Arithmetic::Subtract), 5)),
        Token::Symbol("*") => Some((Infix::Arithmetic(Arithmetic::Multiply), 6)),
        Token::Symbol("/") => Some((Infix::Arithmetic(Arithmetic::Divide), 6)),
        _ => None,
    }
}

fn infix_power(lexeme: &Lexeme<'_>) -> Option<u8> {
    infix(&lexeme.token).map(|(_, power)| power)
}

fn unknown_function(name: &str, lexeme: &Lexeme<'_>) -> Issue {
    let issue = Issue::new(lexeme.from, lexeme.to, format!("unknown function `{name}`"), "");
    match nearest(name, functions::all().map(|function| function.name)) {
        Some(near) => issue.label(format!("did you mean `{near}`?")),
        None => issue.label("not known").help("`raccord explain formulas` lists them"),
    }
}

impl Issue {
    pub(super) fn new(from: usize, to: usize, message: impl Into<String>, label: impl Into<String>) -> Issue {
        Issue { from, to, message: message.into(), label: label.into(), help: None }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Issue {
        self.label = label.into();
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Issue {
        self.help = Some(help.into());
        self
    }

    /// The same issue in a text that stands `by` bytes further on.
    pub(super) fn moved(mut self, by: usize) -> Issue {
        self.from += by;
        self.to += by;
        self
    }
}
