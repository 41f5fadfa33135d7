//! Vector search: `ORDER BY <distance> LIMIT k` over a collection as one operator.
//!
//! The life of a search:
//! 1. [`rule::VectorTopKRule`] finds a sort by a distance with a limit above a scan, says all of it in terms of the
//!    scan's columns (`pattern`), and puts a [`node::VectorTopK`] in its place.
//! 2. [`planner::VectorTopKPlanner`] makes a [`exec::VectorTopKExec`] of it; segments are pruned here.
//! 3. The operator finds the candidates of each row group ([`crate::catalog::scan::Candidates`]), measures them where
//!    they lie (`measure`), keeps the best (`best`) under one bound that all workers share, and only then
//!    fetches the other columns of the winners (`fetch`).
//!
//! Many queries at once are a join of them with their nearest rows ([`knn`]).
//!
//! Rows and distances are those of the plain plan, which runs where the rule finds no such sort, and with
//! `SET shelfmark.enable_vector_search = off`. Search is exact.
//!
//! A sort may also be by arithmetic over a distance (`score`), as the cosine similarity `1 - (e <=> q)` is.
//!
//! Order: by distance, NaN after all numbers, then rows whose vector is NULL. Rows of equal distance come in the order
//! of their segments and of their places in them, unless the query orders them further.

mod best;
mod cells;
mod centroid;
pub mod exec;
mod fetch;
pub mod knn;
mod measure;
mod metrics;
mod nearest;
pub mod node;
mod order;
mod pattern;
pub mod planner;
mod pool;
pub mod rule;
mod run;
mod score;
mod target;
