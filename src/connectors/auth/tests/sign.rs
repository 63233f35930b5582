//! Signatures, against those that Python's `hmac` makes.

use super::*;

const BODY: &str = r#"{"sku":"A-1","qty":2}"#;

async fn signed(sign: &str, settings: &[(&str, &str)]) -> Result<Outgoing, Fault> {
    let mut around = testing::surroundings_at(MIDNIGHT);
    around.clock = crate::clock::Clock::simulated(jiff::Timestamp::from_second(1_700_000_000).expect("a time"));
    let mut all = vec![("key", "s3cret key")];
    all.extend(settings);
    let party = Party::with(&format!("sign:\n  secret: $connection.key\n{sign}"), &all, &around)?;
    let seen = Seen::of(&party.connection, "null");
    let mut outgoing = request("POST", "https://api.example/orders?page=2&x=%20y", BODY);
    party.credentials.prove(&party.client, &mut outgoing, &seen.view()).await?;
    Ok(outgoing)
}

async fn check(sign: &str, expect: &str) {
    let said = match signed(sign, &[]).await {
        Ok(request) => header(&request, "x-signature"),
        Err(fault) => fault.to_string(),
    };
    assert_eq!(said, expect, "{sign}");
}

#[tokio::test]
async fn a_request_is_signed_as_the_manifest_says() {
    let full = r#"  header: X-Signature
  signed: "{method}\\n{path}\\n{timestamp}\\n{body}"
  timestamp_header: X-Time
"#;
    let with = |algorithm: &str, encoding: &str| format!("{full}  algorithm: {algorithm}\n  encoding: {encoding}\n");
    let sha256 = "fbcd203f9d124b14467d7698e051a2814ef974e0ee951a3563b2ebd0103cfd14";
    check(&with("sha256", "hex"), sha256).await;
    check(&with("sha256", "base64"), "+80gP50SSxRGfXaY4FGigU75dODulRo1Y7Lr0BA8/RQ=").await;
    check(&with("sha512", "hex"), "bf68623258ae3c2bb90a612c70720f17336e8c547104e7a5d5b859589560e40d7b8b17919f4e1e9e8a303d284c92087d4f61aed5956e084bb1ebf583d75a4d88").await;
    check(
        &with("sha512", "base64"),
        "v2hiMliuPCu5CmEscHIPFzNujFRxBOel1bhZWJVg5A17ixeRn04enoowPShMkgh9T2Gu1ZVuCEux6/WD11pNiA==",
    )
    .await;
    check(&format!("{full}  prefix: 'v1='\n"), &format!("v1={sha256}")).await;
    let hashed = "  header: X-Signature\n  signed: '{method}:{body_hash}'\n";
    check(hashed, "19e359f3ed949bcb4539e22c59839a376f7205de7ac4f39de2df9f3f9f66350a").await;
    let body = "  header: X-Signature\n  signed: '{body}'\n";
    check(body, "6ed685dffa877179e7c4160d2bfe609fc667a499dcdf872f5680a5473ab48e8a").await;
}

#[tokio::test]
async fn a_nonce_is_drawn_for_each_request_and_sent() {
    let sign = "  header: X-Signature\n  signed: '{nonce}'\n  nonce_header: X-Nonce\n  headers: { X-Auth: 'n={nonce}; t={timestamp}', X-Key: $connection.key_id }\n";
    let mut nonces = Vec::new();
    for _ in 0..2 {
        let request = signed(sign, &[("key_id", "k-7")]).await.expect("it signs");
        let nonce = header(&request, "x-nonce");
        assert_eq!(header(&request, "x-auth"), format!("n={nonce}; t=1700000000"));
        assert_eq!(header(&request, "x-key"), "k-7");
        assert_eq!(nonce.len(), 32);
        nonces.push((nonce, header(&request, "x-signature")));
    }
    assert_ne!(nonces[0].0, nonces[1].0);
    assert_ne!(nonces[0].1, nonces[1].1);
}

#[tokio::test]
async fn what_could_not_be_verified_is_told() {
    let known = "CONNECTOR-CREDENTIAL: a placeholder is one of `{method}`, `{path}`, `{body}`, `{body_hash}`, `{timestamp}` and `{nonce}` (auth.sign.signed)";
    check("  header: X-Signature\n  signed: '{body}{date}'\n", known).await;
    check("  header: X-Signature\n  signed: '{body'\n", known).await;
    let unsent = "CONNECTOR-CREDENTIAL: `{nonce}` is signed, and no header holds it (auth.sign.signed)";
    check("  header: X-Signature\n  signed: '{nonce}'\n", unsent).await;
    let unsent = "CONNECTOR-CREDENTIAL: `{timestamp}` is signed, and no header holds it (auth.sign.signed)";
    check("  header: X-Signature\n  signed: '{timestamp}{body}'\n  headers: { X-Key: a }\n", unsent).await;
    let no_header = "CONNECTOR-CREDENTIAL: this is not the name of a header (auth.sign.header)";
    check("  header: 'X Y'\n  signed: '{body}'\n", no_header).await;
}
