//! Who answers on which path of the hub's listener; changed while it runs.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use axum::http::{Method, Request};
use axum::response::Response;
use hyper::body::Incoming;

use super::body::Budget;
use crate::message::{Fault, Text};

/// The hub's shared listener: protocols mount their paths here. A request reads the table without a lock.
pub struct Routes {
    table: ArcSwap<Table>,
    change: Mutex<()>,
    next: AtomicU64,
    /// The hub is going: who finds no path is told to come back, not that there is none.
    pub(super) closing: AtomicBool,
    pub(super) limits: Limits,
    pub(super) bodies: Arc<Budget>,
}

/// Bounds of the listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at a time; more wait in the system's own queue.
    pub connections: usize,
    /// Most bytes of bodies being received, over all connections.
    pub bodies: usize,
    /// How long a request's head may take, and how long a connection may idle.
    pub head: Duration,
    /// How long a client may leave an answer unread.
    pub write: Duration,
    /// How long a stop waits for requests on their way.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 1024,
            bodies: 64 << 20,
            head: Duration::from_secs(30),
            write: Duration::from_secs(30),
            stop: Duration::from_secs(15),
        }
    }
}

/// Answers the requests of one path.
#[async_trait]
pub trait Handler: Send + Sync {
    async fn handle(&self, request: Request<Incoming>) -> Response;
}

/// A mounted path; dropped, it goes, unless its owner has mounted it anew since.
pub struct Mounted {
    routes: Arc<Routes>,
    path: Text,
    number: u64,
}

/// What stands on a path.
pub(super) enum Found {
    Handler(Arc<dyn Handler>),
    /// The path exists for these methods only.
    OtherMethods(String),
    Nothing,
}

type Table = HashMap<Text, Vec<Mount>, foldhash::fast::RandomState>;

#[derive(Clone)]
struct Mount {
    owner: Text,
    number: u64,
    methods: Vec<Method>,
    handler: Arc<dyn Handler>,
}

impl Mount {
    fn overlaps(&self, methods: &[Method]) -> bool {
        self.methods.iter().any(|method| methods.contains(method))
    }
}

impl Routes {
    pub fn new(limits: Limits) -> Routes {
        Routes {
            table: ArcSwap::default(),
            change: Mutex::default(),
            next: AtomicU64::default(),
            closing: AtomicBool::default(),
            limits,
            bodies: Budget::new(limits.bodies),
        }
    }

    /// Mounts `handler` for `methods` on `path`. What the same owner had there is replaced: requests on their way end where
    /// they began.
    ///
    /// # Errors
    /// `misconfigured` `HTTP-PATH-TAKEN` where another owner has it.
    pub fn mount(
        self: &Arc<Routes>,
        path: &str,
        methods: &[Method],
        owner: &str,
        handler: Arc<dyn Handler>,
    ) -> Result<Mounted, Fault> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.change(|table| {
            let mounts = table.entry(path.into()).or_default();
            let overlaps = |mount: &&Mount| mount.overlaps(methods);
            if let Some(other) = mounts.iter().filter(|mount| mount.owner != owner).find(overlaps) {
                let sentence = format!("path {path} is already used by pipeline {}; give {owner} another", other.owner);
                return Err(Fault::misconfigured("HTTP-PATH-TAKEN", sentence));
            }
            mounts.retain(|mount| mount.owner != owner);
            mounts.push(Mount { owner: owner.into(), number, methods: methods.to_vec(), handler });
            Ok(())
        })?;
        Ok(Mounted { routes: self.clone(), path: path.into(), number })
    }

    /// Mounts `handler` in place of whoever had one of the `methods` on `path`: requests on their way end where they began.
    pub fn take_over(
        self: &Arc<Routes>,
        path: &str,
        methods: &[Method],
        owner: &str,
        handler: Arc<dyn Handler>,
    ) -> Mounted {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.change(|table| {
            let mounts = table.entry(path.into()).or_default();
            mounts.retain(|mount| mount.owner != owner && !mount.overlaps(methods));
            mounts.push(Mount { owner: owner.into(), number, methods: methods.to_vec(), handler });
        });
        Mounted { routes: self.clone(), path: path.into(), number }
    }

    pub(super) fn find(&self, path: &str, method: &Method) -> Found {
        let table = self.table.load();
        let Some(mounts) = table.get(path) else { return Found::Nothing };
        if let Some(mount) = mounts.iter().find(|mount| mount.methods.contains(method)) {
            return Found::Handler(mount.handler.clone());
        }
        let methods = mounts.iter().flat_map(|mount| &mount.methods).map(Method::as_str);
        Found::OtherMethods(methods.collect::<Vec<_>>().join(", "))
    }

    /// Changes a copy of the table and puts it in place of the old one.
    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        // A change that panicked left the table as it was.
        let _turn = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.table.load());
        let outcome = change(&mut table);
        table.retain(|_, mounts| !mounts.is_empty());
        self.table.store(Arc::new(table));
        outcome
    }
}

impl Default for Routes {
    fn default() -> Routes {
        Routes::new(Limits::default())
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.table.load().keys()).finish()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.routes.change(|table| {
            if let Some(mounts) = table.get_mut(&self.path) {
                mounts.retain(|mount| mount.number != self.number);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Silent;

    #[async_trait]
    impl Handler for Silent {
        async fn handle(&self, _request: Request<Incoming>) -> Response {
            Response::default()
        }
    }

    fn check(routes: &Routes, method: &Method, expect: &str) {
        let found = match routes.find("/in", method) {
            Found::Handler(_) => "handler".to_owned(),
            Found::OtherMethods(methods) => methods,
            Found::Nothing => "nothing".to_owned(),
        };
        assert_eq!(found, expect);
    }

    #[test]
    fn a_path_belongs_to_one_pipeline_and_passes_to_its_next_version() {
        let routes = Arc::new(Routes::default());
        let mount = |owner: &str, methods: &[Method]| routes.mount("/in", methods, owner, Arc::new(Silent));
        check(&routes, &Method::POST, "nothing");
        let first = mount("orders", &[Method::POST]).expect("the path is free");
        check(&routes, &Method::POST, "handler");
        check(&routes, &Method::GET, "POST");
        let taken = mount("returns", &[Method::POST, Method::PUT]).err().expect("the path is taken");
        assert!(taken.to_string().contains("pipeline orders"), "{taken}");
        let put = mount("returns", &[Method::PUT]).expect("another method is free");
        check(&routes, &Method::GET, "POST, PUT");
        let second = mount("orders", &[Method::POST]).expect("the next version of its owner");
        drop(first);
        check(&routes, &Method::POST, "handler");
        drop((second, put));
        check(&routes, &Method::POST, "nothing");
        assert_eq!(format!("{routes:?}"), "[]");
    }
}
