//! What travels: web orders of about 1.5 KB, and lines of a price file.

use std::fmt::Write;

/// Different orders, sent in turn.
pub fn orders() -> Vec<String> {
    (0..256).map(order).collect()
}

/// The 20 fields each order is mapped to.
pub const MAPPING: &str = "
  - map:
      number: $.name
      web_id: $.id
      placed_at: $.created_at
      day: \"=first(split($.created_at, 'T'))\"
      currency: $.currency
      channel: web
      paid: =$.financial_status == 'paid'
      customer: \"=concat($.customer.first_name, ' ', $.customer.last_name)\"
      email: =lower($.customer.email)
      phone: $.customer.phone?
      street: $.shipping_address.street
      postcode: $.shipping_address.postcode
      city: $.shipping_address.city
      country: $.shipping_address.country
      gross: $.total_price
      net: \"=net_of_vat($.total_price, 20)\"
      vat: \"=vat_of($.total_price, 20)\"
      line_count: =count($.line_items)
      note: $.note?
      lines:
        each: $.line_items
        map: { gtin: $item.barcode, quantity: $item.quantity, net: '=round($item.price * $item.quantity, 2)' }
";

fn order(number: usize) -> String {
    let mut lines = String::new();
    for line in 0..5 {
        let comma = if line == 0 { "" } else { "," };
        let (gtin, price) = (3_760_000_000_000_usize + number * 10 + line, 4 + line * 7);
        write!(
            lines,
            r#"{comma}{{"id":{},"barcode":"{gtin}","title":"Notebook ruled {line}, 96 pages","sku":"NB-{number}-{line}","quantity":{},"price":{price}.90,"tax_rate":20,"discount":0.00}}"#,
            number * 100 + line,
            line + 1,
        )
        .expect("writing to a string does not fail");
    }
    format!(
        concat!(
            r##"{{"id":{},"name":"#{}","created_at":"2026-11-02T10:{:02}:00+01:00","updated_at":"2026-11-02T10:{:02}:30+01:00","##,
            r##""currency":"EUR","financial_status":"paid","total_price":{}.40,"total_discount":0.00,"source_name":"web","##,
            r##""customer":{{"id":{},"first_name":"Camille","last_name":"Exemple","email":"Camille.Exemple{}@example.com","phone":"+33 1 99 00 00 {:02}","accepts_marketing":true,"locale":"fr-FR"}},"##,
            r##""shipping_address":{{"street":"{} rue de l'Essai","postcode":"75{:03}","city":"Paris","country":"FR","company":null}},"##,
            r##""billing_address":{{"street":"{} rue de l'Essai","postcode":"75{:03}","city":"Paris","country":"FR","company":null}},"##,
            r##""line_items":[{}],"note":"Please ring twice","tags":["web","autumn"],"test":true}}"##,
        ),
        1_000_000 + number,
        5_000 + number,
        number % 60,
        number % 60,
        100 + number,
        7_000 + number,
        number,
        number % 100,
        number,
        number % 20,
        number,
        number % 20,
        lines,
    )
}

/// A price file: a header and lines of 13 fields.
pub fn price_file(rows: usize) -> String {
    let mut text = String::with_capacity(rows * 130);
    text.push_str("sku,gtin,label,brand,category,color,size,quantity,price,vat_rate,store,country,sold_on\n");
    for row in 0..rows {
        let colors = ["red", "blue", "green", "black"];
        let label = if row % 50 == 0 { "\"Chair, folding\"" } else { "Chair folding" };
        writeln!(
            text,
            "SKU-{row:07},{},{label},Exemple,Furniture,{},{},{},{}.{:02},{},S{:03},FR,{:02}/{:02}/2026",
            3_760_000_000_000_usize + row,
            colors[row % 4],
            row % 60,
            1 + row % 12,
            5 + row % 300,
            row % 100,
            if row % 3 == 0 { "5.5" } else { "20" },
            row % 140,
            1 + row % 28,
            1 + row % 12,
        )
        .expect("writing to a string does not fail");
    }
    text
}
