//! The listener itself: connections that are bounded in number, in time and in what they may hold.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::http::header::ALLOW;
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::answers::{come_back, problem};
use super::routes::{Found, Routes};

/// Most bytes of a request's head.
const MOST_HEAD: usize = 64 * 1024;

impl Routes {
    /// Serves `listener` until `stop`; then lets requests on their way end, within `Limits::stop`. What no protocol has
    /// mounted goes to `extra` (health, metrics, console). Once this stops, the paths that sources give up answer "come
    /// back", so stop it before the sources or together with them.
    pub async fn serve(self: Arc<Routes>, listener: TcpListener, extra: Router, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let mut connections = JoinSet::new();
        let accepting = async {
            loop {
                // The place first: what finds none waits in the system's queue and costs us nothing.
                let place = places.clone().acquire_owned().await;
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let (routes, extra, stop) = (self.clone(), extra.clone(), stop.clone());
                        connections.spawn(async move {
                            routes.connection(stream, extra, stop).await;
                            drop(place);
                        });
                    }
                    // Out of file handles, most likely: connections that end give some back.
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(Duration::from_millis(50)).await;
                    }
                }
                while connections.try_join_next().is_some() {}
            }
        };
        select! {
            () = stop.cancelled() => {}
            () = accepting => {}
        }
        self.closing.store(true, Ordering::Relaxed);
        drop(listener);
        let ended = timeout(self.limits.stop, async { while connections.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!("{} connections are cut: they did not end in time", connections.len());
        }
    }

    async fn connection(self: Arc<Routes>, stream: TcpStream, extra: Router, stop: CancellationToken) {
        // Small answers must not wait for more to send; a system that cannot do it works, slower.
        let _ = stream.set_nodelay(true);
        let limits = self.limits;
        let shared = Arc::new((self, extra));
        let service = service_fn(move |request| {
            let shared = shared.clone();
            async move { Ok::<_, Infallible>(shared.0.answer(request, &shared.1).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // Some simple senders close their side once they have sent all, and still wait for the answer.
            .half_close(true)
            .header_read_timeout(limits.head)
            .max_buf_size(MOST_HEAD)
            .serve_connection(TokioIo::new(Impatient::new(stream, limits.write)), service);
        let mut connection = pin!(connection);
        let ended = select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>, extra: &Router) -> Response {
        match self.find(request.uri().path(), request.method()) {
            Found::Handler(handler) => handler.handle(request).await,
            Found::OtherMethods(methods) => {
                let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "HTTP-405", "this path takes other methods");
                if let Ok(methods) = HeaderValue::try_from(methods) {
                    response.headers_mut().insert(ALLOW, methods);
                }
                response
            }
            Found::Nothing if self.closing.load(Ordering::Relaxed) => come_back("HTTP-STOPPING", 10),
            Found::Nothing => match extra.clone().call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
        }
    }
}

/// A stream that does not wait for ever until its peer reads.
struct Impatient {
    stream: TcpStream,
    patience: Duration,
    waiting: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl Impatient {
    fn new(stream: TcpStream, patience: Duration) -> Impatient {
        Impatient { stream, patience, waiting: Box::pin(sleep(patience)), is_waiting: false }
    }

    fn bounded<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.is_waiting = false;
            return outcome;
        }
        if !self.is_waiting {
            self.is_waiting = true;
            self.waiting.as_mut().reset(Instant::now() + self.patience);
        }
        ready!(self.waiting.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.bounded(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
