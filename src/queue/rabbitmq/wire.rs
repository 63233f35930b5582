//! The socket below a connection: TCP, with or without TLS, that can be cut.
//!
//! lapin opens sockets through a runtime of its own. Ours hands it sockets that we made: built as we build it, lapin has no TLS
//! and would speak plain text to an `amqps` address; and it waits for ever on a broker that takes a connection and says nothing,
//! so what it waits on must be cut.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::io::{AsyncRead, AsyncWrite};
use futures_util::stream::Stream;
use futures_util::task::AtomicWaker;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::TlsSettings;
use crate::message::Fault;

pub type Kit = RuntimeParts<Tokio, Wires>;

/// The runtime of a connection: the one we run in, with [`Wire`] for its sockets.
pub fn runtime() -> Runtime<Kit> {
    Runtime::new(RuntimeParts::new(Tokio::current(), Wires(Tokio::current())))
}

/// A socket to a broker.
pub struct Wire {
    socket: Socket,
    cut: Cut,
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Ends a wire from outside: whoever reads it next is told that the connection was aborted.
#[derive(Clone, Default)]
pub struct Cut(Arc<(AtomicBool, AtomicWaker)>);

impl Cut {
    pub fn now(&self) {
        self.0.0.store(true, Ordering::Release);
        self.0.1.wake();
    }

    fn check(&self, context: &Context<'_>) -> io::Result<()> {
        if !self.done() {
            self.0.1.register(context.waker());
        }
        if self.done() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    fn done(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }
}

impl Wire {
    /// Connects to `host` and `port`; with `tls`, as the server that should be there.
    pub async fn connect(host: &str, port: u16, tls: Option<&Tls>, cut: Cut) -> io::Result<Wire> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let socket = match tls {
            None => Socket::Plain(stream),
            Some(tls) => {
                let name = tls.server_name.clone().map_or_else(|| ServerName::try_from(host.to_owned()), Ok);
                let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                Socket::Tls(Box::new(TlsConnector::from(tls.config.clone()).connect(name, stream).await?))
            }
        };
        Ok(Wire { socket, cut })
    }
}

/// What a TLS connection needs, read from the files.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// Reads the files that `settings` names, relative to `folder`.
    ///
    /// # Errors
    /// `misconfigured`: a file that is not there or not PEM, a key that is not the certificate's.
    pub fn read(settings: &TlsSettings, folder: &Path) -> Result<Tls, Fault> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        match &settings.ca {
            Some(ca) => {
                for certificate in certificates(folder, ca)? {
                    roots
                        .add(certificate)
                        .map_err(|error| fault(ca, "holds a certificate that is none").cause(error))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("ring has the versions").with_root_certificates(roots);
        let config = match (&settings.certificate, &settings.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let chain = certificates(folder, certificate)?;
                let private = PrivateKeyDer::from_pem_slice(&read(folder, key)?);
                let private = private.map_err(|_| fault(key, "holds no private key in PEM (`-----BEGIN ...`)"))?;
                let config = builder.with_client_auth_cert(chain, private);
                config.map_err(|error| fault(certificate, "does not go with its key").cause(error))?
            }
            (Some(_), None) | (None, Some(_)) => {
                return Err(Fault::misconfigured("AMQP-TLS", "`tls` wants both `certificate` and `key`, or neither"));
            }
        };
        let server_name = settings.server_name.as_ref().map(|name| {
            let wrong = format!("`tls.server_name` is not a host name: {name}");
            ServerName::try_from(name.to_string()).map_err(|_| Fault::misconfigured("AMQP-TLS", wrong))
        });
        Ok(Tls { config: Arc::new(config), server_name: server_name.transpose()? })
    }
}

fn certificates(folder: &Path, path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let pem = read(folder, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
    certificates.ok_or_else(|| fault(path, "holds no certificates in PEM (`-----BEGIN ...`)"))
}

fn read(folder: &Path, path: &Path) -> Result<Vec<u8>, Fault> {
    std::fs::read(folder.join(path)).map_err(|error| fault(path, "cannot be read").cause(error))
}

fn fault(path: &Path, what: &str) -> Fault {
    Fault::misconfigured("AMQP-TLS", format!("the file {} {what}", path.display()))
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.cut.check(context)?;
        let mut buffer = ReadBuf::new(into);
        let read = match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_read(context, &mut buffer),
            Socket::Tls(socket) => Pin::new(socket).poll_read(context, &mut buffer),
        };
        read.map_ok(|()| buffer.filled().len())
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.cut.done() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Socket::Tls(socket) => Pin::new(socket).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_flush(context),
            Socket::Tls(socket) => Pin::new(socket).poll_flush(context),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cut.done() {
            return Poll::Ready(Ok(()));
        }
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Socket::Tls(socket) => Pin::new(socket).poll_shutdown(context),
        }
    }
}

/// The reactor that says what a socket is; the rest is tokio's.
#[derive(Clone, Debug)]
pub struct Wires(Tokio);

impl Reactor for Wires {
    type TcpStream = Wire;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(&self, address: SocketAddr) -> impl Future<Output = io::Result<Wire>> + Send + 'static {
        reach(address)
    }
}

async fn reach(address: SocketAddr) -> io::Result<Wire> {
    Wire::connect(&address.ip().to_string(), address.port(), None, Cut::default()).await
}
