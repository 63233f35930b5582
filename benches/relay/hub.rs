//! The hub's side: a folder with one pipeline from the queue to the exchange, and the binary that runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::lanes::{IN, Lanes, OUT, ROUTING_KEY};
use super::messages::MAPPING;
use super::parts::postgres::Database;
use super::process::{Process, fresh_folder};

/// What the pipeline says beyond the work itself.
#[derive(Clone, Copy)]
pub struct Wants {
    pub dedupe: &'static str,
    pub order_by: &'static str,
}

/// The bare work: nothing is remembered about a message but its hops.
pub const PLAIN: Wants = Wants { dedupe: "none", order_by: "none" };

/// Writes the folder of a hub with the file beside it as its engine, or of one instance of a distributed one.
pub fn folder(name: &str, lanes: &Lanes, wants: Wants, store: Option<&Database>) -> PathBuf {
    let folder = fresh_folder(name);
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a path inside the folder")).expect("the folder takes a folder");
        fs::write(path, text).expect("the folder takes a file");
    };
    let rabbit = lanes.vhost.rabbit();
    write("secrets/amqp", &rabbit.api().password);
    let broker = format!(
        "{{ addresses: [\"{}:{}\"], vhost: {}, user: {}, password: \"${{file:secrets/amqp}}\" }}",
        rabbit.host(),
        rabbit.port(),
        lanes.vhost.name(),
        rabbit.api().user,
    );
    let engine = store.map_or_else(String::new, |database| {
        let postgres = database.place();
        write("secrets/postgres", &postgres.password);
        format!(
            "queue:\n  rabbitmq: {broker}\nstore:\n  postgres:\n    addresses: [\"{}\"]\n    database: {}\n    user: {}\n    \
             password: ${{file:secrets/postgres}}\n",
            postgres.address, postgres.database, postgres.user,
        )
    });
    write("config/raccord.yaml", &format!("name: relay\nlisten: 127.0.0.1:0\n{engine}"));
    let Wants { dedupe, order_by } = wants;
    write(
        "pipelines/orders/pipeline.yaml",
        &format!(
            "about: Each order is mapped and sent where its size says.\n\
             from:\n  protocol: amqp\n  broker: {broker}\n  queue: {IN}\n  format: json\n\
             order_by: {order_by}\ndedupe: {dedupe}\nsteps:{MAPPING}\n\
             to:\n  mapped:\n    protocol: amqp\n    broker: {broker}\n    exchange: {OUT}\n    \
             routing_key: \"{ROUTING_KEY}\"\n    format: json\n\
             on_error:\n  retry: [1s, 5s, 30s]\n"
        ),
    );
    folder
}

/// Runs the folder's hub.
pub fn start(folder: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raccord"));
    command.args(["run", "--no-watch", "-C"]).arg(folder);
    Process::start(&mut command, folder.join("hub.log"))
}
