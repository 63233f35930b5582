//! Encrypted connections: who is trusted, who is not, and what is said then.

use super::*;
use crate::config::TlsSettings;
use crate::parts::certificates::{Authority, Issued};
use crate::parts::rabbitmq::{Options, Rabbit as Broker, Tls};
use crate::parts::server::Folder;
use crate::queue::broker::Broker as _;

/// PEM files of one test.
struct Files(Folder);

impl Files {
    fn new() -> Files {
        Files(Folder::private("pem"))
    }

    fn ca(&self, name: &str, authority: &Authority) -> TlsSettings {
        let ca = Some(self.0.write(name, &authority.pem()));
        TlsSettings { ca, certificate: None, key: None, server_name: None }
    }

    fn shows(&self, name: &str, issued: &Issued, tls: TlsSettings) -> TlsSettings {
        let certificate = Some(self.0.write(&format!("{name}.pem"), &issued.certificate));
        let key = Some(self.0.write(&format!("{name}-key.pem"), &issued.key));
        TlsSettings { certificate, key, ..tls }
    }
}

fn over_tls(vhost: &Vhost, tls: TlsSettings) -> RabbitSettings {
    let address = format!("127.0.0.1:{}", vhost.rabbit().tls_port());
    RabbitSettings { addresses: vec![Text::new(address)], tls: Some(tls), ..settings(vhost) }
}

async fn refused(settings: &RabbitSettings, code: &str, words: &str) {
    let fault = open(settings).declare("orders", Sharing::Single).await.expect_err(words);
    assert_eq!((fault.code(), fault.next()), (code, Next::Misconfigured), "{fault}");
    assert!(fault.to_string().contains(words), "{words}: {fault}");
}

/// Without a certificate that the broker trusts. Its word on that comes after the handshake (TLS 1.3), and is lost where the
/// connection is reset before it was read.
async fn uncertified(settings: &RabbitSettings) {
    let fault = open(settings).declare("orders", Sharing::Single).await.expect_err("no certificate");
    let known = [("AMQP-TLS", Next::Misconfigured), ("AMQP-GONE", Next::Reconnect)];
    assert!(known.contains(&(fault.code(), fault.next())), "{fault}");
    let wanted =
        "give a client certificate that it trusts as `queue.rabbitmq.tls.certificate` and `queue.rabbitmq.tls.key`";
    assert!(fault.to_string().contains(wanted), "{fault}");
}

async fn accepted(settings: &RabbitSettings) {
    let rabbit = open(settings);
    rabbit.declare("orders", Sharing::Single).await.expect("connected");
    publish(&rabbit, Some(0), 0..3).await;
    let mut subscribed = rabbit.subscribe(&lane(Some(0)), WINDOW).await.expect("subscribed");
    let got = receive(&mut subscribed.deliveries, 3).await;
    assert_eq!(numbers(&got), [0, 1, 2]);
    subscribed.acks.ack(&tags(&got));
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_shows_who_it_is() {
    let (authority, stranger, files) = (Authority::new(), Authority::new(), Files::new());
    let mut shown = Tls::of(&authority, false);
    let issued = authority.server(&["mq.harbour.example"]);
    (shown.certificate, shown.key) = (issued.certificate, issued.key);
    let broker = Broker::private(&Options { tls: Some(shown), ..Options::default() });
    let vhost = broker.vhost();
    let trusted = files.ca("ca.pem", &authority);
    let named = |name: &str| TlsSettings { server_name: Some(name.into()), ..trusted.clone() };
    accepted(&over_tls(&vhost, named("mq.harbour.example"))).await;
    refused(
        &over_tls(&vhost, trusted.clone()),
        "AMQP-TLS",
        "for another name: give the name it has as `queue.rabbitmq.tls.server_name`",
    )
    .await;
    refused(&over_tls(&vhost, named("mq.elsewhere.example")), "AMQP-TLS", "`queue.rabbitmq.tls.server_name`").await;
    let distrusted = TlsSettings { server_name: Some("mq.harbour.example".into()), ..files.ca("other.pem", &stranger) };
    refused(
        &over_tls(&vhost, distrusted),
        "AMQP-TLS",
        "not trusted: give the authority that signed it as `queue.rabbitmq.tls.ca`",
    )
    .await;
    // TLS to the plain port, and the reverse.
    let plain = settings(&vhost);
    let swapped = RabbitSettings { addresses: plain.addresses.clone(), ..over_tls(&vhost, trusted.clone()) };
    refused(&swapped, "AMQP-TLS", "does not speak TLS: correct the port").await;
    let encrypted = over_tls(&vhost, trusted);
    let swapped = RabbitSettings { addresses: encrypted.addresses, ..plain };
    // Its alert is read as what it is, or lost with the connection.
    let fault =
        open(&swapped).declare("orders", Sharing::Single).await.expect_err("words in plain to the encrypted port");
    let known = [("AMQP-PROTOCOL", Next::Misconfigured), ("AMQP-GONE", Next::Reconnect)];
    assert!(known.contains(&(fault.code(), fault.next())), "{fault}");
    assert!(fault.to_string().contains("give `queue.rabbitmq.tls`"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_shows_who_it_is() {
    let (authority, stranger, files) = (Authority::new(), Authority::new(), Files::new());
    let config = ["PLAIN", "EXTERNAL"].iter().enumerate();
    let mut config: Vec<_> = config.map(|(n, name)| format!("auth_mechanisms.{} = {name}", n + 1)).collect();
    config.push("ssl_cert_login_from = common_name".into());
    let broker = Broker::private(&Options { tls: Some(Tls::of(&authority, true)), config, ..Options::default() });
    let vhost = broker.vhost();
    let trusted = files.ca("ca.pem", &authority);
    let user = format!("{}-hub", vhost.name());
    let issued = authority.client(&user);
    let certified = over_tls(&vhost, files.shows("hub", &issued, trusted.clone()));
    accepted(&certified).await;
    uncertified(&over_tls(&vhost, trusted.clone())).await;
    let foreign = files.shows("foreign", &stranger.client(&user), trusted.clone());
    uncertified(&over_tls(&vhost, foreign)).await;
    // Without `user`, the certificate says who comes.
    let alone = RabbitSettings { user: None, password: None, ..certified };
    let fault = open(&alone).declare("orders", Sharing::Single).await.expect_err("the plugin is off");
    assert!(fault.to_string().contains("enable its plugin `rabbitmq_auth_mechanism_ssl`"), "{fault}");
    broker.ctl(&[
        "eval",
        "{ok, F} = application:get_env(rabbit, enabled_plugins_file), \
         ok = file:write_file(F, \"[rabbitmq_management,rabbitmq_auth_mechanism_ssl].\"), rabbit_plugins:ensure(F).",
    ]);
    refused(&alone, "AMQP-LOGIN", "no user of the client certificate's name").await;
    vhost.user(&user, ".*", ".*", ".*");
    accepted(&alone).await;
    // A key of somebody else's is seen before anybody is asked.
    let mixed = Issued { certificate: issued.certificate, key: authority.client("other").key };
    let mixed = over_tls(&vhost, files.shows("mixed", &mixed, trusted));
    let fault = Rabbit::open(&mixed, Path::new("."), "test", Clock::real(), BrokerMetrics::default());
    assert_eq!(fault.err().expect("it does not fit").code(), "CONFIG-TLS");
}
