//! Whether a group of commits waits for more members before it is written.
//!
//! ```text
//! 8 sessions, each commits again when it has its answer; what came while a group was written is the next group:
//!   write 4 ──▶ write the other 4 ──▶ write 4 ...    each waits for two writes
//! who was answered has its next commit ready soon after: a group that waits for it a little takes all 8
//! ```
//! Only where a write takes long compared with that, and only as long as those come who are waited for.

use std::time::Duration;

/// The longest wait: for an answer to reach its session, and the next commit to come.
const WAIT_MAX: Duration = Duration::from_millis(2);
/// The most groups in a row that do not wait after waiting was in vain.
const REST_MAX: u32 = 64;

/// What is known of those who commit.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// How many had written or waited when the last write ended.
    expected: usize,
    /// How many groups in a row do not wait.
    rest: u32,
    /// How many did not after the last time that nobody came; zero since somebody came.
    rested: u32,
}

impl Gathering {
    /// How many members a group of now `waiting` should have, and how long it waits for them, where the last write took
    /// so long; `None` where it does not wait.
    pub fn wait(&mut self, waiting: usize, took: Duration) -> Option<(usize, Duration)> {
        if waiting >= self.expected {
            return None;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return None;
        }
        Some((self.expected, (took / 2).min(WAIT_MAX)))
    }

    /// Some were waited for, and so many of them came.
    pub fn waited(&mut self, wanted: usize, came: usize) {
        self.rested = match 2 * came >= wanted {
            true => 0,
            false => (2 * self.rested).clamp(1, REST_MAX),
        };
        self.rest = self.rested;
    }

    /// A group of so many members was written, and so many wait.
    pub fn wrote(&mut self, members: usize, waiting: usize) {
        self.expected = members + waiting;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TOOK: Duration = Duration::from_millis(4);

    #[test]
    fn who_was_answered_is_waited_for() {
        let mut gathering = Gathering::default();
        assert_eq!(gathering.wait(1, TOOK), None, "nothing is known");
        gathering.wrote(4, 4);
        assert_eq!(gathering.wait(4, TOOK), Some((8, TOOK / 2)));
        gathering.waited(4, 4);
        gathering.wrote(8, 0);
        let long = Duration::from_secs(4);
        assert_eq!(gathering.wait(1, long), Some((8, WAIT_MAX)));
        assert_eq!(gathering.wait(8, TOOK), None, "all are there");
    }

    #[test]
    fn one_session_waits_for_nobody() {
        let mut gathering = Gathering::default();
        for _ in 0..3 {
            assert_eq!(gathering.wait(1, TOOK), None);
            gathering.wrote(1, 0);
        }
    }

    #[test]
    fn waiting_in_vain_becomes_rare() {
        let mut gathering = Gathering::default();
        let mut waits = 0;
        for _ in 0..1_000 {
            if let Some((wanted, _)) = gathering.wait(5, TOOK) {
                waits += 1;
                gathering.waited(wanted - 5, 1);
            }
            gathering.wrote(5, 5);
        }
        assert!(waits < 24, "{waits} of 1,000 groups waited");
        // As soon as somebody comes, every group waits.
        let wanted = (0..REST_MAX + 1)
            .find_map(|_| gathering.wait(5, TOOK))
            .unwrap();
        gathering.waited(wanted.0 - 5, 3);
        gathering.wrote(8, 2);
        assert!(gathering.wait(2, TOOK).is_some());
    }
}
