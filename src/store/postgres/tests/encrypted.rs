//! Encrypted connections: who is trusted, who is not, and what is said then.

use super::*;
use crate::config::TlsSettings;
use crate::parts::certificates::{Authority, Issued};
use crate::parts::postgres::{Options, Postgres as Server};
use crate::parts::server::Folder;

struct Files(Folder);

impl Files {
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

async fn open(settings: PostgresSettings) -> Result<Arc<Postgres>, Fault> {
    Postgres::open(&settings, 1, Path::new("."), Clock::real()).await
}

async fn refused(settings: PostgresSettings, code: &str, words: &str) {
    let fault = open(settings).await.err().expect(words);
    assert_eq!((fault.code(), fault.next()), (code, Next::Misconfigured), "{fault}");
    assert!(fault.to_string().contains(words), "{words}: {fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_at_either_end_is_checked() {
    let (authority, stranger) = (Arc::new(Authority::new()), Authority::new());
    let files = Files(Folder::private("pem"));
    let server = Server::private(&Options { tls: Some(authority.clone()), ..Options::default() });
    let place = Schema::on(server.database());
    let trusted = files.ca("ca.pem", &authority);
    let with = |tls: TlsSettings| PostgresSettings { tls: Some(tls), ..place.settings.clone() };
    let named = |name: &str| TlsSettings { server_name: Some(name.into()), ..trusted.clone() };
    let connector = connection::Connector::new(&with(trusted.clone()), Path::new(".")).expect("the files are sound");
    let session = connector.connect().await.expect("the certificate is trusted");
    let rows =
        session.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await.expect("it answers");
    assert!(rows[0].get::<_, bool>(0), "the session is encrypted");
    open(with(named("localhost"))).await.expect("the certificate has this name as well");
    let wanted = "for another name: give the name it has as `store.postgres.tls.server_name`";
    refused(with(named("db.elsewhere.example")), "CONFIG-TLS", wanted).await;
    let wanted = "not trusted: give the authority that signed it as `store.postgres.tls.ca`";
    refused(with(files.ca("other.pem", &stranger)), "CONFIG-TLS", wanted).await;
    // The shared server has no encryption.
    let plain = Schema::new();
    let asked = PostgresSettings { tls: Some(trusted.clone()), ..plain.settings.clone() };
    refused(asked, "CONFIG-TLS", "offers no encryption").await;

    // From now on `shop` must come encrypted, with a certificate that the server's authority signed.
    tokio::task::block_in_place(|| {
        let file = server_file(&place.database);
        place.database.query("create user shop password 'shop'");
        place.database.query(&format!("grant all on database \"{}\" to shop", place.database.name()));
        place.database.query(&format!(
            "copy (values ('hostssl all shop all scram-sha-256 clientcert=verify-ca'), ('hostnossl all shop all reject'), \
             ('host all all all scram-sha-256')) to '{file}'"
        ));
        place.database.query("select pg_reload_conf()");
    });
    let shop = |tls: Option<TlsSettings>| PostgresSettings {
        user: "shop".into(),
        password: Some(Secret::new("shop")),
        schema: "shop".into(),
        tls,
        ..place.settings.clone()
    };
    let issued = authority.client("shop");
    let certified = files.shows("shop", &issued, trusted.clone());
    parts::wait_for("the rules to be read", || {
        tokio::task::block_in_place(|| server.log().contains("reloading configuration files").then_some(()))
    });
    open(shop(Some(certified))).await.expect("the hub's certificate is trusted");
    refused(shop(None), "STORE-LOGIN", "encryption (`store.postgres.tls`) or a client certificate").await;
    refused(shop(Some(trusted.clone())), "STORE-LOGIN", "a client certificate").await;
    let foreign = files.shows("foreign", &stranger.client("shop"), trusted.clone());
    refused(shop(Some(foreign)), "CONFIG-TLS", "a client certificate that it trusts").await;
    let mixed = Issued { certificate: issued.certificate, key: authority.client("other").key };
    refused(shop(Some(files.shows("mixed", &mixed, trusted))), "CONFIG-TLS", "does not go with its key").await;
}

/// The file with the server's rules of who may come in.
fn server_file(database: &Database) -> String {
    database.query("show hba_file").remove(0).remove(0).expect("a path")
}
