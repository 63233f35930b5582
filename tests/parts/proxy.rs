//! A network that breaks as told: a TCP proxy that forwards, cuts, swallows, delays, refuses, and comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// What the network does to bytes and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bytes pass.
    Forward,
    /// Bytes pass, each piece so much later.
    Delay(Duration),
    /// Connections open and stay, old ones too; nothing passes. What was swallowed in between stands until
    /// the network is back, as the systems' own buffers would hold it.
    BlackHole,
    /// New connections are closed at once.
    Refuse,
}

/// A proxy in front of one server. It ends when dropped, with all its connections.
pub struct Proxy {
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
    /// A number that grows: connections of an older one are reset.
    cuts: watch::Sender<u64>,
    accepted: Arc<AtomicUsize>,
    target: Arc<Mutex<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy on a free port in front of that port of this machine.
    pub async fn start(port: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let target = Arc::new(Mutex::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        let (mode, cuts, accepted) = (watch::Sender::new(Mode::Forward), watch::Sender::new(0), Arc::default());
        let network = Network { mode: mode.subscribe(), cuts: cuts.subscribe() };
        let task = tokio::spawn(accept(listener, target.clone(), network, Arc::clone(&accepted)));
        Proxy { address, mode, cuts, accepted, target, task }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What happens from now on, to open connections too.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Resets (RST) every open connection.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Sends new connections to another port.
    pub fn aim(&self, port: u16) {
        self.target.lock().expect("nothing panics while holding it").set_port(port);
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Network {
    mode: watch::Receiver<Mode>,
    cuts: watch::Receiver<u64>,
}

async fn accept(listener: TcpListener, target: Arc<Mutex<SocketAddr>>, network: Network, accepted: Arc<AtomicUsize>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::Relaxed);
        if *network.mode.borrow() == Mode::Refuse {
            reset(&client);
            continue;
        }
        let target = *target.lock().expect("nothing panics while holding it");
        connections.spawn(connection(client, target, network.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(mut client: TcpStream, target: SocketAddr, mut network: Network) {
    let before = *network.cuts.borrow_and_update();
    let forwards = network.mode.wait_for(|mode| *mode != Mode::BlackHole);
    tokio::select! {
        _ = forwards => {}
        _ = wait_cut(network.cuts.clone(), before) => return reset(&client),
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return reset(&client) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let both = async {
        let up = forward(from_client, to_server, network.mode.clone());
        let down = forward(from_server, to_client, network.mode.clone());
        tokio::join!(up, down)
    };
    let cut = tokio::select! {
        _ = both => false,
        () = wait_cut(network.cuts, before) => true,
    };
    if cut {
        reset(&client);
        reset(&server);
    }
}

async fn wait_cut(mut cuts: watch::Receiver<u64>, before: u64) {
    if cuts.wait_for(|now| *now != before).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Moves bytes one way until one side ends; an end passes on as an end.
async fn forward(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut mode: watch::Receiver<Mode>) {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut piece).await.unwrap_or(0);
        let now = mode.wait_for(|mode| *mode != Mode::BlackHole).await.map_or(Mode::Forward, |mode| *mode);
        if let Mode::Delay(delay) = now {
            sleep(delay).await;
        }
        if read == 0 || to.write_all(&piece[..read]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}

/// Lets the close of a connection be a reset.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}
