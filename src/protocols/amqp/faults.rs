//! What a broken channel means for what was done on it.

use lapin::ErrorKind;

use crate::message::Fault;
use crate::queue::rabbitmq::fault_of;

/// The broker closed the channel, or it broke, over `what`.
pub(super) fn of_channel(error: &lapin::Error, what: impl Into<String>) -> Fault {
    fault_of(error).at(what)
}

/// Whether the broker closed the channel over the size of one message, and the size it takes where it says so.
pub(super) fn size_taken(error: &lapin::Error) -> Option<u64> {
    let ErrorKind::ProtocolError(refusal) = error.kind() else { return None };
    let said = refusal.get_message().to_string();
    if !said.contains("message size") {
        return None;
    }
    let mut numbers = said.split(|char: char| !char.is_ascii_digit()).filter_map(|digits| digits.parse().ok());
    // "message size 70000 is larger than configured max size 65536"
    numbers.next_back()
}
