//! Roles and privileges: their statements, and the checks of plans.

pub mod password;
