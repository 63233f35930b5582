//! What can be known to be wrong before any message comes: argument counts, kinds as far as they are known, tables.

use super::Issue;
use super::functions::{self, Body, Kind, Special};
use super::parser::{Call, Comparison, Expression, ExpressionKind};
use crate::message::Value;

/// Everything wrong in the tree.
pub fn check(root: &Expression) -> Vec<Issue> {
    let mut issues = Vec::new();
    check_in(root, &mut issues);
    issues
}

/// A condition that is known not to give true or false.
pub fn check_condition(root: &Expression) -> Option<Issue> {
    match kind(root) {
        Kind::Any | Kind::Boolean => None,
        other => Some(Issue::new(
            root.from,
            root.to,
            format!("a condition gives true or false, this gives {}", other.word()),
            "compare it with something",
        )),
    }
}

type HasColumn<'a> = &'a dyn Fn(&str, &str) -> Option<bool>;

/// `table()` calls whose table or column does not exist.
pub fn check_tables(root: &Expression, has_column: HasColumn<'_>) -> Vec<Issue> {
    let mut issues = Vec::new();
    check_tables_in(root, has_column, &mut issues);
    issues
}

fn check_tables_in(expression: &Expression, has_column: HasColumn<'_>, issues: &mut Vec<Issue>) {
    if let ExpressionKind::Call(call) = &expression.kind
        && call.function.name == "table"
        && let [table, _, column, ..] = call.arguments.as_slice()
        && let (Some(name), Some(field)) = (constant_text(table), constant_text(column))
    {
        match has_column(name, field) {
            Some(true) => {}
            Some(false) => {
                let message = format!("table `{name}` has no column `{field}`");
                issues.push(Issue::new(column.from, column.to, message, "not in the first line of its file"));
            }
            None => issues.push(
                Issue::new(table.from, table.to, format!("there is no table `{name}`"), "not known")
                    .help(format!("tables are the files `config/tables/*.csv`: this one would be `{name}.csv`")),
            ),
        }
    }
    expression.children().iter().for_each(|child| check_tables_in(child, has_column, issues));
}

fn constant_text(expression: &Expression) -> Option<&str> {
    match &expression.kind {
        ExpressionKind::Constant(Value::Text(text)) => Some(text),
        _ => None,
    }
}

fn check_in(expression: &Expression, issues: &mut Vec<Issue>) {
    expression.children().iter().for_each(|child| check_in(child, issues));
    let mut want = |operand: &Expression, wanted: Kind, what: &str| {
        let found = kind(operand);
        if !wanted.takes(found) {
            let help = match (wanted, found) {
                (Kind::Number, Kind::Text) => {
                    Some("`number(…)` reads a number from text; texts are joined by `concat`")
                }
                _ => None,
            };
            let label = format!("this is {}", found.word());
            let mut issue = Issue::new(operand.from, operand.to, format!("{what} {}", wanted.word()), label);
            issue.help = help.map(str::to_owned);
            issues.push(issue);
        }
    };
    match &expression.kind {
        ExpressionKind::Not(inner) => want(inner, Kind::Boolean, "`not` wants"),
        ExpressionKind::And(pair) => pair.iter().for_each(|one| want(one, Kind::Boolean, "`and` wants")),
        ExpressionKind::Or(pair) => pair.iter().for_each(|one| want(one, Kind::Boolean, "`or` wants")),
        ExpressionKind::Negate(inner) => want(inner, Kind::Number, "`-` wants"),
        ExpressionKind::Arithmetic(_, pair) => pair.iter().for_each(|one| want(one, Kind::Number, "arithmetic wants")),
        ExpressionKind::Compare(Comparison::In, pair) => want(&pair[1], Kind::List, "after `in` stands"),
        ExpressionKind::Compare(comparison, pair) => check_compared(*comparison, pair, issues),
        ExpressionKind::Call(call) => check_call(call, expression, issues),
        _ => {}
    }
}

fn check_compared(comparison: Comparison, pair: &[Expression; 2], issues: &mut Vec<Issue>) {
    let (left, right) = (kind(&pair[0]), kind(&pair[1]));
    let equality = matches!(comparison, Comparison::Equal | Comparison::Different);
    let null = left == Kind::Null || right == Kind::Null;
    let fits = left == Kind::Any || right == Kind::Any || left == right || (null && equality);
    if !fits {
        issues.push(Issue::new(
            pair[0].from,
            pair[1].to,
            format!("{} is compared with {}", left.word(), right.word()),
            "never equal",
        ));
    }
}

fn check_call(call: &Call, whole: &Expression, issues: &mut Vec<Issue>) {
    let (function, given) = (call.function, call.arguments.len());
    let (least, most) = function.arity();
    if given < least || most.is_some_and(|most| given > most) {
        let issue = Issue::new(
            whole.from,
            whole.to,
            format!("`{}` takes {}, {given} given", function.name, count(least, most)),
            function.signature(),
        );
        issues.push(issue);
        return;
    }
    for (index, argument) in call.arguments.iter().enumerate() {
        let (parameter, found) = (function.parameter(index), kind(argument));
        if !parameter.kind.takes(found) {
            let message = format!("`{}` wants {} as `{}`", function.name, parameter.kind.word(), parameter.name);
            let issue = Issue::new(argument.from, argument.to, message, format!("this is {}", found.word()));
            issues.push(issue);
        } else if let Some(text) = constant_text(argument)
            && let Err(said) = functions::check_constant(parameter.kind, text)
        {
            issues.push(Issue::new(
                argument.from,
                argument.to,
                said,
                format!("`{}` of `{}`", parameter.name, function.name),
            ));
        }
    }
    match function.body {
        Body::Special(Special::Has) if !matches!(call.arguments[0].kind, ExpressionKind::Path(_)) => {
            issues.push(Issue::new(
                call.arguments[0].from,
                call.arguments[0].to,
                "`has` asks about a path",
                "not a path",
            ));
        }
        Body::Special(Special::Switch) if given < 3 => {
            issues.push(Issue::new(
                whole.from,
                whole.to,
                "`switch` wants at least one case and its result",
                function.signature(),
            ));
        }
        _ => {}
    }
}

fn count(least: usize, most: Option<usize>) -> String {
    let plural = |count: usize| if count == 1 { "1 argument".to_owned() } else { format!("{count} arguments") };
    match most {
        Some(0) => "no argument".to_owned(),
        Some(most) if most == least => plural(least),
        Some(most) => format!("{least} to {}", plural(most)),
        None => format!("at least {}", plural(least)),
    }
}

/// What kind of value an expression gives, as far as it is known.
fn kind(expression: &Expression) -> Kind {
    match &expression.kind {
        ExpressionKind::Constant(value) => Kind::of(value),
        ExpressionKind::Path(path) if path.is_index() => Kind::Number,
        ExpressionKind::Path(path) if !path.is_singular() => Kind::List,
        ExpressionKind::Path(_) | ExpressionKind::Faulty(_) => Kind::Any,
        ExpressionKind::List(_) => Kind::List,
        ExpressionKind::Not(_) | ExpressionKind::And(_) | ExpressionKind::Or(_) | ExpressionKind::Compare(..) => {
            Kind::Boolean
        }
        ExpressionKind::Negate(_) | ExpressionKind::Arithmetic(..) => Kind::Number,
        ExpressionKind::Call(call) => match (call.function.body, call.arguments.as_slice()) {
            (Body::Special(Special::If), [_, results @ ..]) => common(results.iter()),
            (Body::Special(Special::Coalesce), choices) => common(choices.iter()),
            _ => call.function.result,
        },
    }
}

fn common<'e>(expressions: impl Iterator<Item = &'e Expression>) -> Kind {
    let mut kinds = expressions.map(kind);
    let first = kinds.next().unwrap_or(Kind::Any);
    if kinds.all(|kind| kind == first) { first } else { Kind::Any }
}
