//! A local system that gives records page by page. Pages are written beforehand, so that both sides wait for little.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use bytes::Bytes;

/// Records of a page.
pub const PAGE: usize = 200;

/// Starts the system in a thread of its own, and gives its address.
pub fn start(records: usize) -> String {
    let count = records.div_ceil(PAGE);
    let pages: Arc<Vec<Bytes>> = Arc::new((0..count).map(|page| self::page(page, records)).collect());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.set_nonblocking(true).expect("it can be awaited");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let router = Router::new().route("/records", get(answer)).with_state(pages);
            axum::serve(listener, router).await.expect("it serves");
        });
    });
    url
}

async fn answer(State(pages): State<Arc<Vec<Bytes>>>, RawQuery(query): RawQuery) -> Bytes {
    let number = query.as_deref().and_then(|query| query.strip_prefix("page=")?.parse::<usize>().ok());
    let page = number.and_then(|number| pages.get(number.checked_sub(1)?));
    page.cloned().unwrap_or_else(|| Bytes::from_static(b"{\"data\":[],\"pages\":0}"))
}

fn page(page: usize, records: usize) -> Bytes {
    let mut text = format!("{{\"pages\":{},\"data\":[", records.div_ceil(PAGE));
    let first = page * PAGE;
    for number in first..(first + PAGE).min(records) {
        if number > first {
            text.push(',');
        }
        let (minute, second, store) = (number / 60 % 60, number % 60, number % 87);
        let price = format!("{}.{:02}", number % 900 + 1, number % 100);
        let _ = write!(
            text,
            "{{\"id\":{number},\"number\":\"WEB-{number:08}\",\"changed\":\"2026-11-02T10:{minute:02}:{second:02}Z\",\
             \"status\":\"paid\",\"currency\":\"EUR\",\"total\":\"{price}\",\"tax_rate\":20,\"store\":{{\"id\":{store},\
             \"name\":\"Harbour & Pine {store}\"}},\"customer\":{{\"id\":{},\"name\":\"Camille Exemple\",\"email\":\
             \"camille{number}@mail.example\",\"city\":\"Lyon\"}},\"lines\":[{{\"sku\":\"A-{}\",\"quantity\":2,\"price\":\
             \"{price}\"}},{{\"sku\":\"B-{}\",\"quantity\":1,\"price\":\"{price}\"}}],\"note\":\"leave it at the door\"}}",
            number % 5_000,
            number % 700,
            number % 300,
        );
    }
    text.push_str("]}");
    text.into()
}
