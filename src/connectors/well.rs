//! Whether a connection is well: its manifest's `check`, asked.

use super::connection::Connection;
use super::forms::Extra;
use super::manifest::{Auth, Grant};
use super::scope::View;
use crate::formula::Meta;
use crate::message::{Fault, Map, MessageId, Value};
use crate::protocols::Surroundings;

/// What asking a connection came to.
#[derive(Debug)]
pub enum Wellness {
    Well,
    Ill(Fault),
    /// It was not asked, for this reason.
    Unasked(&'static str),
}

/// Asks a connection whether it is well. Nothing is changed in its system.
pub async fn ask_whether_well(connection: &Connection, around: &Surroundings) -> Wellness {
    let head = &connection.manifest.head;
    let Some(request) = &head.check else { return Wellness::Unasked("its manifest has no `check`") };
    if matches!(&head.auth, Some(Auth::OAuth2(oauth)) if oauth.grant == Grant::RefreshToken) {
        // Each use may end the token that the hub keeps.
        return Wellness::Unasked(
            "its refresh token is the running hub's alone; `raccord status` tells how that fares",
        );
    }
    let (locals, headers) = (Map::new(), Map::new());
    let (id, time) = (MessageId::draw(), around.clock.now());
    let meta = Meta::of(&"check".into(), id, time);
    let view = View {
        operation: "check",
        connection: &connection.settings,
        document: &Value::Null,
        headers: &headers,
        item: None,
        locals: &locals,
        meta: &meta,
        id,
        time,
    };
    let asked = match connection.line(around) {
        Ok(line) => line.ask(request, &view, &Extra::default()).await,
        Err(fault) => Err(fault),
    };
    match asked {
        Ok(_) => Wellness::Well,
        Err(fault) => Wellness::Ill(fault),
    }
}
