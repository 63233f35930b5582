//! What the journal says of arrivals, some of which came before.

use super::{Accepted, Event, Hop, Intake};

/// What the journal says of an arrival; its sender could not know what became of it.
pub fn hops(arrival: &Intake, accepted: Accepted) -> Vec<Hop> {
    let (event, message) = match accepted {
        Accepted::New(_) => return arrival.hops.clone(),
        Accepted::Repeat(message) => (Event::Repeat, message),
        Accepted::Conflict(message) => (Event::Conflict, message),
    };
    arrival.hops.first().map(|first| Hop { event, message, ..first.clone() }).into_iter().collect()
}
