//! What `queue.rabbitmq` and `store.postgres` must say beyond their shapes: that they go together, where the servers are, who
//! connects, and numbers that a server can bear.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{HubSettings, Kind, Node, Reader, tls};
use crate::message::Text;

/// Checks the hub's file; `hub` is what was read of it, where it could be read.
pub(super) fn check(file: &Node, hub: Option<&HubSettings>, reader: &mut Reader<'_>) {
    let rabbit = map_at(file, "queue", "rabbitmq");
    let postgres = map_at(file, "store", "postgres");
    if let (None, Some(postgres)) = (rabbit, postgres) {
        reader
            .error(postgres.span.part(0, 1), "`store.postgres` needs `queue.rabbitmq`")
            .label("a shared store, and a queue in a file on this machine")
            .help("add `rabbitmq` under `queue` for several instances, or leave `store` out: one instance keeps all in its file");
    }
    if let Some(node) = rabbit {
        check_addresses(
            node,
            &Server { what: "broker", port: 5672, scheme: "amqp", tls: node.field("tls").is_some() },
            reader,
        );
        if let Some(settings) = hub.and_then(|hub| hub.queue.as_ref()?.rabbitmq.as_ref()) {
            let certificate = settings.tls.as_ref().is_some_and(|tls| tls.certificate.is_some());
            check_login(node, settings.user.as_ref(), settings.password.is_some(), certificate, reader);
            tls::check(node.field("tls"), settings.tls.as_ref(), reader);
            check_prefix(node, &settings.prefix, reader);
            within(node, "partitions", settings.partitions, 1..=256, reader);
            within(node, "unconfirmed", settings.unconfirmed, 1..=65_535, reader);
            long_enough(node, "heartbeat", settings.heartbeat, reader);
            long_enough(node, "confirm_within", settings.confirm_within, reader);
        }
    }
    if let Some(node) = postgres {
        check_addresses(node, &Server { what: "database", port: 5432, scheme: "postgres", tls: false }, reader);
        if let Some(settings) = hub.and_then(|hub| Some(&hub.store.as_ref()?.postgres)) {
            tls::check(node.field("tls"), settings.tls.as_ref(), reader);
            check_schema(node, &settings.schema, reader);
            within(node, "connections", settings.connections, 4..=500, reader);
            long_enough(node, "statement_within", settings.statement_within, reader);
        }
    }
}

/// The map under `outer.inner`; anything else in its place was reported where it was read.
fn map_at<'n>(file: &'n Node, outer: &str, inner: &str) -> Option<&'n Node> {
    file.field(outer)?.field(inner).filter(|node| matches!(node.kind, Kind::Map { .. }))
}

/// What is known of a kind of server, to tell what was likely meant.
struct Server {
    what: &'static str,
    port: u16,
    scheme: &'static str,
    /// Its connections are encrypted.
    tls: bool,
}

fn check_addresses(node: &Node, server: &Server, reader: &mut Reader<'_>) {
    let Some(addresses) = node.field("addresses") else {
        reader
            .error(node.span.part(0, 1), format!("`addresses` is missing: where is the {}?", server.what))
            .help(format!("write `addresses: [localhost:{}]`, or all of a cluster's", server.port));
        return;
    };
    let Kind::List(items) = &addresses.kind else { return };
    if items.is_empty() {
        reader
            .error(addresses.span, format!("`addresses` names no {}", server.what))
            .help(format!("write `addresses: [localhost:{}]`, or all of a cluster's", server.port));
    }
    for item in items {
        // What is no text, or a reference that leads nowhere, was reported where it was read.
        let Some(written) = item.text() else { continue };
        let Ok(expanded) = reader.environment.expand(written) else { continue };
        let (text, shown) = match &expanded {
            // What came through a reference is not repeated.
            Some(text) => (text.as_str(), "the value".to_owned()),
            None => (written, format!("`{written}`")),
        };
        if let Err((why, help)) = address(text, server) {
            reader.error(item.span, format!("{shown} is not `host` or `host:port`: {why}")).help(help);
        } else if text.ends_with(":15672") && server.port == 5672 {
            reader
                .warning(item.span, "15672 is the port of the broker's web console")
                .help("messages go through 5672, with TLS 5671");
        } else if text.ends_with(":5671") && server.port == 5672 && !server.tls {
            reader.warning(item.span, "5671 is the port for encrypted connections").help("add `tls: {}`");
        }
    }
}

/// Refuses what is no `host` or `host:port`, with why and what to write.
fn address(text: &str, server: &Server) -> Result<(), (String, String)> {
    let host_and_port = format!("write `host:{}`", server.port);
    if let Some((_, rest)) = text.split_once("://") {
        let rest = rest.split(['/', '?']).next().unwrap_or_default();
        let host = rest.rsplit('@').next().unwrap_or_default();
        let encrypted = if text.starts_with("amqps:") { ", and `tls: {}`" } else { "" };
        let names = if server.scheme == "amqp" {
            "`user`, `password` and `vhost`"
        } else {
            "`user`, `password` and `database`"
        };
        return Err(("it is a URL".into(), format!("write `{host}`; {names} have keys of their own{encrypted}")));
    }
    if text.contains([',', ' ', ';']) {
        return Err((
            "it holds several, or a blank".into(),
            "write each as an item of its own: `[one:5672, two:5672]`".replace("5672", &server.port.to_string()),
        ));
    }
    if text.contains(['/', '@']) {
        return Err(("it holds more than that".into(), host_and_port));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((host, port)) = rest.split_once(']') else {
                return Err(("`[` without its `]`".into(), "an IPv6 address is written `\"[::1]:5672\"`".into()));
            };
            (host, port.strip_prefix(':').or((!port.is_empty()).then_some(port)))
        }
        None if text.matches(':').count() > 1 => {
            return Err(("an IPv6 address stands in brackets".into(), format!("write `\"[{text}]:{}\"`", server.port)));
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(("the host is missing".into(), host_and_port));
    }
    match port.map(str::parse::<u16>) {
        None => Ok(()),
        Some(Ok(port)) if port > 0 => Ok(()),
        Some(_) => Err(("a port is a number from 1 to 65535".into(), host_and_port)),
    }
}

fn check_login(node: &Node, user: Option<&Text>, password: bool, certificate: bool, reader: &mut Reader<'_>) {
    let span = node.span.part(0, 1);
    match (user.is_some(), password) {
        (true, true) => {}
        (true, false) => {
            reader
                .error(span, "`password` is missing")
                .help("write `password: ${RABBITMQ_PASSWORD}`, and set the variable");
        }
        (false, true) => {
            reader.error(span, "`user` is missing").help("a password alone tells the broker nobody");
        }
        (false, false) if certificate => {}
        (false, false) => {
            reader.error(span, "who connects is not said").help(
                "write `user` and `password`, or `tls: { certificate: ..., key: ... }` where the broker knows people by certificates",
            );
        }
    }
}

fn check_prefix(node: &Node, prefix: &Text, reader: &mut Reader<'_>) {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(fits) || prefix.starts_with("amq.") {
        reader
            .error(
                node.field("prefix").map_or(node.span, |node| node.span),
                "`prefix` cannot begin the name of a queue",
            )
            .help("letters, digits, `-`, `_` and `.` only, at most 64; `amq.` is the broker's own");
    }
}

fn check_schema(node: &Node, schema: &Text, reader: &mut Reader<'_>) {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins = schema.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    if !begins || schema.len() > 63 || !schema.bytes().all(fits) || schema.starts_with("pg_") {
        reader
            .error(node.field("schema").map_or(node.span, |node| node.span), "`schema` cannot name a schema")
            .help("small letters, digits and `_` only, at most 63; `pg_` is the database's own");
    }
}

fn within(node: &Node, name: &str, value: u32, range: RangeInclusive<u32>, reader: &mut Reader<'_>) {
    if !range.contains(&value) {
        let span = node.field(name).map_or(node.span, |node| node.span);
        let label = format!("from {} to {}", range.start(), range.end());
        reader.error(span, format!("`{name}` cannot be {value}")).label(label);
    }
}

fn long_enough(node: &Node, name: &str, value: Duration, reader: &mut Reader<'_>) {
    if value < Duration::from_secs(1) || value > Duration::from_secs(3600) {
        let span = node.field(name).map_or(node.span, |node| node.span);
        reader.error(span, format!("`{name}` is out of bounds")).label("from 1s to 1h");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Environment, Files, Setting, parse};
    use super::*;

    /// What is told about the hub's file, each problem with the text it marks.
    fn told(yaml: &str) -> Vec<String> {
        told_in(Path::new(""), yaml)
    }

    /// As `told`, in the hub's `folder`.
    fn told_in(folder: &Path, yaml: &str) -> Vec<String> {
        let files = Files::default();
        let variables = [("PASSWORD".to_owned(), "x".to_owned()), ("HOSTS".to_owned(), "a b".to_owned())];
        let environment = Environment { only: Some(variables.into()), folder: folder.to_owned() };
        let mut reader = Reader::new(&files, &environment);
        let text = format!("name: test\n{yaml}\n");
        let file = files.add("config/raccord.yaml", text.clone());
        let node = parse(file, &text, &mut reader.problems).expect("it is YAML");
        let hub = HubSettings::read(&node, &mut reader);
        check(&node, hub.as_ref(), &mut reader);
        let shown = |problem: &super::super::Problem| {
            let marked = &text[problem.span.start as usize..problem.span.end as usize];
            format!("{marked}: {}; {}", problem.message, problem.help.as_deref().unwrap_or(&problem.label))
        };
        reader.problems.iter().map(shown).collect()
    }

    const LOGIN: &str = "user: hub, password: '${PASSWORD}'";

    fn addresses_told(addresses: &str) -> Vec<String> {
        told(&format!("queue: {{ rabbitmq: {{ addresses: {addresses}, {LOGIN} }} }}"))
    }

    #[test]
    fn a_shared_store_needs_a_shared_queue() {
        let postgres = "store: { postgres: { addresses: [localhost] } }";
        let rabbit = format!("queue: {{ rabbitmq: {{ addresses: [localhost], {LOGIN} }} }}");
        assert_eq!(told(&format!("{rabbit}\n{postgres}")), [] as [&str; 0]);
        assert_eq!(told(&rabbit), [] as [&str; 0], "one instance may keep its store in its file");
        let said = told(postgres);
        assert!(said.len() == 1 && said[0].contains("needs `queue.rabbitmq`"), "{said:?}");
    }

    #[test]
    fn addresses_are_hosts_and_ports() {
        for right in ["[localhost]", "[rabbit-1:5672, rabbit-2.example:5673]", "['[::1]:5672', 10.0.0.1]"] {
            assert_eq!(addresses_told(right), [] as [&str; 0], "{right}");
        }
        let check = |addresses: &str, expect: &str| {
            let said = addresses_told(addresses);
            assert!(said.len() == 1 && said[0].contains(expect), "{addresses}: {said:?}");
        };
        check("[]", "names no broker");
        check(
            "['amqps://hub:secret@rabbit:5671/shop']",
            "write `rabbit:5671`; `user`, `password` and `vhost` have keys of their own, and `tls: {}`",
        );
        check("['a:5672,b:5672']", "each as an item of its own");
        check("['a:port']", "'a:port': `a:port` is not");
        check("['a:0']", "a port is a number");
        check("['a:70000']", "a port is a number");
        check("[':5672']", "the host is missing");
        check("['::1']", "write `\"[::1]:5672\"`");
        check("['a/vhost']", "write `host:5672`");
        check("['${HOSTS}']", "the value is not");
        check("['a:15672']", "web console");
        check("['a:5671']", "add `tls: {}`");
        let said = told(&format!("queue: {{ rabbitmq: {{ {LOGIN} }} }}"));
        assert!(said.len() == 1 && said[0].contains("`addresses` is missing"), "{said:?}");
    }

    #[test]
    fn who_connects_is_said() {
        let check = |rest: &str, expect: &str| {
            let said = told(&format!("queue: {{ rabbitmq: {{ addresses: [a], {rest} }} }}"));
            assert!(said.len() == 1 && said[0].contains(expect), "{rest}: {said:?}");
        };
        check("user: hub", "`password` is missing");
        check("password: '${PASSWORD}'", "`user` is missing");
        check("vhost: shop", "who connects is not said");
        check("user: hub, password: plain", "a secret is never written");
    }

    #[test]
    fn files_of_certificates_are_looked_at() {
        let folder = std::env::temp_dir().join(format!("raccord-{}", crate::message::MessageId::draw()));
        std::fs::create_dir_all(&folder).expect("folders can be made");
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("files can be written");
        for name in ["hub", "other"] {
            let made = rcgen::generate_simple_self_signed(vec!["hub.example".into()]).expect("a certificate is made");
            write(&format!("{name}.pem"), &made.cert.pem());
            write(&format!("{name}.key"), &made.signing_key.serialize_pem());
        }
        write("empty.pem", "");
        let rabbit = |tls: &str| format!("queue: {{ rabbitmq: {{ addresses: [a], {LOGIN}, tls: {{ {tls} }} }} }}");
        let check = |tls: &str, expect: &[&str]| {
            let said = told_in(&folder, &rabbit(tls));
            assert_eq!(said.len(), expect.len(), "{tls}: {said:?}");
            for (said, expect) in said.iter().zip(expect) {
                assert!(said.contains(expect), "{tls}: {said}");
            }
        };
        check("ca: hub.pem, certificate: hub.pem, key: hub.key", &[]);
        check("certificate: hub.pem", &["`tls.key` is missing"]);
        check("key: hub.key", &["`tls.certificate` is missing"]);
        check("ca: absent.pem", &["absent.pem: the file absent.pem cannot be read: No such file"]);
        check("ca: empty.pem", &["empty.pem: the file empty.pem holds no certificates in PEM"]);
        check(
            "certificate: hub.key, key: hub.pem",
            &["hub.key: the file hub.key holds no", "hub.pem: the file hub.pem"],
        );
        check("certificate: hub.pem, key: other.key", &["hub.pem: the file hub.pem does not go with its key"]);
        let by_certificate = "queue: { rabbitmq: { addresses: [a], tls: { certificate: hub.pem, key: hub.key } } }";
        assert_eq!(told_in(&folder, by_certificate), [] as [&str; 0], "the certificate says who connects");
        let postgres = "store: { postgres: { addresses: [a], tls: { ca: absent.pem } } }";
        let said = told_in(&folder, &format!("{}\n{postgres}", rabbit("")));
        assert!(said.len() == 1 && said[0].starts_with("absent.pem: "), "{said:?}");
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
    }

    #[test]
    fn numbers_and_names_are_bounded() {
        let check = |rest: &str, expect: &str| {
            let said = told(&format!("queue: {{ rabbitmq: {{ addresses: [a], {LOGIN}, {rest} }} }}"));
            assert!(said.len() == 1 && said[0].contains(expect), "{rest}: {said:?}");
        };
        check("partitions: 0", "0: `partitions` cannot be 0; from 1 to 256");
        check("unconfirmed: 70000", "from 1 to 65535");
        check("heartbeat: 10ms", "from 1s to 1h");
        check("prefix: 'a b'", "letters, digits");
        let rabbit = format!("queue: {{ rabbitmq: {{ addresses: [a], {LOGIN} }} }}");
        let said =
            told(&format!("{rabbit}\nstore: {{ postgres: {{ addresses: [a], schema: Shop, connections: 1 }} }}"));
        assert_eq!(said.len(), 2, "{said:?}");
    }
}
