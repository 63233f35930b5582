//! The system at the other end: answers 200 to whatever comes, at once, on a thread of its own; or holds its answers back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::doorman::request;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

pub struct Peer {
    pub address: SocketAddr,
    answered: Arc<AtomicUsize>,
    answers: watch::Sender<bool>,
}

impl Peer {
    /// `answers`: at once; otherwise only from [`Peer::release`] on.
    pub fn start(answers: bool) -> Peer {
        let answered = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = watch::channel(answers);
        let (tell, told) = std::sync::mpsc::channel();
        let counter = answered.clone();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
                let _ = tell.send(listener.local_addr().expect("a bound listener has an address"));
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, receiver.clone(), counter.clone()));
                }
            });
        });
        Peer { address: told.recv().expect("the thread tells its address"), answered, answers: sender }
    }

    pub fn release(&self) {
        let _ = self.answers.send(true);
    }

    pub fn wait_until_answered(&self, count: usize) {
        while self.answered.load(Ordering::Relaxed) < count {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

async fn serve(mut stream: TcpStream, mut answers: watch::Receiver<bool>, answered: Arc<AtomicUsize>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = vec![0; 64 * 1024];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]).await {
            Ok(read) if read > 0 => filled += read,
            _ => return,
        }
        while let Some((_, length)) = request(&buffer[..filled]).filter(|(_, length)| *length <= filled) {
            if answers.wait_for(|answers| *answers).await.is_err() || stream.write_all(ANSWER).await.is_err() {
                return;
            }
            answered.fetch_add(1, Ordering::Relaxed);
            buffer.copy_within(length..filled, 0);
            filled -= length;
        }
    }
}
