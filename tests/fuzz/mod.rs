//! Bytes that nobody meant, for everything that reads bytes: log and checkpoint files, files that COPY reads, texts of
//! vectors, SQL. None may panic, take for ever, or pass for something else.
//!
//! Each target is a property over mutations of good inputs, so that it runs with every test; `SHELFMARK_FUZZ_CASES` sets
//! how many. Segments have theirs beside their reader (`storage::segment::tests::damage`), frames of the wire protocol
//! beside their decoder (`server::frame`).

mod files;
mod texts;

use proptest::prelude::*;
use proptest::test_runner::Config;

/// As many cases of a target as are asked for, `usual` where nothing is said.
fn config(usual: u32) -> Config {
    let given = std::env::var("SHELFMARK_FUZZ_CASES").ok();
    Config {
        cases: given.map_or(usual, |n| n.parse().unwrap()),
        failure_persistence: None,
        ..Config::default()
    }
}

/// What is done to good bytes.
#[derive(Debug, Clone)]
enum Damage {
    /// A byte at a place, in thousandths of the length, becomes another.
    Byte(usize, u8),
    Cut(usize),
    /// Bytes from one place are put over another.
    Move(usize, usize, usize),
    /// Bytes go.
    Drop(usize, usize),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let place = || 0..1_000usize;
    let one = prop_oneof![
        6 => (place(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        1 => place().prop_map(Damage::Cut),
        2 => (place(), place(), 1..64usize).prop_map(|(from, to, n)| Damage::Move(from, to, n)),
        2 => (place(), 1..16usize).prop_map(|(at, n)| Damage::Drop(at, n)),
    ];
    prop::collection::vec(one, 1..5)
}

fn damaged(good: &[u8], damage: &[Damage]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for damage in damage {
        let length = bytes.len();
        let place = |thousandths: usize| thousandths * length / 1_000;
        match *damage {
            Damage::Byte(at, byte) if length > 0 => bytes[place(at)] = byte,
            Damage::Cut(at) => bytes.truncate(place(at)),
            Damage::Move(from, to, n) => {
                let n = n.min(length - place(from).max(place(to)));
                bytes.copy_within(place(from)..place(from) + n, place(to));
            }
            Damage::Drop(at, n) => drop(bytes.drain(place(at)..(place(at) + n).min(length))),
            Damage::Byte(..) => {}
        }
    }
    bytes
}
