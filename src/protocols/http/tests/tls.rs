//! Certificates: a private authority, a peer that wants ours, and those that do not fit.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::message::Fault;
use crate::protocols::conformance::{self, bounded, delivery, read_yaml_in};
use crate::protocols::http::install_tls;
use crate::protocols::{TargetSettings, read_target};

/// A folder with an authority (`ca.pem`), a certificate of it (`ours.pem`, `ours.key`), and a server of its own.
struct World {
    folder: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl World {
    fn new(name: &str) -> World {
        install_tls();
        let folder = std::env::temp_dir().join(format!("raccord-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(parameters, key).expect("an authority");
        let world = World { folder, authority };
        world.write("ca.pem", &world.authority.pem());
        let (certificate, key) = world.issue("hub.example", ExtendedKeyUsagePurpose::ClientAuth);
        world.write("ours.pem", &certificate);
        world.write("ours.key", &key);
        world
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).expect("the folder can be written");
    }

    /// A certificate and its key, both PEM.
    fn issue(&self, host: &str, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut parameters = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        parameters.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.authority).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// A server for `host` that answers 200 to whatever it hears; `asks` for a certificate of the authority.
    async fn serve(&self, host: &str, asks: bool) -> u16 {
        let (certificate, key) = self.issue(host, ExtendedKeyUsagePurpose::ServerAuth);
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(self.authority.der().clone()).expect("an authority");
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("a verifier");
            ServerConfig::builder().with_client_cert_verifier(verifier)
        } else {
            ServerConfig::builder().with_no_client_auth()
        };
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
        let config = builder.with_single_cert(vec![certificate], key).expect("they fit");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("it accepts");
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut heard = [0; 4096];
                let _ = stream.read(&mut heard).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        });
        port
    }

    /// The target with these settings, or the problems that `check` would show.
    fn read(&self, port: u16, tls: &str) -> Result<Arc<dyn TargetSettings>, String> {
        let yaml = format!("protocol: http\nurl: https://localhost:{port}/\n{tls}");
        read_yaml_in(&self.folder, &yaml, read_target)
    }

    async fn deliver(&self, port: u16, tls: &str) -> Result<(), Fault> {
        let surroundings = conformance::surroundings(&self.folder);
        let settings = self.read(port, tls).unwrap_or_else(|problems| panic!("{problems}"));
        let target = settings.open("test.to.peer", conformance::codec(), &surroundings)?;
        bounded("an outcome", target.deliver(&delivery(&*target, 1))).await.map(|_| ())
    }

    async fn check(&self, port: u16, tls: &str, expect: &str) {
        let shown = match self.deliver(port, tls).await {
            Ok(()) => "ok".to_owned(),
            Err(fault) => format!("{:?} {fault}", fault.next()),
        };
        assert!(shown.starts_with(expect), "{tls}\nexpected: {expect}\nshown: {shown}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

const TRUST: &str = "tls: { ca: ca.pem }";
const TRUST_AND_SHOW: &str = "tls: { ca: ca.pem, certificate: ours.pem, key: ours.key }";

#[tokio::test]
async fn a_private_authority_is_trusted_where_told() {
    let world = World::new("authority");
    let port = world.serve("localhost", false).await;
    world.check(port, TRUST, "ok").await;
    world.check(port, "", "Misconfigured HTTP-TLS: no trust between the hub and https://localhost").await;
    let elsewhere = world.serve("elsewhere.example", false).await;
    world.check(elsewhere, TRUST, "Misconfigured HTTP-TLS: no trust").await;
}

#[tokio::test]
async fn a_peer_may_ask_for_our_certificate() {
    let world = World::new("ours");
    let port = world.serve("localhost", true).await;
    world.check(port, TRUST_AND_SHOW, "ok").await;
    world.check(port, TRUST, "Misconfigured HTTP-TLS: no trust").await;
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_told() {
    let world = World::new("files");
    world.write("empty.pem", "");
    world.write("other.key", &world.issue("hub.example", ExtendedKeyUsagePurpose::ClientAuth).1);
    let check = |tls: &str, place: &str, expect: &str| {
        let problems = world.read(1, tls).err().unwrap_or_default();
        assert!(problems.contains(place) && problems.contains(expect), "{tls}\nexpected: {expect}\n{problems}");
    };
    check("tls: { ca: absent.pem }", "pipeline.yaml:3:12", "the file absent.pem cannot be read: No such file");
    check("tls: { ca: empty.pem }", "pipeline.yaml:3:12", "the file empty.pem holds no certificates in PEM");
    check("tls: { certificate: ours.pem, key: other.key }", "pipeline.yaml:3:21", "ours.pem does not go with its key");
    check("tls: { certificate: ours.pem, key: empty.pem }", "pipeline.yaml:3:36", "empty.pem holds no private key");
}

#[tokio::test]
async fn certificates_that_are_gone_after_the_check_are_told() {
    let world = World::new("gone");
    let settings = world.read(1, TRUST).unwrap_or_else(|problems| panic!("{problems}"));
    fs::remove_file(world.folder.join("ca.pem")).expect("the file is ours");
    let opened = settings.open("test.to.peer", conformance::codec(), &conformance::surroundings(&world.folder));
    let fault = opened.err().expect("there is no such file");
    assert!(fault.to_string().starts_with("HTTP-TLS: cannot read "), "{fault}");
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_is_a_lost_connection() {
    let world = World::new("plain");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("it accepts");
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    world.check(port, TRUST, "Reconnect HTTP-TLS: no secure connection").await;
}
