//! The two protocol versions and the three levels of service.

/// A version of the protocol that we speak.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5.0, protocol level 5.
    V5,
}

/// How often a message may arrive. MQTT 5.0 §4.3.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum QoS {
    /// Once or not at all.
    #[default]
    AtMostOnce = 0,
    /// Once or several times.
    AtLeastOnce = 1,
    /// Once.
    ExactlyOnce = 2,
}

/// A number that is no level of service.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("QoS is 0, 1 or 2, not {0}")]
pub struct InvalidQoS(pub u8);

impl TryFrom<u8> for QoS {
    type Error = InvalidQoS;

    fn try_from(number: u8) -> Result<Self, InvalidQoS> {
        match number {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            other => Err(InvalidQoS(other)),
        }
    }
}
