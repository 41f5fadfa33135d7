//! Shelfmark.
