//! The server: PostgreSQL's wire protocol over the sessions of one database.

pub mod auth;
pub mod config;
