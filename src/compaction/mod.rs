//! Compaction: growing rows become segments, small segments become full ones, rows move to the range of their key.
//!
//! All kinds are one path: [`policy`] picks inputs (a pure choice), [`expire`] deletes what has expired of them, [`run`] reads
//! them with deletes applied, [`train`] learns what computed items of a key need, [`sort`] sorts narrow rows within a memory
//! budget, [`ranges`] cuts the stream into segments, [`gather`] fetches
//! the vectors, and one commit replaces inputs by outputs. [`scheduler`] runs [`jobs`] in the background; [`depth`]
//! measures how well it all went, [`preview`] how well it would go. [`filters`] gives segments the bloom filters of indexes that are younger than they.

mod computed;
pub mod depth;
pub mod expire;
mod filters;
mod gather;
mod input;
pub mod jobs;
mod memory;
mod pace;
pub mod policy;
pub mod preview;
pub mod ranges;
pub mod run;
pub mod scheduler;
mod sort;
mod train;
mod write;

mod spill;
mod steps;
mod threads;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
