//! What this server grants clients, by profile.

use std::{num::NonZeroU16, num::NonZeroU32, time::Duration};

use model::limits::{self, Profile};
use mqtt_proto::{QoS, server::Settings};

/// What this server grants clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) settings: Settings,
    /// Bytes of the largest packet taken.
    pub(crate) packet_bytes: usize,
    /// Bytes of the largest payload taken.
    pub(crate) payload_bytes: usize,
    pub(crate) maximum_qos: QoS,
    /// In seconds. A keep-alive outside is moved inside, and no keep-alive is the longest.
    pub(crate) keep_alive_seconds: Option<(u16, u16)>,
    /// How long a session may outlive its connection.
    pub(crate) session_expiry: Duration,
    pub(crate) subscription_ids: bool,
    pub(crate) filters_per_packet: usize,
    /// Whether 3.1.1 clients are told why they are refused, where 3.1.1 can say so.
    pub(crate) tells_v311: bool,
    /// Whether names and rates are bounded as in [`crate::strict`].
    pub(crate) strict: bool,
}

/// AWS quota: MQTT packets of 146 KiB, payloads of 128 KiB.
const AWS_PACKET_BYTES: usize = 149_504;
const AWS_PAYLOAD_BYTES: usize = 128 * 1024;

impl Terms {
    pub(crate) fn of(profile: Profile) -> Self {
        match profile {
            Profile::Standard | Profile::AzureStrict => Self {
                settings: Settings::default(),
                packet_bytes: limits::PACKET_BYTES,
                payload_bytes: limits::PACKET_BYTES,
                maximum_qos: QoS::ExactlyOnce,
                keep_alive_seconds: None,
                session_expiry: limits::SESSION_EXPIRY,
                subscription_ids: true,
                filters_per_packet: limits::FILTERS_PER_PACKET,
                tells_v311: true,
                strict: false,
            },
            // AWS IoT Core Developer Guide, "MQTT" and the quota page.
            Profile::AwsStrict => Self {
                settings: Settings {
                    receive_maximum: NonZeroU16::new(100).unwrap_or(NonZeroU16::MIN),
                    topic_alias_maximum: 8,
                    maximum_packet_bytes: u32::try_from(AWS_PACKET_BYTES)
                        .ok()
                        .and_then(NonZeroU32::new),
                    outbound_window: 100,
                    outbound_aliases: 8,
                },
                packet_bytes: AWS_PACKET_BYTES,
                payload_bytes: AWS_PAYLOAD_BYTES,
                maximum_qos: QoS::AtLeastOnce,
                keep_alive_seconds: Some((30, 1200)),
                session_expiry: Duration::from_secs(3600),
                subscription_ids: false,
                filters_per_packet: 8,
                tells_v311: false,
                strict: true,
            },
        }
    }

    /// The keep-alive in force instead of the one asked for, if another.
    pub(crate) fn keep_alive(&self, asked: u16) -> Option<u16> {
        let (shortest, longest) = self.keep_alive_seconds?;
        let granted = match asked {
            0 => longest,
            asked => asked.clamp(shortest, longest),
        };
        (granted != asked).then_some(granted)
    }
}

#[test]
fn aws_moves_keep_alives_into_its_range() {
    let terms = Terms::of(Profile::AwsStrict);
    for (asked, granted) in [
        (0, Some(1200)),
        (5, Some(30)),
        (30, None),
        (1200, None),
        (u16::MAX, Some(1200)),
    ] {
        assert_eq!(terms.keep_alive(asked), granted, "{asked}");
    }
    assert_eq!(Terms::of(Profile::Standard).keep_alive(0), None);
}
