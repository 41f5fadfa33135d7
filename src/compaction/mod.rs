//! Compaction: growing rows become segments, small segments become full ones, rows move to the range of their key.
//!
//! All kinds are one path: [`policy`] picks inputs (a pure choice), [`expire`] deletes what has expired of them, [`run`] reads
//! them with deletes applied, [`train`] learns what computed items of a key need, [`rewrite`] has [`sort`] sort narrow rows
//! within a memory budget ([`memory`]), [`ranges`] cuts the stream into segments, [`gather`] fetches the vectors, [`warm`]
//! readies the segments for searches, and one commit replaces inputs by outputs. [`scheduler`] runs [`jobs`] in the
//! background; [`depth`] measures how well it all went, [`preview`] how well it would go. [`filters`] gives segments the
//! bloom filters of indexes that are younger than they.

mod computed;
pub mod depth;
pub mod expire;
mod filters;
mod gather;
mod input;
pub mod jobs;
mod memory;
mod order;
mod outputs;
mod pace;
pub mod policy;
pub mod preview;
pub mod ranges;
mod rewrite;
pub mod run;
pub mod scheduler;
mod sort;
mod spill;
mod steps;
mod threads;
mod train;
mod warm;
mod write;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
