//! Stand-ins for the systems around the hub: an ERP and a PIM that answer, a shop, tills and a supplier that send.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::net::TcpListener;

use super::Pipelines;
use crate::protocols::http::install_tls;

const WEBSHOP_SECRET: &str = "demo-webshop-secret";
const ERP_TOKEN: &str = "demo-erp-token";
const PREFILL_TOKEN: &str = "demo-prefill-token";
/// Calls the ERP's stand-in is away for.
const AWAY: u32 = 2;

/// The systems the shipped pipelines talk to.
pub struct StandIns {
    address: SocketAddr,
}

impl StandIns {
    pub async fn start() -> anyhow::Result<StandIns> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let calls = Arc::new(AtomicU32::new(0));
        let erp = post(move || {
            let away = calls.fetch_add(1, Ordering::Relaxed) < AWAY;
            async move { if away { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CREATED } }
        });
        let router = Router::new()
            .route("/erp/orders", erp.clone())
            .route("/erp/sales", erp)
            .route("/pim/prices", post(|| async { StatusCode::NO_CONTENT }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(StandIns { address })
    }

    /// The variables the shipped pipelines ask for: those of `config/demo.env`, with the stand-ins' addresses.
    pub fn environment(&self, folder: &Path) -> BTreeMap<String, String> {
        let _ = folder;
        let variables = [
            ("WEBSHOP_SECRET", WEBSHOP_SECRET.to_owned()),
            ("ERP_URL", format!("http://{}/erp", self.address)),
            ("ERP_TOKEN", ERP_TOKEN.to_owned()),
            ("PIM_URL", format!("http://{}/pim", self.address)),
            ("PREFILL_TOKEN", PREFILL_TOKEN.to_owned()),
        ];
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Sends every sample the way its system would.
    pub async fn feed(&self, folder: &Path, hub: SocketAddr) -> anyhow::Result<()> {
        drop_files(folder, "till-tickets", "in/tickets")?;
        drop_files(folder, "price-list", "in/prices")?;
        install_tls();
        let client = reqwest::Client::new();
        for (name, body) in samples("web-order") {
            let mut mac = Hmac::<Sha256>::new_from_slice(WEBSHOP_SECRET.as_bytes()).context("any key will do")?;
            mac.update(&body);
            let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            let request =
                client.post(format!("http://{hub}/orders")).header("X-Webshop-Signature", signature).body(body);
            let answer = request.send().await.with_context(|| format!("cannot post {name}"))?;
            println!("the shop posts {name}: {}", answer.status());
        }
        for (name, body) in samples("account-prefill") {
            let request = client.post(format!("http://{hub}/prefill")).bearer_auth(PREFILL_TOKEN).body(body);
            let answer = request.send().await.with_context(|| format!("cannot ask with {name}"))?;
            let status = answer.status();
            println!("the form asks with {name}: {status} {}", answer.text().await?);
        }
        Ok(())
    }
}

fn samples(pipeline: &str) -> Vec<(String, Vec<u8>)> {
    let folder = format!("{pipeline}/samples/");
    let names = Pipelines::iter().filter(|name| name.starts_with(&folder));
    let read = |name: std::borrow::Cow<'static, str>| {
        let file = Pipelines::get(&name)?;
        Some((name[folder.len()..].to_owned(), file.data.into_owned()))
    };
    names.filter_map(read).collect()
}

/// As a transfer would: under another name first, then renamed.
fn drop_files(folder: &Path, pipeline: &str, into: &str) -> anyhow::Result<()> {
    let into = folder.join(into);
    std::fs::create_dir_all(&into)?;
    for (name, body) in samples(pipeline) {
        let part = into.join(format!("{name}.part"));
        std::fs::write(&part, body)?;
        std::fs::rename(&part, into.join(&name))?;
        println!("{name} is dropped into {}", into.display());
    }
    Ok(())
}
