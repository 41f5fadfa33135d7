//! The `shelfmark` command.
fn main() {}
