//! Which service a connection is for. Any protocol is served on any port.

use crate::{Alpn, Peer};

/// The protocol that a peer speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Selected {
    /// MQTT.
    Mqtt,
    /// HTTP.
    Http,
    /// AMQP 1.0.
    Amqp,
}

/// Chooses by what was agreed on in the handshake, else by the first byte; `None` when neither
/// tells.
///
/// `0x10` opens a CONNECT packet (MQTT 5.0 §3.1.1), `A` the protocol header `AMQP` (AMQP 1.0
/// part 2 §2.2), any other letter an HTTP method (RFC 9112 §3).
#[must_use]
pub fn select(peer: &Peer, first_byte: Option<u8>) -> Option<Selected> {
    if let Some(alpn) = peer.alpn {
        return Some(match alpn {
            Alpn::AmznMqttCa | Alpn::Mqtt => Selected::Mqtt,
            Alpn::AmznHttpCa | Alpn::Http11 => Selected::Http,
        });
    }
    match first_byte? {
        0x10 => Some(Selected::Mqtt),
        b'A' => Some(Selected::Amqp),
        letter if letter.is_ascii_alphabetic() => Some(Selected::Http),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_agreed_on_wins_over_the_first_byte() {
        check(Some(Alpn::AmznMqttCa), None, Some(Selected::Mqtt));
        check(Some(Alpn::Mqtt), Some(b'G'), Some(Selected::Mqtt));
        check(Some(Alpn::AmznHttpCa), None, Some(Selected::Http));
        check(Some(Alpn::Http11), Some(0x10), Some(Selected::Http));
    }

    #[test]
    fn without_agreement_the_first_byte_tells() {
        check(None, Some(0x10), Some(Selected::Mqtt));
        check(None, Some(b'A'), Some(Selected::Amqp));
        check(None, Some(b'G'), Some(Selected::Http));
        check(None, Some(b'p'), Some(Selected::Http));
        check(None, Some(0x20), None);
        check(None, Some(0), None);
        check(None, None, None);
    }

    #[track_caller]
    fn check(alpn: Option<Alpn>, first_byte: Option<u8>, expected: Option<Selected>) {
        let peer = Peer {
            address: ([127, 0, 0, 1], 1).into(),
            local_port: 8883,
            alpn,
            sni: None,
            chain: Vec::new(),
            tls_version: None,
            cipher: None,
            key_exchange: None,
            handshake: Duration::ZERO,
        };
        assert_eq!(select(&peer, first_byte), expected);
    }
}
