//! The bare loop: asks for page after page, parses, counts. Nothing is mapped, kept or limited.

use std::time::Instant;

use serde_json::Value;

/// Seconds it took.
#[tokio::main(worker_threads = 2)]
pub async fn poll(url: &str) -> f64 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let begin = Instant::now();
    let (mut page, mut count) = (1, 0);
    loop {
        let answer = client.get(format!("{url}/records?page={page}")).send().await.expect("an answer");
        let bytes = answer.bytes().await.expect("its body");
        let body: Value = serde_json::from_slice(&bytes).expect("JSON");
        count += body["data"].as_array().map_or(0, Vec::len);
        if page >= body["pages"].as_u64().unwrap_or(0) {
            break;
        }
        page += 1;
    }
    assert!(count > 0, "records were given");
    begin.elapsed().as_secs_f64()
}
