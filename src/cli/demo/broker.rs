//! `--queue rabbitmq`: the same demo with its queues on a broker.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use lapin::uri::{AMQPScheme, AMQPUri};
use tokio::net::TcpStream;

/// The variable the demo's configuration reads the password from.
const PASSWORD: &str = "DEMO_BROKER_PASSWORD";
/// What the demo's exchange and queues are called by: apart from any real hub's.
pub const PREFIX: &str = "raccord-demo";
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Where the demo's broker is and who connects.
pub struct Broker {
    uri: AMQPUri,
}

impl Broker {
    /// Of `amqp://user:password@host:port/vhost`. The address is not repeated where it is wrong: it holds a password.
    pub fn parse(address: &str) -> anyhow::Result<Broker> {
        let uri: AMQPUri = address
            .parse()
            .map_err(|error: String| anyhow::anyhow!("{error}"))
            .context("--broker is not an address such as amqp://user:password@host:5672/vhost")?;
        Ok(Broker { uri })
    }

    fn address(&self) -> String {
        let (host, port) = (&self.uri.authority.host, self.uri.authority.port);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Fails where nobody answers: the demo does not wait for a broker that was never started.
    pub async fn ensure_there(&self) -> anyhow::Result<()> {
        let address = self.address();
        let connected = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(&address)).await;
        let error = match connected {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} seconds", CONNECT_WITHIN.as_secs()),
        };
        anyhow::bail!(
            "no broker answers on {address}: {error}\n\
             Start one (Debian: apt-get install rabbitmq-server; Docker: docker run -p 5672:5672 rabbitmq:4), \
             or name another with --broker amqp://user:password@host:5672/vhost"
        )
    }

    /// Writes the broker into the demo's configuration; gives the variable it reads the password from.
    pub fn write_into(&self, folder: &Path) -> anyhow::Result<(String, String)> {
        let file = folder.join("config/raccord.yaml");
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let text = self.added_to(&text).context("the shipped configuration has no `queue:`")?;
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok((PASSWORD.to_owned(), self.uri.authority.userinfo.password.clone()))
    }

    fn added_to(&self, text: &str) -> Option<String> {
        let quoted =
            |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "$${"));
        let vhost = if self.uri.vhost.is_empty() { "/" } else { &self.uri.vhost };
        let tls = if self.uri.scheme == AMQPScheme::AMQPS { "    tls: {}\n" } else { "" };
        let section = format!(
            "\nqueue:\n  rabbitmq:\n    addresses: [{}]\n    vhost: {}\n    user: {}\n    password: ${{{PASSWORD}}}\n    \
             prefix: {PREFIX}\n    partitions: 4                 # few, for a try; the default is 16\n{tls}",
            quoted(&self.address()),
            quoted(vhost),
            quoted(&self.uri.authority.userinfo.username),
        );
        let (before, after) = text.split_once("\nqueue:\n")?;
        Some(format!("{before}{section}{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Files, HubSettings, Reader, parse};

    fn read(address: &str) -> HubSettings {
        let broker = Broker::parse(address).expect("it is an address");
        let shipped = super::super::Config::get("raccord.yaml").expect("it ships");
        let shipped = String::from_utf8(shipped.data.into_owned()).expect("it is text");
        let text = broker.added_to(&shipped).expect("it has a queue");
        let environment =
            Environment { only: Some([(PASSWORD.to_owned(), "x".to_owned())].into()), ..Environment::default() };
        let files = Files::default();
        let mut reader = Reader::new(&files, &environment);
        let file = files.add("config/raccord.yaml", text.clone());
        let node = parse(file, &text, &mut reader.problems).expect("it is YAML");
        let hub = HubSettings::read_checked(&node, &mut reader);
        assert!(reader.problems.is_empty(), "{address}: {:?}\n{text}", reader.problems);
        hub.expect("it is whole")
    }

    #[test]
    fn the_broker_stands_in_the_demos_configuration() {
        let check = |address: &str, expect: (&str, &str, &str, bool)| {
            let rabbit = read(address).queue.and_then(|queue| queue.rabbitmq).expect("it is there");
            let (vhost, user) = (rabbit.vhost.as_str(), rabbit.user.as_deref().unwrap_or_default());
            assert_eq!((rabbit.addresses[0].as_str(), vhost, user, rabbit.tls.is_some()), expect, "{address}");
        };
        check("amqp://guest:guest@127.0.0.1:5672", ("127.0.0.1:5672", "/", "guest", false));
        check("amqps://shop:p%40ss@rabbit/%2f", ("rabbit:5671", "/", "shop", true));
        check("amqp://a%22b:x@rabbit-2:5673/vh${X}", ("rabbit-2:5673", "vh${X}", "a\"b", false));
        for wrong in ["127.0.0.1:5672", "http://rabbit", ""] {
            assert!(Broker::parse(wrong).is_err(), "{wrong}");
        }
    }
}
