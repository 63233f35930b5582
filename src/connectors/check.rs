//! What is wrong with a manifest though each of its fields can be read: a request without a method, a setting that is not
//! asked for, a call that comes later.

use std::collections::BTreeSet;

use reqwest::header::HeaderName;

use super::answer::LONGEST_CODE;
use super::connection::OWN_FIELDS;
use crate::config::{Key, Kind, Node, Reader, Span};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
const BODIES: [&str; 8] = ["json", "form", "multipart", "xml", "soap", "text", "graphql", "json_rpc"];
/// Forms that are always POSTed, to `base` where no path is given.
const POSTED: [&str; 3] = ["soap", "graphql", "json_rpc"];
/// Fields that are conditions: formulas without `=`.
const CONDITIONS: [&str; 6] = ["when", "keep", "missing", "failed", "retry", "done"];
/// Headers that say how a request is sent, which is not the manifest's to say.
const OWN_HEADERS: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "te"];

/// Reports what is wrong with the manifest `root`, whose `definitions` have been put in place.
pub fn check(root: &Node, reader: &mut Reader<'_>) {
    root.field("settings").into_iter().for_each(|settings| setting_names(settings, reader));
    let mut settings: Vec<&str> = root.field("settings").map(names).unwrap_or_default();
    settings.push("name");
    for (key, node) in fields(root).iter().filter(|(key, _)| key.name != "cases" && key.name != "definitions") {
        formulas(&key.name, node, &mut |node, text| {
            references("$connection", "setting", node, text, &settings, reader)
        });
    }
    root.field("headers").into_iter().for_each(|headers| header_names(headers, reader));
    root.field("errors").map(items).unwrap_or_default().iter().for_each(|rule| error_rule(rule, reader));
    let session = root.field("auth").and_then(|auth| auth.field("session"));
    session.and_then(|session| session.field("headers")).into_iter().for_each(|headers| header_names(headers, reader));
    let login = session.and_then(|session| session.field("login"));
    login.into_iter().chain(root.field("check")).for_each(|node| request(node, reader));
    for (_, node) in root.field("operations").map(fields).unwrap_or_default() {
        operation(node, reader);
    }
}

/// A connection has a name and fields of its own.
fn setting_names(settings: &Node, reader: &mut Reader<'_>) {
    for (key, _) in fields(settings) {
        if key.name == "name" {
            reader
                .error(key.span, "a setting cannot be called `name`")
                .label("`$connection.name` is the connection's own name")
                .help("call it after what it names: `shop_name`");
        } else if OWN_FIELDS.contains(&key.name.as_str()) {
            reader
                .error(key.span, format!("a setting cannot be called `{}`", key.name))
                .label("every connection has this field already")
                .help("`raccord explain connections` lists them");
        }
    }
}

fn operation(node: &Node, reader: &mut Reader<'_>) {
    match node.field("kind").and_then(Node::text) {
        Some("poll") => one_of("a poll", node, ["request", "job"], reader),
        Some("read") => one_of("a read", node, ["request", "calls"], reader),
        Some("write") => one_of("a write", node, ["request", "calls"], reader),
        _ => {}
    }
    if let Some(overlap) = node.field("cursor").and_then(|cursor| cursor.field("overlap"))
        && node.field("id").is_none()
    {
        reader
            .warning(overlap.span, "`overlap` without `id`: an item that comes again is known by its content alone")
            .label("what identifies an item?")
            .help("id: \"=concat($item.id, '@', $item.changed)\"");
    }
    node.field("request").into_iter().for_each(|node| request(node, reader));
    if let Some(job) = node.field("job") {
        for part in ["create", "poll", "download"] {
            job.field(part).into_iter().for_each(|node| request(node, reader));
        }
    }
    calls(node, reader);
}

fn one_of(what: &str, node: &Node, [one, other]: [&str; 2], reader: &mut Reader<'_>) {
    let given: Vec<&Key> =
        fields(node).iter().map(|(key, _)| key).filter(|key| key.name == one || key.name == other).collect();
    match given[..] {
        [] if !fields(node).is_empty() => {
            reader.error(node.span.part(0, 1), format!("{what} has `{one}` or `{other}`")).label("neither is here");
        }
        [_, second] => {
            reader.error(second.span, format!("{what} has `{one}` or `{other}`, not both")).label("remove one");
        }
        _ => {}
    }
}

/// Names stand once, and a result is used only after its call.
fn calls(operation: &Node, reader: &mut Reader<'_>) {
    let calls = operation.field("calls").map(items).unwrap_or_default();
    let mut known: Vec<&str> = Vec::new();
    for call in calls {
        formulas("", call, &mut |node, text| references("$calls", "earlier call", node, text, &known, reader));
        call.field("request").into_iter().for_each(|node| request(node, reader));
        let Some(name) = call.field("name") else { continue };
        let Some(text) = name.text() else { continue };
        if known.contains(&text) {
            reader.error(name.span, format!("two calls are called `{text}`")).label("give this one its own name");
        }
        known.push(text);
    }
    for (key, node) in fields(operation).iter().filter(|(key, _)| key.name != "calls") {
        formulas(&key.name, node, &mut |node, text| references("$calls", "call", node, text, &known, reader));
    }
}

fn request(node: &Node, reader: &mut Reader<'_>) {
    let given = |words: &[&str]| -> Vec<&(Key, Node)> {
        fields(node).iter().filter(|(key, _)| words.contains(&key.name.as_str())).collect()
    };
    let (methods, bodies) = (given(&METHODS), given(&BODIES));
    let posted = !given(&POSTED).is_empty();
    match methods[..] {
        [] if fields(node).is_empty() || posted => {}
        [] => {
            reader
                .error(node.span.part(0, 1), "a request names its method with its path")
                .label("`get`, `post`, `put`, `patch` or `delete`");
        }
        [_, (second, _), ..] => {
            reader.error(second.span, "a request has one method").label("this is another");
        }
        [(method, path)] => {
            if posted && method.name != "post" {
                reader.error(method.span, "SOAP, GraphQL and JSON-RPC are POSTed").label("write `post`");
            }
            if let ("get", Some((body, _))) = (method.name.as_str(), bodies.first()) {
                reader.error(body.span, "a GET has no body").label("remove this, or write another method");
            }
            values_in_path(path, reader);
        }
    }
    if let [_, (second, _), ..] = bodies[..] {
        reader.error(second.span, "a request has at most one body").label("this is another");
    }
    if let Some(content_type) = node.field("content_type")
        && node.field("text").is_none()
    {
        reader.warning(content_type.span, "`content_type` is that of `text`, and there is none").label("not used");
    }
    node.field("headers").into_iter().for_each(|headers| header_names(headers, reader));
}

/// A value of a message that holds `/` would make another path of it.
fn values_in_path(path: &Node, reader: &mut Reader<'_>) {
    let Some(formula) = path.text().and_then(|text| text.strip_prefix('=')) else { return };
    let data = ["$.", "$[", "$item", "$calls", "$input"];
    if let Some(root) = data.iter().find(|root| formula.contains(**root))
        && !formula.contains("url(")
    {
        let at = formula.find(*root).map_or(0, |at| at + 1);
        let text = path.text().unwrap_or_default();
        reader
            .warning(part(path, text, at, at + root.len()), "a value stands in the path as it is")
            .label("a `/` in it leads to another path")
            .help("write it as `url($.id)`");
    }
}

fn header_names(headers: &Node, reader: &mut Reader<'_>) {
    for (key, _) in fields(headers) {
        if HeaderName::try_from(key.name.as_str()).is_err() {
            reader.error(key.span, format!("`{}` cannot be the name of a header", key.name)).label("such as `X-Shop`");
        } else if OWN_HEADERS.contains(&key.name.to_lowercase().as_str()) {
            reader.error(key.span, format!("`{}` is set by the hub itself", key.name)).label("remove this");
        }
    }
}

fn error_rule(rule: &Node, reader: &mut Reader<'_>) {
    if !fields(rule).is_empty() && rule.field("status").is_none() && rule.field("when").is_none() {
        reader
            .error(rule.span.part(0, 1), "this rule fits every answer, the good ones too")
            .label("`status` or `when` is missing");
    }
    let Some(code) = rule.field("code") else { return };
    let text = code.text().unwrap_or_default();
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if !text.contains('-') || !text.split('-').all(word) || text.len() > LONGEST_CODE {
        reader.error(code.span, format!("`{text}` is no fault code")).label("such as `SHOP-STOCK-GONE`");
    }
}

/// Calls `see` with each scalar that is a path, a formula or a condition, and its text.
fn formulas<'n>(name: &str, node: &'n Node, see: &mut dyn FnMut(&'n Node, &'n str)) {
    match &node.kind {
        Kind::Null => {}
        Kind::Scalar { text, .. } => {
            if text.starts_with(['$', '=']) && !text.starts_with("${") || CONDITIONS.contains(&name) {
                see(node, text);
            }
        }
        Kind::List(items) => items.iter().for_each(|item| formulas(name, item, see)),
        Kind::Map { fields, .. } => fields.iter().for_each(|(key, node)| formulas(&key.name, node, see)),
    }
}

/// Reports each `ROOT.name` of a formula whose name is not known.
fn references(root: &str, what: &str, node: &Node, text: &str, known: &[&str], reader: &mut Reader<'_>) {
    let mut told = BTreeSet::new();
    for (at, _) in text.match_indices(root) {
        let after = at + root.len();
        let rest = text.get(after..).unwrap_or_default();
        let is_name = |character: char| character.is_alphanumeric() || character == '_';
        let (skipped, name) = if let Some(rest) = rest.strip_prefix('.') {
            (1, rest.split(|character| !is_name(character)).next())
        } else if let Some(rest) = rest.strip_prefix("['") {
            (2, rest.split('\'').next())
        } else {
            continue;
        };
        let name = name.unwrap_or_default();
        if !name.is_empty() && !known.contains(&name) && told.insert(name) {
            let span = part(node, text, after + skipped, after + skipped + name.len());
            reader.unknown(span, what, name, known.iter().copied());
        }
    }
}

/// Where bytes `from..to` of a scalar's text stand in its file; the whole scalar where the file does not hold it as it is.
fn part(node: &Node, text: &str, from: usize, to: usize) -> Span {
    match (node.span.end.saturating_sub(node.span.start) as usize).checked_sub(text.len()) {
        Some(0) => node.span.part(from, to),
        Some(2) => node.span.part(from + 1, to + 1),
        _ => node.span,
    }
}

fn fields(node: &Node) -> &[(Key, Node)] {
    match &node.kind {
        Kind::Map { fields, .. } => fields,
        _ => &[],
    }
}

fn items(node: &Node) -> &[Node] {
    match &node.kind {
        Kind::List(items) => items,
        _ => &[],
    }
}

fn names(node: &Node) -> Vec<&str> {
    fields(node).iter().map(|(key, _)| key.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use crate::connectors::testing::read_manifest;

    /// The problems of a manifest with these lines, each as `line N: what`.
    fn problems(lines: &str) -> Vec<String> {
        let head =
            "system: Test\nverified: { against: nothing }\nbase: $connection.url\nsettings: { url: { type: url } }\n";
        let (_, shown) = read_manifest(&format!("{head}{lines}"));
        let mut found = Vec::new();
        for line in shown.lines() {
            if let Some(what) = line.strip_prefix("error: ").or_else(|| line.strip_prefix("warning: ")) {
                found.push(what.to_owned());
            } else if let Some((_, place)) = line.split_once("test.yaml:")
                && let Some(last) = found.last_mut()
            {
                last.push_str(&format!(" ({place})"));
            }
        }
        found
    }

    #[test]
    fn a_good_manifest_has_no_problems() {
        let lines = "
headers: { X-Shop: $connection.url }
errors: [{ status: 404, then: missing, code: SHOP-NOT-THERE }]
operations:
  find:
    kind: read
    calls:
      - { name: one, request: { get: /one } }
      - { name: two, when: has($calls.one), request: { get: \"=concat('/two/', url($calls.one.id))\" } }
    result: $calls.two
  ask: { kind: read, request: { graphql: { query: '{ connection { calls } }' } } }
";
        assert_eq!(problems(lines), Vec::<String>::new());
    }

    #[test]
    fn a_connection_has_a_name_and_fields_of_its_own() {
        let lines = "headers: { X-Shop: $connection.name }\noperations: {}\n";
        assert_eq!(problems(lines), Vec::<String>::new());
        let (_, shown) = read_manifest(
            "system: Test\nverified: { against: nothing }\nbase: $connection.url\noperations: {}\n\
             settings: { url: { type: url }, name: { type: text }, proxy: { type: url } }\n",
        );
        for said in [
            "a setting cannot be called `name`",
            "`$connection.name` is the connection's own name",
            "a setting cannot be called `proxy`",
        ] {
            assert!(shown.contains(said), "{shown}");
        }
    }

    #[test]
    fn requests_are_checked() {
        let request = |lines: &str| problems(&format!("operations:\n  ask:\n    kind: read\n    request: {lines}"));
        assert_eq!(request("{ query: { a: b } }"), ["a request names its method with its path (8:14)"]);
        assert_eq!(request("{ get: /a, post: /b }"), ["a request has one method (8:25)"]);
        assert_eq!(request("{ post: /a, json: {}, text: x }"), ["a request has at most one body (8:36)"]);
        assert_eq!(request("{ get: /a, json: {} }"), ["a GET has no body (8:25)"]);
        assert_eq!(request("{ get: /a, headers: { 'X Y': a } }").len(), 1);
        assert_eq!(request("{ get: /a, headers: { Host: a } }"), ["`Host` is set by the hub itself (8:36)"]);
        assert_eq!(request("{ get: $connection.ulr }"), ["unknown setting `ulr` (8:33)"],);
        assert_eq!(request("{ get: \"=concat('/a/', $.id)\" }"), ["a value stands in the path as it is (8:37)"]);
    }

    #[test]
    fn operations_are_checked() {
        let operation = |lines: &str| problems(&format!("operations:\n  ask: {lines}"));
        assert_eq!(operation("{ kind: read }"), ["a read has `request` or `calls` (6:8)"]);
        assert_eq!(
            operation(
                "{ kind: poll, request: { get: /a }, job: { create: { post: /a }, poll: { get: /b }, done: true } }"
            ),
            ["a poll has `request` or `job`, not both (6:44)"],
        );
        assert_eq!(
            operation("{ kind: poll, request: { get: /a }, cursor: { value: $item.at, overlap: 5m } }").len(),
            1,
        );
        let later = "\n    kind: read\n    calls:\n      - { name: one, request: { get: /a, query: { x: $calls.two } } }\n      - { name: two, request: { get: /b } }\n      - { name: two, request: { get: /c } }\n    result: $calls.tow";
        assert_eq!(
            operation(later),
            ["unknown earlier call `two` (9:61)", "two calls are called `two` (11:17)", "unknown call `tow` (12:20)",],
        );
        assert_eq!(problems("errors: [{ then: retry, code: oops }]\noperations: {}").len(), 2);
    }
}
