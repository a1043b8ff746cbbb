//! How many connections there may be, in all and from one address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use model::limits;

/// Hands out connection permits.
#[derive(Clone)]
pub struct Permits(Arc<Inner>);

struct Inner {
    total: usize,
    per_address: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OverLimit {
    /// The hub is full.
    #[error("{limit} connections are open, no more are accepted")]
    Total {
        /// Connections allowed.
        limit: usize,
    },
    /// This address has its share.
    #[error("{limit} connections are open from this address, no more are accepted from it")]
    PerAddress {
        /// Connections allowed.
        limit: usize,
    },
}

impl Default for Permits {
    fn default() -> Self {
        Self::new(limits::CONNECTIONS_TOTAL, limits::CONNECTIONS_PER_ADDRESS)
    }
}

impl Permits {
    /// At most `total` connections, and at most `per_address` from one IPv4 address or one IPv6
    /// network of 64 bits, which is what one subscriber is given.
    #[must_use]
    pub fn new(total: usize, per_address: usize) -> Self {
        Self(Arc::new(Inner {
            total,
            per_address,
            held: Mutex::default(),
        }))
    }

    /// Takes a permit for a connection from this address.
    ///
    /// # Errors
    ///
    /// [`OverLimit`]; close the connection.
    pub fn acquire(&self, address: IpAddr) -> Result<Permit, OverLimit> {
        let address = subscriber(address);
        let mut held = self.0.held();
        if held.total >= self.0.total {
            return Err(OverLimit::Total {
                limit: self.0.total,
            });
        }
        let from_address = held.by_address.entry(address).or_default();
        if *from_address >= self.0.per_address {
            let limit = self.0.per_address;
            return Err(OverLimit::PerAddress { limit });
        }
        *from_address += 1;
        held.total += 1;
        Ok(Permit {
            permits: Arc::clone(&self.0),
            address,
        })
    }

    /// Connections open now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held().total
    }
}

impl Inner {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        // Two counters have no state in which a panic could leave them half changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's permit, given back when dropped.
pub struct Permit {
    permits: Arc<Inner>,
    address: IpAddr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.permits.held();
        held.total -= 1;
        if let Some(from_address) = held.by_address.get_mut(&self.address) {
            *from_address -= 1;
            if *from_address == 0 {
                held.by_address.remove(&self.address);
            }
        }
    }
}

/// The part of an address that stands for one subscriber.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_connection() {
        let permits = Permits::new(3, 2);
        let acquire = |address: &str| permits.acquire(address.parse().unwrap());
        let first = acquire("10.0.0.1").unwrap();
        let _second = acquire("::ffff:10.0.0.1").unwrap();
        assert_eq!(
            acquire("10.0.0.1").err(),
            Some(OverLimit::PerAddress { limit: 2 })
        );
        let _other = acquire("10.0.0.2").unwrap();
        assert_eq!(
            acquire("10.0.0.3").err(),
            Some(OverLimit::Total { limit: 3 })
        );
        drop(first);
        assert_eq!(permits.held(), 2);
        assert!(acquire("10.0.0.1").is_ok());
    }

    #[test]
    fn one_network_of_64_bits_counts_as_one_address() {
        let permits = Permits::new(10, 1);
        let _held = permits.acquire("2001:db8::1".parse().unwrap()).unwrap();
        assert!(
            permits
                .acquire("2001:db8::ffff:2".parse().unwrap())
                .is_err()
        );
        assert!(permits.acquire("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }
}
