//! The socket below a connection: TCP, with or without TLS, that can be cut.
//!
//! lapin opens sockets through a runtime of its own. Ours hands it sockets that we made: built as we build it, lapin has no TLS
//! and would speak plain text to an `amqps` address; and it waits for ever on a broker that takes a connection and says nothing,
//! so what it waits on must be cut.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
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
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::Tls;

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
