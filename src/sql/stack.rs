//! Room on the stack for what nests.

use std::future::{Future, poll_fn};
use std::pin::pin;

/// How many bytes of the stack a level may take, with all that it calls.
const LEVEL: usize = 1 << 20;
/// How many bytes come at once when those do not suffice.
const MORE: usize = 4 << 20;

/// Runs a future that may hold others like it, with room for one more level at each.
pub(super) async fn with_room<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| stacker::maybe_grow(LEVEL, MORE, || future.as_mut().poll(context))).await
}
