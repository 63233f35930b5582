//! Requests out: one message, one request, under the message's id.

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Request;

use super::client::Client;
use super::settings::{HttpTarget, has_credentials, web_address};
use crate::clock::Clock;
use crate::codecs::Codec;
use crate::formula::Scope;
use crate::message::{Fault, Map, Text, Value};
use crate::protocols::{Delivery, Prepared, Surroundings, Target, TargetSettings};

impl TargetSettings for HttpTarget {
    fn open(&self, _name: &str, codec: Arc<dyn Codec>, surroundings: &Surroundings) -> Result<Arc<dyn Target>, Fault> {
        let clock = surroundings.clock.clone();
        let client = Client::new(&self.into(), &surroundings.folder, clock.clone())?;
        Ok(Arc::new(Sender { settings: self.clone(), codec, client, clock }))
    }
}

struct Sender {
    settings: HttpTarget,
    codec: Arc<dyn Codec>,
    client: Client,
    clock: Clock,
}

#[async_trait]
impl Target for Sender {
    /// `address` holds `url`, and `headers` where there are any. Credentials are added when sending: they are not stored.
    fn prepare(&self, scope: &Scope<'_>) -> Result<Prepared, Fault> {
        let mut address = Map::new();
        address.insert("url", self.url(scope)?);
        let mut headers = Map::new();
        for (name, template) in self.settings.headers.iter().flatten() {
            let Some(value) = template.render(scope).map_err(|fault| fault.at(format!("headers.{name}")))? else {
                continue;
            };
            headers.insert(name.clone(), header_text(name, &value)?);
        }
        if !headers.is_empty() {
            address.insert("headers", headers);
        }
        Ok(Prepared { body: self.codec.encode(scope.document)?, address })
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Option<Text>, Fault> {
        let answer = self.client.send(self.request(delivery)?).await?;
        let answer = self.client.judge(answer)?;
        Ok(Some(answer.status.to_string().into()))
    }
}

impl Sender {
    fn url(&self, scope: &Scope<'_>) -> Result<Text, Fault> {
        let rendered = self.settings.url.render(scope).map_err(|fault| fault.at("url"))?;
        let text = rendered.as_ref().and_then(Value::plain).unwrap_or_default();
        match web_address(&text) {
            Some(url) if !has_credentials(&url) => Ok(text),
            Some(_) => {
                Err(Fault::refuse("HTTP-URL", "an address holds no credentials; they belong in `auth`").at("url"))
            }
            None => Err(Fault::refuse("HTTP-URL", format!("`{text}` is not an address to send to")).at("url")),
        }
    }

    fn request(&self, delivery: &Delivery) -> Result<Request, Fault> {
        let address = &delivery.prepared.address;
        let url = address.get("url").and_then(Value::as_text).and_then(web_address);
        let url = url.ok_or_else(|| Fault::refuse("HTTP-URL", "the stored message has no address to send to"))?;
        let mut request = Request::new(self.settings.method(), url);
        let id = delivery.id.to_string();
        let body = delivery.prepared.body.clone();
        *request.headers_mut() = self.headers(address, &id, &body)?;
        *request.body_mut() = Some(body.into());
        Ok(request)
    }

    fn headers(&self, address: &Map, id: &str, body: &[u8]) -> Result<HeaderMap, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.codec.content_type()));
        for (name, value) in address.get("headers").and_then(Value::as_map).into_iter().flat_map(Map::iter) {
            let named = HeaderName::try_from(name.as_str());
            if let (Ok(name), Ok(value)) = (named, header_value(name, value.as_text().unwrap_or_default())) {
                headers.insert(name, value);
            }
        }
        if let Ok(value) = HeaderValue::try_from(id) {
            headers.insert(&self.settings.idempotency.0, value);
        }
        if let Some(auth) = &self.settings.auth {
            auth.prove(&mut headers, id, body, self.clock.now())?;
        }
        Ok(headers)
    }
}

fn header_text(name: &str, value: &Value) -> Result<Text, Fault> {
    let text = value.plain().ok_or_else(|| {
        Fault::refuse("HTTP-HEADER", format!("header {name} cannot be {}", value.kind())).at(format!("headers.{name}"))
    })?;
    header_value(name, &text).map(|_| text)
}

/// A line break in a value would let a message add headers of its own.
fn header_value(name: &str, text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        Fault::refuse("HTTP-HEADER", format!("header {name} cannot hold a line break or a control character"))
            .at(format!("headers.{name}"))
    })
}
