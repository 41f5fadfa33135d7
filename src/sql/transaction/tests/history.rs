//! Random histories of several sessions against a model of snapshot isolation.
//!
//! Every write gives its row a value that no other write gives, so that key and value name a version of a row. A
//! block sees its base with its own writes; it commits if no version that it removed was removed since, and no key
//! that it inserted was inserted since.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const SESSIONS: usize = 3;
const KEYS: u64 = 6;

type State = BTreeMap<i64, i64>;

/// What a block of the model has read and written.
#[derive(Debug, Clone, Default)]
struct Block {
    base: State,
    /// Commits that had happened when it began.
    commits: usize,
    now: State,
    inserted: BTreeSet<i64>,
    savepoint: Option<(State, BTreeSet<i64>)>,
}

struct World {
    sessions: Vec<Session>,
    blocks: Vec<Option<Block>>,
    committed: State,
    /// The keys that each commit inserted.
    history: Vec<BTreeSet<i64>>,
    value: i64,
    random: u64,
    trace: Vec<String>,
}

impl World {
    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % limit
    }

    async fn run(&mut self, at: usize, text: &str) -> crate::Result<(Tag, usize)> {
        self.trace.push(format!("{at}: {text}"));
        run(&self.sessions[at], text).await
    }

    /// That it ends as the model says: with a SQLSTATE, or well.
    async fn expect(&mut self, at: usize, text: &str, code: Option<&str>) {
        let result = self.run(at, text).await;
        let found = result.as_ref().err().map(|e| e.sqlstate());
        assert_eq!(found, code, "{result:?}\n{}", self.trace.join("\n"));
    }

    fn view(&self, at: usize) -> &State {
        match &self.blocks[at] {
            Some(block) => &block.now,
            None => &self.committed,
        }
    }

    async fn step(&mut self) {
        let at = self.below(SESSIONS as u64) as usize;
        let inside = self.blocks[at].is_some();
        match self.below(20) {
            0..2 if !inside => self.begin(at).await,
            2..4 if inside => self.commit(at).await,
            4 if inside => {
                self.expect(at, "ROLLBACK", None).await;
                self.blocks[at] = None;
            }
            5 if inside => self.savepoint(at).await,
            6 if inside => self.roll_back_to(at).await,
            7 if !inside => {
                self.expect(at, "COMPACT k WITH (CLUSTERING, WAIT)", None)
                    .await
            }
            8..12 => self.insert(at).await,
            12..15 => self.update(at).await,
            15..17 => self.delete(at).await,
            _ => self.read(at).await,
        }
    }

    async fn begin(&mut self, at: usize) {
        self.expect(at, "BEGIN", None).await;
        // The first statement chooses the version.
        self.blocks[at] = Some(Block {
            base: self.committed.clone(),
            commits: self.history.len(),
            now: self.committed.clone(),
            ..Block::default()
        });
        self.read(at).await;
    }

    async fn commit(&mut self, at: usize) {
        let block = self.blocks[at].take().unwrap();
        let removed = || {
            block
                .base
                .iter()
                .filter(|(k, v)| block.now.get(k) != Some(v))
        };
        let lost = removed().any(|(k, v)| self.committed.get(k) != Some(v));
        let later = &self.history[block.commits..];
        let twice = later.iter().any(|keys| !keys.is_disjoint(&block.inserted));
        // A transaction that changes nothing meets nothing.
        let fails = block.base != block.now && (lost || twice);
        self.expect(at, "COMMIT", fails.then_some("40001")).await;
        if fails || block.base == block.now {
            return;
        }
        let removed: Vec<i64> = removed().map(|(k, _)| *k).collect();
        self.committed.retain(|k, _| !removed.contains(k));
        let new = block
            .now
            .iter()
            .filter(|(k, v)| block.base.get(k) != Some(v));
        self.committed.extend(new);
        self.history.push(block.inserted);
    }

    async fn savepoint(&mut self, at: usize) {
        self.expect(at, "SAVEPOINT s", None).await;
        let block = self.blocks[at].as_mut().unwrap();
        block.savepoint = Some((block.now.clone(), block.inserted.clone()));
    }

    async fn roll_back_to(&mut self, at: usize) {
        let block = self.blocks[at].as_mut().unwrap();
        if let Some((now, inserted)) = block.savepoint.clone() {
            (block.now, block.inserted) = (now, inserted);
            self.expect(at, "ROLLBACK TO s", None).await;
        }
    }

    async fn insert(&mut self, at: usize) {
        let key = self.below(KEYS) as i64;
        self.value += 1;
        let insert = format!("INSERT INTO k VALUES ({key}, {})", self.value);
        if !self.view(at).contains_key(&key) {
            self.expect(at, &insert, None).await;
            return self.put(at, &[key]);
        }
        if self.blocks[at].is_none() {
            return self.expect(at, &insert, Some("23505")).await;
        }
        self.expect(at, "SAVEPOINT error", None).await;
        self.expect(at, &insert, Some("23505")).await;
        self.expect(at, "ROLLBACK TO error", None).await;
        self.expect(at, "RELEASE error", None).await;
    }

    /// Several rows, and the keys of some of them.
    async fn update(&mut self, at: usize) {
        let (from, to) = (self.below(KEYS) as i64, self.below(KEYS) as i64);
        self.value += 1;
        let update = format!(
            "UPDATE k SET v = {} WHERE id BETWEEN {from} AND {to}",
            self.value
        );
        self.expect(at, &update, None).await;
        let keys = self.view(at).keys().copied();
        let keys: Vec<i64> = keys.filter(|k| (from..=to).contains(k)).collect();
        self.put(at, &keys);
    }

    async fn delete(&mut self, at: usize) {
        let key = self.below(KEYS) as i64;
        let delete = format!("DELETE FROM k WHERE id = {key}");
        self.expect(at, &delete, None).await;
        match &mut self.blocks[at] {
            Some(block) => drop(block.now.remove(&key)),
            None => {
                self.committed.remove(&key);
                self.history.push(BTreeSet::new());
            }
        }
    }

    fn put(&mut self, at: usize, keys: &[i64]) {
        let rows = keys.iter().map(|key| (*key, self.value));
        match &mut self.blocks[at] {
            Some(block) => {
                block.now.extend(rows);
                block.inserted.extend(keys);
            }
            None => {
                self.committed.extend(rows);
                self.history.push(keys.iter().copied().collect());
            }
        }
    }

    async fn read(&mut self, at: usize) {
        let keys = numbers(&self.sessions[at], "SELECT id FROM k ORDER BY id").await;
        let values = numbers(&self.sessions[at], "SELECT v FROM k ORDER BY id").await;
        let found: State = keys.into_iter().zip(values).collect();
        assert_eq!(&found, self.view(at), "{at}\n{}", self.trace.join("\n"));
    }
}

async fn history(seed: u64) {
    let settings = Settings {
        growing_max_size: "100B".parse().unwrap(),
        compaction_auto: false,
        ..Settings::default()
    };
    let database = Database::temporary(settings).await.unwrap();
    let sessions: Vec<_> = (0..SESSIONS).map(|_| database.session()).collect();
    let create = "CREATE TABLE k (id INT PRIMARY KEY CLUSTERING KEY, v INT)";
    ok(&sessions[0], create).await;
    let mut world = World {
        blocks: vec![None; SESSIONS],
        sessions,
        committed: State::new(),
        history: Vec::new(),
        value: 0,
        random: seed | 1,
        trace: Vec::new(),
    };
    for _ in 0..150 {
        world.step().await;
    }
    for at in 0..SESSIONS {
        if world.blocks[at].is_some() {
            world.commit(at).await;
        }
        world.read(at).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn histories_are_those_of_snapshot_isolation(seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(history(seed));
    }
}
