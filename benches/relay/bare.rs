//! The bare relay: the least code that does the work. No journal, no retries, no dead letters, no configuration, no metrics;
//! a document that cannot be read ends it.

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use serde_json::{Value, json};

use super::lanes::{IN, OUT};

/// Messages under way at a time.
pub const WINDOW: u16 = 1_000;

/// Relays until it is killed. Acknowledges each message, or, with `many`, up to a hundred at a time.
#[tokio::main]
pub async fn relay(url: &str, many: bool) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("a broker");
    let (from, to) = (connection.create_channel().await.expect("one"), connection.create_channel().await.expect("two"));
    from.basic_qos(WINDOW, BasicQosOptions::default()).await.expect("a prefetch");
    to.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let options = BasicConsumeOptions::default();
    let mut orders =
        from.basic_consume(IN.into(), "bare".into(), options, FieldTable::default()).await.expect("a queue");
    // Confirms are waited for in order; what is confirmed is acknowledged.
    let (under_way, mut confirms) = tokio::sync::mpsc::channel(usize::from(WINDOW));
    tokio::spawn(async move {
        while let Some((tag, confirm)) = confirms.recv().await {
            assert!(matches!(confirm.await, Ok(Confirmation::Ack(None))), "routed and confirmed");
            if !many || confirms.is_empty() || tag % 100 == 0 {
                from.basic_ack(tag, BasicAckOptions { multiple: many }).await.expect("an ack");
            }
        }
    });
    while let Some(order) = orders.next().await {
        let order = order.expect("a message");
        let mapped = mapped(&serde_json::from_slice(&order.data).expect("JSON"));
        let body = serde_json::to_vec(&mapped).expect("JSON");
        let properties = BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        let properties = match order.properties.message_id() {
            Some(id) => properties.with_message_id(id.clone()),
            None => properties,
        };
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirm = to.basic_publish(OUT.into(), routing_key(&mapped).into(), options, &body, properties).await;
        under_way.send((order.delivery_tag, confirm.expect("a channel"))).await.expect("the other half lives");
    }
}

fn routing_key(order: &Value) -> &'static str {
    match order["gross"].as_f64() {
        Some(300.0..) => "order.large",
        Some(200.0..) => "order.medium",
        _ => "order.small",
    }
}

/// What `messages::MAPPING` says, in Rust.
fn mapped(order: &Value) -> Value {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rounded = |value: f64| (value * 100.0).round() / 100.0;
    let (customer, address) = (&order["customer"], &order["shipping_address"]);
    let gross = order["total_price"].as_f64().unwrap_or_default();
    let net = rounded(gross / 1.2);
    let lines = order["line_items"].as_array().into_iter().flatten().map(|line| {
        let (quantity, price) =
            (line["quantity"].as_f64().unwrap_or_default(), line["price"].as_f64().unwrap_or_default());
        json!({ "gtin": line["barcode"], "quantity": line["quantity"], "net": rounded(price * quantity) })
    });
    let lines: Vec<Value> = lines.collect();
    json!({
        "number": order["name"],
        "web_id": order["id"],
        "placed_at": order["created_at"],
        "day": text(&order["created_at"]).split('T').next(),
        "currency": order["currency"],
        "channel": "web",
        "paid": order["financial_status"] == "paid",
        "customer": format!("{} {}", text(&customer["first_name"]), text(&customer["last_name"])),
        "email": text(&customer["email"]).to_lowercase(),
        "phone": customer["phone"],
        "street": address["street"],
        "postcode": address["postcode"],
        "city": address["city"],
        "country": address["country"],
        "gross": order["total_price"],
        "net": net,
        "vat": rounded(gross - net),
        "line_count": lines.len(),
        "note": order["note"],
        "lines": lines,
    })
}
