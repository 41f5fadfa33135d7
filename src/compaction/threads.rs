//! The threads of compaction: its own, and behind all others where there is not enough processor for all.

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};
use crate::settings::Settings;

/// The pool of threads that compute for all jobs.
///
/// # Errors
/// 58030 when threads cannot be started.
pub(super) fn computing(settings: &Settings) -> Result<ThreadPool> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = usize::try_from(settings.compaction_worker_pool_size).unwrap_or(usize::MAX);
    let nice = settings.compaction_nice;
    ThreadPoolBuilder::new()
        .num_threads(most.min(cores))
        .thread_name(|_| "compaction".to_string())
        .start_handler(move |_| lower_priority(nice))
        .build()
        .map_err(|e| Error::io("start the threads of compaction", std::io::Error::other(e)))
}

/// Lets the calling thread wait for those of others: adds so much to its nice value. Only on Linux, where threads have one
/// of their own.
///
/// A thread with 5 more gets about a third of the time of one that wants the same processor, and all of it where none
/// does. Much more would make commits slow, which a thread of compaction may happen to write for all who wait, and let
/// compaction fall behind on a machine that is always busy.
#[cfg(target_os = "linux")]
pub(super) fn lower_priority(by: u64) {
    if by == 0 {
        return;
    }
    let own = std::fs::read_to_string("/proc/thread-self/stat");
    let own = own.ok().as_deref().and_then(linux::nice_in).unwrap_or(0);
    let nice = own.saturating_add(i32::try_from(by).unwrap_or(i32::MAX));
    if let Err(error) = linux::set_nice(nice.min(linux::NICE_MAX)) {
        tracing::warn!(%error, "a thread of compaction keeps its priority");
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn lower_priority(_by: u64) {}

#[cfg(target_os = "linux")]
pub(super) mod linux {
    //! Nice values of threads.

    use thread_priority::{
        Error, NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue,
        ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
    };

    /// That of a thread which comes last.
    pub const NICE_MAX: i32 = 19;
    const POLICY: ThreadSchedulePolicy =
        ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);

    /// The nice value in `/proc/<pid>/task/<tid>/stat`: the nineteenth field of proc(5). The second is a name in
    /// parentheses, which may have any characters.
    pub fn nice_in(stat: &str) -> Option<i32> {
        let (_, from_third) = stat.rsplit_once(") ")?;
        from_third.split(' ').nth(19 - 3)?.parse().ok()
    }

    /// Sets the nice value of the calling thread.
    pub fn set_nice(nice: i32) -> Result<(), Error> {
        let priority =
            priority_of(nice).ok_or(Error::Priority("no priority has this nice value"))?;
        set_thread_priority_and_policy(thread_native_id(), priority, POLICY)
    }

    /// The priority, of those from 0 to 99, that stands for a nice value.
    pub fn priority_of(nice: i32) -> Option<ThreadPriority> {
        let all = (0..=99_u8).filter_map(|p| ThreadPriorityValue::try_from(p).ok());
        let mut all = all.map(ThreadPriority::Crossplatform);
        all.find(|p| p.to_posix(POLICY).is_ok_and(|of| of == nice))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn every_nice_value_can_be_set() {
            assert!((0..=NICE_MAX).all(|nice| priority_of(nice).is_some()));
            assert!(priority_of(NICE_MAX + 1).is_none());
        }

        #[test]
        fn nice_values_are_found_behind_any_name() {
            let stat = "12 (a) b (c) S 1 1 1 0 -1 4 1 2 3 4 5 6 7 8 30 10 4 0";
            assert_eq!(nice_in(stat), Some(10));
            assert_eq!(nice_in("12 (a"), None);
        }
    }
}
