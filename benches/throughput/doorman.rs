//! The reference on the wire: the least a durable receiver over HTTP can do. Each body is appended with whatever else came
//! meanwhile, synced, and answered; nothing is read, mapped or delivered.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::bare::{Bare, GROUP};
use super::hub::{cpu_of, fresh_folder};
use super::sender;

const ANSWER: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";

/// A body, and who waits for its sync.
type Kept = (Vec<u8>, oneshot::Sender<()>);

/// Sends the orders to such a receiver: a thread that serves, a thread that writes.
pub fn receive_append_and_sync(orders: &[String], count: usize) -> Bare {
    let folder = fresh_folder("doorman");
    let file = File::create(folder.join("doorman.log")).expect("the folder takes a file");
    let (keep, kept) = mpsc::sync_channel::<Kept>(4 * GROUP);
    let (tell, told) = mpsc::channel();
    let tell_writer = tell.clone();
    std::thread::spawn(move || write(file, &kept, &tell_writer));
    std::thread::spawn(move || serve(&keep, &tell));
    let (mut threads, mut address) = (Vec::new(), None);
    while threads.len() < 2 || address.is_none() {
        match told.recv().expect("both threads tell who they are") {
            Told::Thread(thread) => threads.push(thread),
            Told::Address(listening) => address = Some(listening),
        }
    }
    let address = address.expect("the loop waits for it");
    let cpu = || threads.iter().map(|thread| cpu_of(thread)).sum::<f64>();
    let before = cpu();
    let sent = sender::send(address, "/orders", orders, count);
    let bare = Bare { count, took: sent.took, cpu: cpu() - before };
    let _ = std::fs::remove_dir_all(folder);
    bare
}

enum Told {
    /// Under /proc, where its processor time stands.
    Thread(String),
    Address(SocketAddr),
}

fn this_thread() -> Told {
    let path = std::fs::read_link("/proc/thread-self").expect("Linux tells a thread its name");
    Told::Thread(path.display().to_string())
}

fn write(mut file: File, kept: &mpsc::Receiver<Kept>, tell: &mpsc::Sender<Told>) {
    let _ = tell.send(this_thread());
    let (mut bytes, mut waiting) = (Vec::new(), Vec::new());
    while let Ok(first) = kept.recv() {
        for (body, who) in std::iter::once(first).chain(kept.try_iter().take(GROUP - 1)) {
            bytes.extend_from_slice(&body);
            waiting.push(who);
        }
        file.write_all(&bytes).and_then(|()| file.sync_data()).expect("the disk has room");
        bytes.clear();
        for who in waiting.drain(..) {
            let _ = who.send(());
        }
    }
}

fn serve(keep: &mpsc::SyncSender<Kept>, tell: &mpsc::Sender<Told>) {
    let _ = tell.send(this_thread());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
        let _ = tell.send(Told::Address(listener.local_addr().expect("a bound listener has an address")));
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, keep.clone()));
        }
    });
}

async fn connection(mut stream: TcpStream, keep: mpsc::SyncSender<Kept>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = vec![0; 64 * 1024];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]).await {
            Ok(read) if read > 0 => filled += read,
            _ => return,
        }
        while let Some((head, length)) = request(&buffer[..filled]).filter(|(_, length)| *length <= filled) {
            let (who, synced) = oneshot::channel();
            if keep.send((buffer[head..length].to_vec(), who)).is_err() || synced.await.is_err() {
                return;
            }
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
            buffer.copy_within(length..filled, 0);
            filled -= length;
        }
    }
}

/// Where the body of a request begins and ends, once its head has come in whole.
pub fn request(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    Some((head, head + sender::content_length(&bytes[..head])))
}
