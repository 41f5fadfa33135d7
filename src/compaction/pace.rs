//! What compactions take of the disk: so many bytes a second, those of all jobs together.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What may be taken at once after a rest, as the time in which it would have been taken.
const BURST: Duration = Duration::from_millis(100);

/// A limit on the bytes that are read and written.
///
/// Whoever has moved bytes owes the time that they take at the limit, behind all that is owed already: a bucket of tokens
/// that may be overdrawn, so that no piece is too large for it.
#[derive(Debug)]
pub struct Pace {
    /// Zero for no limit.
    bytes_per_second: u64,
    started: Instant,
    /// Up to when, since the start, the bytes are paid.
    paid_until: Mutex<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Pace {
    /// A limit of so many bytes a second; zero for none.
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            started: Instant::now(),
            paid_until: Mutex::default(),
        }
    }

    /// Counts bytes that were moved; answers how long to wait before more are.
    pub fn owed_for(&self, bytes: u64) -> Duration {
        if self.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        let mut paid_until = self.paid_until.lock();
        let now = self.started.elapsed();
        *paid_until = paid(*paid_until, bytes, self.bytes_per_second, now);
        paid_until.saturating_sub(now)
    }
}

/// Up to when bytes are paid once `bytes` more were moved at `now`.
fn paid(until: Duration, bytes: u64, bytes_per_second: u64, now: Duration) -> Duration {
    let cost = Duration::from_secs_f64(bytes as f64 / bytes_per_second as f64);
    until.max(now.saturating_sub(BURST)).saturating_add(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEGABYTE: u64 = 1 << 20;

    /// Moves pieces one after the other by a clock that only waiting moves; answers the time that it took.
    fn taken(pieces: &[u64], jobs: usize) -> Duration {
        let (mut until, mut now) = (Duration::ZERO, Duration::from_secs(7));
        let begun = now;
        for round in pieces.chunks(jobs) {
            for piece in round {
                until = paid(until, *piece, 10 * MEGABYTE, now);
            }
            now = now.max(until);
        }
        now - begun
    }

    #[test]
    fn bytes_take_the_time_of_the_limit_in_pieces_of_any_size() {
        let about = |taken: Duration, seconds: f64| (taken.as_secs_f64() - seconds).abs() < 0.001;
        let burst = BURST.as_secs_f64();
        for jobs in [1, 2] {
            assert!(about(taken(&[MEGABYTE; 100], jobs), 10.0 - burst));
            assert!(about(taken(&[100 * MEGABYTE], jobs), 10.0 - burst));
            assert!(about(taken(&[MEGABYTE / 2, 0], jobs), 0.0));
        }
    }

    #[test]
    fn a_rest_saves_no_more_than_a_burst() {
        let now = Duration::from_secs(100);
        let until = paid(Duration::from_secs(1), 10 * MEGABYTE, 10 * MEGABYTE, now);
        assert_eq!(until, now - BURST + Duration::from_secs(1));
    }

    #[test]
    fn without_a_limit_nothing_is_owed() {
        assert_eq!(Pace::default().owed_for(u64::MAX), Duration::ZERO);
        assert!(Pace::new(1).owed_for(10) > Duration::from_secs(9));
    }
}
