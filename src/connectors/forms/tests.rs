//! Each form as it goes over the wire: a request in YAML and a document, against the text of what is sent.

use super::{Extra, Outgoing, is_own, render};
use crate::connectors::manifest::{Operation, Request};
use crate::connectors::testing::{Seen, connection};
use crate::message::Fault;

const HEAD: &str = "
system: Test
verified: { against: nothing }
base: $connection.url
headers: { X-Key: $connection.key }
settings:
  url: { type: url }
  key: { type: secret }
operations:
  ask:
    kind: read
    request:
";

fn with<T>(
    request: &str,
    document: &str,
    extra: &Extra,
    see: impl FnOnce(&Request, Result<Outgoing, Fault>, bool) -> T,
) -> T {
    let lines: String = request.trim().lines().map(|line| format!("      {line}\n")).collect();
    let settings = [("url", "https://erp.example/api"), ("key", "k3y-of-the-shop")];
    let connection = connection(&format!("{HEAD}{lines}"), &settings);
    let Operation::Read(read) = &connection.manifest.operations["ask"] else { panic!("a read") };
    let request = read.request.as_ref().expect("a request");
    let seen = Seen::of(&connection, document);
    let (head, view) = (&connection.manifest.head, seen.view());
    let made = render(request, head, &view, extra);
    let own = made.as_ref().is_ok_and(|made| is_own(request, &made.url, head, &view));
    see(request, made, own)
}

/// Method, address, headers (without `accept`) and body.
fn check(request: &str, document: &str, expect: &str) {
    let made = with(request, document, &Extra::default(), |_, made, _| match made {
        Ok(made) => wire(&made),
        Err(fault) => fault.to_string(),
    });
    assert_eq!(made.trim_end(), expect.trim(), "{request}");
}

fn wire(made: &Outgoing) -> String {
    let mut lines: Vec<String> = made
        .headers
        .iter()
        .filter(|(name, _)| *name != "accept")
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    let body = String::from_utf8_lossy(&made.body).replace('\r', "");
    format!("{} {}\n{}{}", made.method, made.url, lines.concat(), body)
}

const KEY: &str = "x-key: k3y-of-the-shop";

#[test]
fn paths_stand_behind_the_base() {
    let get = |path: &str, document: &str, expect: &str| check(&format!("get: {path}"), document, expect);
    get("/orders", "{}", &format!("GET https://erp.example/api/orders\n{KEY}"));
    get("orders?state=open", "{}", &format!("GET https://erp.example/api/orders?state=open\n{KEY}"));
    get(
        "\"=concat('/orders/', url($.id))\"",
        r#"{"id": "a/b?c#d é"}"#,
        &format!("GET https://erp.example/api/orders/a%2Fb%3Fc%23d%20%C3%A9\n{KEY}"),
    );
    get("//evil.example/x", "{}", &format!("GET https://erp.example/api//evil.example/x\n{KEY}"));
}

#[test]
fn data_leads_nowhere_else() {
    let refused = |id: &str, what: &str| {
        check("get: \"=concat('/orders/', $.id)\"", &format!(r#"{{"id": "{id}"}}"#), what);
    };
    let dots = "CONNECTOR-VALUE: a path holds no segment `.` or `..` (request)";
    refused("../admin", dots);
    refused("%2e%2E/admin", dots);
    refused(".", dots);
    let marks =
        "CONNECTOR-VALUE: a path holds no control character, `\\` or `#`: write values as `url($.id)` (request)";
    refused("..\\\\admin", marks);
    refused(".\\t./admin", marks);
    refused("1#x", marks);
    let query = "CONNECTOR-VALUE: a path made by a formula holds no `?`: parameters belong in `query`, values in `url($.id)` (request)";
    refused("1?all=1", query);
    check(
        "get: $.at",
        r#"{"at": "http://user:pw@erp.example/"}"#,
        "CONNECTOR-VALUE: the address is none, or holds a user name or a control character (request)",
    );
    check("get: $.id", "{}", "FORMULA-MISSING: `$.id` finds nothing: `$` has no field `id` (request, $.id)");
}

#[test]
fn a_whole_address_from_data_elsewhere_gets_no_credentials() {
    let own = |request: &str, document: &str| {
        with(request, document, &Extra::default(), |_, made, own| {
            let made = made.expect("it can be made");
            assert_eq!(made.headers.contains_key("x-key"), own, "{request}");
            own
        })
    };
    assert!(own("get: $.at", r#"{"at": "https://erp.example/files/1?sig=2"}"#));
    assert!(!own("get: $.at", r#"{"at": "https://files.example/1?sig=2"}"#));
    assert!(!own("get: $.at", r#"{"at": "http://erp.example/files/1"}"#));
    assert!(!own("get: $.at", r#"{"at": "https://erp.example:444/files/1"}"#));
    assert!(own("get: https://login.example/x", "{}"));
}

#[test]
fn the_next_page_is_at_the_same_system() {
    let next = |address: &str| {
        let extra = Extra { address: Some(address.into()), ..Extra::default() };
        let request = "get: /orders\nquery: { page: '1' }";
        with(request, "{}", &extra, |_, made, _| {
            made.map_or_else(|fault| fault.to_string(), |made| made.url.to_string())
        })
    };
    assert_eq!(next("https://erp.example/other?page=2"), "https://erp.example/other?page=2");
    assert_eq!(next("/api/orders?page=2"), "https://erp.example/api/orders?page=2");
    assert_eq!(next("?page=2#x"), "https://erp.example/api/orders?page=2");
    assert_eq!(next("http://erp.example/api/orders?page=2"), "https://erp.example/api/orders?page=2");
    let elsewhere =
        "CONNECTOR-ORIGIN: the next page is at https://evil.example, and not at https://erp.example as the connection";
    assert_eq!(next("https://evil.example/orders?key=1"), elsewhere);
    assert_eq!(next("//evil.example/orders"), elsewhere);
    assert_eq!(next("\\\\evil.example/orders"), elsewhere);
    assert!(next("https://erp.example:8443/orders").starts_with("CONNECTOR-ORIGIN"));
    assert!(next("http://erp.example:443/orders").starts_with("CONNECTOR-ORIGIN"));
    assert!(next("file:///etc/passwd").starts_with("CONNECTOR-ORIGIN"));
    assert!(next("https://a:b@erp.example/").starts_with("CONNECTOR-ORIGIN"));
}

#[test]
fn queries_and_headers_hold_what_is_there() {
    check(
        "get: /x\nquery: { b: $.list, a: $.none?, c: \"=concat($.x, '&')\", d: $.null }\nheaders: { X-One: $.x, X-Two: $.none?, X-Key: own }",
        r#"{"list": [1, "é", null], "x": "y z", "null": null}"#,
        "GET https://erp.example/api/x?b=1&b=%C3%A9&c=y%20z%26\nx-key: own\nx-one: y z",
    );
    check(
        "get: /x\nheaders: { X-One: $.x }",
        r#"{"x": "a\r\nX-Admin: 1"}"#,
        "CONNECTOR-VALUE: header X-One cannot hold a line break or a control character (headers.X-One)",
    );
    check(
        "get: /x\nquery: { a: $.x }",
        r#"{"x": {}}"#,
        "CONNECTOR-VALUE: a text is wanted, this is a map (request.query.a)",
    );
    let extra = Extra { idempotency: Some(("Idempotency-Key".into(), "abc".into())), ..Extra::default() };
    let made = with("post: /x", "{}", &extra, |_, made, _| wire(&made.expect("it can be made")));
    assert_eq!(made, format!("POST https://erp.example/api/x\nidempotency-key: abc\n{KEY}\n"));
}

#[test]
fn bodies_are_written_as_their_form_says() {
    check(
        "post: /x\njson: { id: $.id, none: $.none?, list: [1, $.id] }",
        r#"{"id": 1.50}"#,
        &format!(
            "POST https://erp.example/api/x\ncontent-type: application/json\n{KEY}\n{{\"id\":1.50,\"list\":[1,1.50]}}"
        ),
    );
    check(
        "put: /x\nform: { 'a[]': $.list, b: 'c d' }",
        r#"{"list": [1, 2]}"#,
        &format!(
            "PUT https://erp.example/api/x\ncontent-type: application/x-www-form-urlencoded\n{KEY}\na%5B%5D=1&a%5B%5D=2&b=c%20d"
        ),
    );
    check(
        "patch: /x\ntext: $.id\ncontent_type: text/csv",
        r#"{"id": 1}"#,
        &format!("PATCH https://erp.example/api/x\ncontent-type: text/csv\n{KEY}\n1"),
    );
    check(
        "post: /x\nxml: { order: { '@id': $.id, line: $.lines } }",
        r#"{"id": 1, "lines": ["a<b", "c"]}"#,
        &format!(
            "POST https://erp.example/api/x\ncontent-type: application/xml\n{KEY}\n<?xml version=\"1.0\" encoding=\"UTF-8\"?><order id=\"1\"><line>a&lt;b</line><line>c</line></order>"
        ),
    );
    check(
        "post: /x\nxml: { a: '1', b: '2' }",
        "{}",
        "ENCODE-XML: an XML document is a map with one key, the root element, found 2 keys; `root:` names one (request.xml, $)",
    );
    check("delete: /x", "{}", &format!("DELETE https://erp.example/api/x\n{KEY}"));
}

#[test]
fn parts_stand_between_boundaries_that_a_repeat_has_too() {
    let id = crate::message::MessageId::derive(&[b"test"]);
    check(
        "post: /x\nmultipart: { note: $.note, file: { file_name: $.name, content_type: text/csv, text: 'a;b' }, raw: { base64: 'aGV5' }, none: $.none? }",
        r#"{"note": "hello", "name": "a\"\r\nb.csv"}"#,
        &format!(
            "POST https://erp.example/api/x
content-type: multipart/form-data; boundary=raccord-{id}
{KEY}
--raccord-{id}
Content-Disposition: form-data; name=\"file\"; filename=\"a%22%0D%0Ab.csv\"
Content-Type: text/csv

a;b
--raccord-{id}
Content-Disposition: form-data; name=\"note\"

hello
--raccord-{id}
Content-Disposition: form-data; name=\"raw\"

hey
--raccord-{id}--"
        ),
    );
    let made = with(
        "post: /x\nmultipart: { a: $.a }",
        &format!(r#"{{"a": "--raccord-{id}"}}"#),
        &Extra::default(),
        |_, made, _| wire(&made.expect("it can be made")),
    );
    assert!(made.contains(&format!("boundary=raccord-{id}x\n")), "{made}");
    let refused = |part: &str| format!("CONNECTOR-VALUE: {part} (request.multipart.a)");
    check("post: /x\nmultipart: { a: { base64: '*' } }", "{}", &refused("`base64` is not base64 (RFC 4648)"));
    check(
        "post: /x\nmultipart: { a: { text: a, base64: aGV5 } }",
        "{}",
        &refused("a part that is a map holds either `text` or `base64`"),
    );
}

#[test]
fn calls_are_wrapped_as_their_protocol_says() {
    let id = crate::message::MessageId::derive(&[b"test"]);
    check(
        "json_rpc: { method: model.sale.read, params: [$.ids, { a: 1 }] }",
        r#"{"ids": [1]}"#,
        &format!(
            "POST https://erp.example/api\ncontent-type: application/json\n{KEY}\n{{\"jsonrpc\":\"2.0\",\"id\":\"{id}\",\"method\":\"model.sale.read\",\"params\":[[1],{{\"a\":1}}]}}"
        ),
    );
    check(
        "post: /graphql\ngraphql: { query: 'query($id: ID) { order(id: $id) { name } }', variables: { id: $.id } }",
        r#"{"id": "7"}"#,
        &format!(
            "POST https://erp.example/api/graphql\ncontent-type: application/json\n{KEY}\n{{\"query\":\"query($id: ID) {{ order(id: $id) {{ name }} }}\",\"variables\":{{\"id\":\"7\"}}}}"
        ),
    );
    check(
        "post: /soap\nsoap: { action: 'urn:get', body: { 'm:Get': { '@xmlns:m': 'urn:m', 'm:id': $.id } } }",
        r#"{"id": 7}"#,
        &format!(
            "POST https://erp.example/api/soap\ncontent-type: text/xml; charset=utf-8\nsoapaction: \"urn:get\"\n{KEY}\n<?xml version=\"1.0\" encoding=\"UTF-8\"?><soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body><m:Get xmlns:m=\"urn:m\"><m:id>7</m:id></m:Get></soap:Body></soap:Envelope>"
        ),
    );
    check(
        "post: /soap\nsoap: { version: '1.2', action: 'urn:get', body: { Get: '' } }",
        "{}",
        &format!(
            "POST https://erp.example/api/soap\ncontent-type: application/soap+xml; charset=utf-8; action=\"urn:get\"\n{KEY}\n<?xml version=\"1.0\" encoding=\"UTF-8\"?><soap:Envelope xmlns:soap=\"http://www.w3.org/2003/05/soap-envelope\"><soap:Body><Get/></soap:Body></soap:Envelope>"
        ),
    );
    check(
        "get: /Orders\nodata: { filter: [\"=concat('Name eq ''', $.name, '''')\", 'Open eq true'], select: [Id, Name], top: 10, skip: $.skip? }\nquery: { sap-client: '100' }",
        r#"{"name": "A B"}"#,
        &format!(
            "GET https://erp.example/api/Orders?sap-client=100&$filter=Name%20eq%20%27A%20B%27%20and%20Open%20eq%20true&$select=Id%2CName&$top=10\n{KEY}"
        ),
    );
}

#[test]
fn a_request_shown_holds_no_secret() {
    let shown = with(
        "post: /x\nquery: { k: $connection.key }\njson: $connection.key",
        "{}",
        &Extra::default(),
        |_, made, _| format!("{:?}", made.expect("it can be made")),
    );
    assert_eq!(shown, "POST https://erp.example/api/x (17 bytes)");
}
