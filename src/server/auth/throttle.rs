//! How long an address waits for the answer after it failed to prove itself.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

/// Addresses that are remembered.
const ADDRESSES_MAX: NonZeroUsize = NonZeroUsize::new(4_096).expect("invariant: not zero");
/// The wait after the first failure; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// A failure is forgotten after this time without another.
const MEMORY: Duration = Duration::from_secs(60);

/// Failures by address, not by user: nobody can lock another out by failing in his name.
#[derive(Debug)]
pub struct Throttle {
    failures: Mutex<LruCache<IpAddr, (u32, Instant)>>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            failures: Mutex::new(LruCache::new(ADDRESSES_MAX)),
        }
    }
}

impl Throttle {
    /// Notes a failure; the answer is how long to wait before the client is told.
    pub fn failed(&self, address: IpAddr, now: Instant) -> Duration {
        let address = group(address);
        let mut failures = self.failures.lock();
        let before = match failures.get(&address) {
            Some((count, last)) if now.saturating_duration_since(*last) < MEMORY => *count,
            _ => 0,
        };
        failures.put(address, (before.saturating_add(1), now));
        let factor = 1_u32.checked_shl(before).unwrap_or(u32::MAX);
        FIRST_WAIT.saturating_mul(factor).min(WAIT_MAX)
    }

    /// Forgets the failures of an address that has proved itself.
    pub fn succeeded(&self, address: IpAddr) {
        self.failures.lock().pop(&group(address));
    }
}

/// One customer has a whole /64 of IPv6.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = v6.to_bits() >> 64 << 64;
            IpAddr::V6(network.into())
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_are_forgotten() {
        let throttle = Throttle::default();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let now = Instant::now();
        let waits: Vec<u128> = (0..40)
            .map(|_| throttle.failed(address, now).as_millis())
            .collect();
        assert_eq!(waits[..7], [50, 100, 200, 400, 800, 1_600, 2_000]);
        assert_eq!(waits[39], 2_000);
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        assert_eq!(throttle.failed(other, now), FIRST_WAIT);
        assert_eq!(throttle.failed(address, now + MEMORY), FIRST_WAIT);
        throttle.failed(other, now);
        throttle.succeeded(other);
        assert_eq!(throttle.failed(other, now), FIRST_WAIT);
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        let throttle = Throttle::default();
        let now = Instant::now();
        let wait = |address: &str| throttle.failed(address.parse().unwrap(), now).as_millis();
        assert_eq!(wait("2001:db8:0:1::1"), 50);
        assert_eq!(wait("2001:db8:0:1:ffff::2"), 100);
        assert_eq!(wait("2001:db8:0:2::1"), 50);
        assert_eq!(wait("192.0.2.9"), 50);
        assert_eq!(wait("::ffff:192.0.2.9"), 100);
    }
}
