//! What an AMQP error means, and what to do about it.

use lapin::ErrorKind;

use crate::config::tls::{explain, tls_error};
use crate::message::Fault;

/// [`fault_in`] of a broker that the amqp protocol speaks with.
pub fn fault_of(error: &lapin::Error) -> Fault {
    fault_in(error, "broker")
}

/// The fault that `error` of a connection or a channel is: lost and down are `reconnect`, what a person must change is
/// `misconfigured` and says what, a message over the broker's limit is `refuse`. `map` is where the settings of the
/// connection stand, such as `queue.rabbitmq`.
pub fn fault_in(error: &lapin::Error, map: &str) -> Fault {
    match error.kind() {
        ErrorKind::ProtocolError(said) => fault_of_reply(said.get_id(), said.get_message().as_str(), map),
        ErrorKind::IOError(io) => fault_of_io(io, map),
        ErrorKind::MissingHeartbeatError => gone("the broker was silent for longer than two heartbeats"),
        ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_) => Fault::misconfigured(
            "AMQP-PROTOCOL",
            format!(
                "whoever answers at the broker's address does not speak AMQP 0-9-1: check the port in `{map}.addresses` (5672, with \
                 TLS 5671), and give `{map}.tls` where it is encrypted"
            ),
        ),
        ErrorKind::ChannelsLimitReached => {
            Fault::retry("AMQP-LIMIT", "the broker allows no more channels on one connection: raise its `channel_max`")
        }
        ErrorKind::SerialisationError(_) => {
            Fault::refuse("AMQP-PROPERTY", "a property or header is too long for AMQP (short texts: 255 bytes)")
        }
        ErrorKind::AuthProviderError(_) => {
            login("the broker asked for another way to log in than name and password", map)
        }
        ErrorKind::InvalidChannel(_)
        | ErrorKind::InvalidChannelState(..)
        | ErrorKind::InvalidConnectionState(_)
        | ErrorKind::RuntimeShutdownError(_)
        | ErrorKind::FutureCompleted
        | ErrorKind::NoDefaultRuntime => gone("the connection to the broker was lost"),
        // The library may know more kinds one day; whatever it is, the channel is not to be trusted any more.
        _ => gone("the connection to the broker failed").detail(error.to_string()),
    }
}

pub fn gone(sentence: &str) -> Fault {
    Fault::reconnect("AMQP-GONE", sentence)
}

/// By reply code (AMQP 0-9-1, section 1.2.2.1) and, where one code means several things, by RabbitMQ's words.
fn fault_of_reply(code: u16, text: &str, map: &str) -> Fault {
    let fault = match code {
        311 => too_large(),
        320 => gone("the broker closed the connection"),
        403 if text.contains("mechanism EXTERNAL") => Fault::misconfigured(
            "AMQP-LOGIN",
            format!(
                "the broker has no user of the client certificate's name: make one (`rabbitmqctl add_user`), or give `{map}.user` and \
                 `{map}.password`"
            ),
        ),
        403 if text.contains("Login was refused") => {
            login("the broker does not know this user with this password", map)
        }
        403 => rights(text, map),
        404 => Fault::misconfigured("AMQP-MISSING", "the broker does not have it"),
        405 => Fault::misconfigured("AMQP-LOCKED", "another connection holds the queue for itself alone (exclusive)"),
        406 if text.contains("inequivalent arg") => Fault::misconfigured("AMQP-DIFFERENT", different(text)),
        406 if text.contains("message size") => too_large(),
        406 if text.contains("timed out") => gone("the broker waited too long for an acknowledgement"),
        406 if text.contains("unknown delivery tag") => gone("the broker did not know what was acknowledged"),
        406 => Fault::misconfigured("AMQP-DIFFERENT", "the broker does not accept what it was asked for"),
        402 => vhost(map),
        530 if text.contains("limit") => Fault::retry("AMQP-LIMIT", "the broker allows no more connections"),
        530 if text.contains("vhost") => vhost(map),
        530 => Fault::misconfigured("AMQP-RIGHTS", "the broker does not allow it"),
        506 | 541 => gone("the broker had a fault of its own or too few resources"),
        _ => gone("the broker closed the channel"),
    };
    fault.detail(text)
}

/// `PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but current is 'classic'`
/// in words.
fn different(text: &str) -> String {
    let mut quoted = text.split('\'').skip(1).step_by(2);
    let (argument, name) = (quoted.next().unwrap_or("an argument"), quoted.next().unwrap_or("it"));
    let end = text.rsplit_once(": received ").map_or("", |(_, end)| end);
    let (ours, theirs) = end.split_once(" but current is ").unwrap_or(("another value", "something else"));
    if argument == "x-queue-type" {
        return another_kind(name, theirs, ours);
    }
    let none = |value: &str| {
        if value.starts_with("none") {
            "nothing".to_owned()
        } else {
            value.replace("the value ", "").replace(" of type 'longstr'", "")
        }
    };
    format!(
        "`{name}` is there already and unlike what is needed: `{argument}` must be {}, the broker has {}. Delete it once it is \
         empty, so that it is made anew, or use other names",
        none(ours),
        none(theirs)
    )
}

/// The queue called `name` is of the kind `theirs`, as the broker says it, and should be of the kind `ours`.
fn another_kind(name: &str, theirs: &str, ours: &str) -> String {
    let kind = |said: &str, unsaid: &str| {
        let known = ["quorum", "classic", "stream"].into_iter().find(|known| said.contains(known));
        known.unwrap_or(unsaid).to_owned()
    };
    // What was declared without a kind is classic.
    let (theirs, ours) = (kind(theirs, "classic"), kind(ours, "classic"));
    format!(
        "`{name}` is there already and is a {theirs} queue; a {ours} queue is needed. Delete it once it is empty, so that it is \
         made anew, or use other names"
    )
}

fn vhost(map: &str) -> Fault {
    let sentence = format!(
        "there is no such virtual host, or the user may not use it: make it (`rabbitmqctl add_vhost`), give the user rights there, \
         or correct `{map}.vhost`"
    );
    Fault::misconfigured("AMQP-VHOST", sentence)
}

fn login(sentence: &str, map: &str) -> Fault {
    Fault::misconfigured("AMQP-LOGIN", format!("{sentence}: check `{map}.user` and `{map}.password`"))
}

/// From version 3.11 on the broker says which right it is: `configure access to queue 'q' in vhost '/' refused for user 'u'`.
fn rights(text: &str, map: &str) -> Fault {
    let named = ["configure", "write", "read"].into_iter().find(|right| text.contains(&format!("{right} access to")));
    let right = named.unwrap_or("configure, write and read");
    let sentence = format!(
        "the broker refused access: give the user (`{map}.user`) the right to {right} what is named here (`rabbitmqctl \
         set_permissions`)"
    );
    Fault::misconfigured("AMQP-RIGHTS", sentence)
}

pub fn too_large() -> Fault {
    Fault::refuse("AMQP-TOO-LARGE", "the message is larger than the broker takes (`max_message_size`)")
}

fn fault_of_io(error: &std::io::Error, map: &str) -> Fault {
    if let Some(tls) = tls_error(error) {
        let sentence = explain(tls, "the broker", &format!("{map}.tls"));
        return Fault::misconfigured("AMQP-TLS", sentence).detail(tls.to_string());
    }
    match error.kind() {
        std::io::ErrorKind::InvalidInput => Fault::misconfigured(
            "AMQP-TLS",
            format!("the host's name cannot stand in a certificate: give `{map}.tls.server_name`"),
        ),
        // Also what a broker does that wants TLS on this port.
        std::io::ErrorKind::ConnectionAborted
        | std::io::ErrorKind::ConnectionReset
        | std::io::ErrorKind::UnexpectedEof => gone("the broker closed the connection without a word"),
        _ => unreachable("the broker cannot be reached", map).detail(error.to_string()),
    }
}

pub fn unreachable(sentence: &str, map: &str) -> Fault {
    Fault::reconnect("AMQP-CONNECT", format!("{sentence}: check that it runs, and `{map}.addresses`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Next;

    fn check(code: u16, text: &str, expect: &str, next: Next) {
        let fault = fault_of_reply(code, text, "queue.rabbitmq");
        assert_eq!((fault.code(), fault.next()), (expect, next), "{fault}");
    }

    #[test]
    fn replies_say_what_to_do() {
        check(
            403,
            "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.",
            "AMQP-LOGIN",
            Next::Misconfigured,
        );
        check(
            403,
            "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'",
            "AMQP-RIGHTS",
            Next::Misconfigured,
        );
        check(530, "NOT_ALLOWED - vhost x not found", "AMQP-VHOST", Next::Misconfigured);
        check(
            530,
            "NOT_ALLOWED - access to vhost 'x' refused: connection limit (1) is reached",
            "AMQP-LIMIT",
            Next::Retry { after: None },
        );
        check(406, "PRECONDITION_FAILED - unknown delivery tag 7", "AMQP-GONE", Next::Reconnect);
        check(
            406,
            "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out.",
            "AMQP-GONE",
            Next::Reconnect,
        );
        check(
            406,
            "PRECONDITION_FAILED - message size 20 is larger than configured max size 10",
            "AMQP-TOO-LARGE",
            Next::Refuse,
        );
        check(320, "CONNECTION_FORCED - broker forced connection closure", "AMQP-GONE", Next::Reconnect);
    }

    #[test]
    fn who_may_not_is_told_the_setting_and_the_right() {
        let said = |code, text: &str| fault_of_reply(code, text, "queue.rabbitmq").to_string();
        let login = said(403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.");
        assert!(login.contains("check `queue.rabbitmq.user` and `queue.rabbitmq.password`"), "{login}");
        let vhost = said(530, "NOT_ALLOWED - vhost x not found");
        assert!(vhost.contains("or correct `queue.rabbitmq.vhost`"), "{vhost}");
        let wanted = [
            (
                "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'u'",
                "right to configure what",
            ),
            ("ACCESS_REFUSED - read access to exchange 'e' in vhost '/' refused for user 'u'", "right to read what"),
            (
                "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'",
                "configure, write and read what",
            ),
        ];
        for (text, right) in wanted {
            let rights = said(403, text);
            assert!(rights.contains(right) && rights.contains("(`queue.rabbitmq.user`)"), "{rights}");
        }
    }

    #[test]
    fn a_difference_is_told_in_words() {
        for (theirs, kind) in [("'classic'", "classic"), ("none", "classic"), ("'stream'", "stream")] {
            let said = different(&format!(
                "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'raccord.a' in vhost '/': received 'quorum' but current is {theirs}"
            ));
            let wanted = format!("`raccord.a` is there already and is a {kind} queue; a quorum queue is needed.");
            assert!(said.starts_with(&wanted), "{said}");
        }
        let said = different(
            "PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'q' in vhost '/': received the value 'reject-publish' of type 'longstr' but current is none",
        );
        assert!(said.contains("the broker has nothing"), "{said}");
    }
}
