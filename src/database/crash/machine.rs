//! A state machine: random statements against a model, each of which may be cut short by a kill, and reopening.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::rig::{Plan, Rig};
use super::workload::{check_files, open};
use super::{is_long, scratch};
use crate::database::Database;
use crate::settings::Settings;
use crate::storage::disk::Files;

const CREATE: &str = "CREATE TABLE item (id BIGINT PRIMARY KEY, key INT CLUSTERING KEY, edits INT) \
                      WITH (segment_rows_max = 10, row_group_rows_max = 4)";

/// What is done.
#[derive(Debug, Clone)]
enum Act {
    /// So many new rows.
    Insert(u8),
    /// Rows whose id divided by the first leaves the second.
    Update(u8, u8),
    Delete(u8, u8),
    Compact(bool),
    Vacuum,
    Reopen,
}

/// An act, and after how many operations on the disk the process is killed, if it is.
type Step = (Act, Option<u8>);

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..25u8).prop_map(Act::Insert),
        3 => (1..6u8, 0..6u8).prop_map(|(of, rest)| Act::Update(of, rest % of)),
        3 => (1..6u8, 0..6u8).prop_map(|(of, rest)| Act::Delete(of, rest % of)),
        3 => any::<bool>().prop_map(Act::Compact),
        1 => Just(Act::Vacuum),
        1 => Just(Act::Reopen),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    (act(), prop::option::weighted(0.3, 0..40u8))
}

/// Id, then key and edits.
type Rows = BTreeMap<i64, (i64, i64)>;

#[derive(Debug, Clone, Default)]
struct Model {
    next: i64,
    rows: Rows,
}

impl Model {
    fn after(&self, act: &Act) -> Self {
        let mut next = self.clone();
        let hit = |id: &i64, of: u8, rest: u8| id % i64::from(of) == i64::from(rest);
        match act {
            Act::Insert(count) => {
                next.next += i64::from(*count);
                let ids = self.next..next.next;
                next.rows.extend(ids.map(|id| (id, (id * 7 % 30, 0))));
            }
            Act::Update(of, rest) => next
                .rows
                .iter_mut()
                .filter(|(id, _)| hit(id, *of, *rest))
                .for_each(|(_, row)| row.1 += 1),
            Act::Delete(of, rest) => next.rows.retain(|id, _| !hit(id, *of, *rest)),
            Act::Compact(_) | Act::Vacuum | Act::Reopen => {}
        }
        next
    }

    fn sql(&self, act: &Act) -> Option<String> {
        Some(match act {
            Act::Insert(count) => {
                let ids = self.next..self.next + i64::from(*count);
                let rows: Vec<_> = ids
                    .map(|id| format!("({id}, {}, 0)", id * 7 % 30))
                    .collect();
                format!("INSERT INTO item VALUES {}", rows.join(", "))
            }
            Act::Update(of, rest) => {
                format!("UPDATE item SET edits = edits + 1 WHERE id % {of} = {rest}")
            }
            Act::Delete(of, rest) => format!("DELETE FROM item WHERE id % {of} = {rest}"),
            Act::Compact(true) => "COMPACT item WITH (CLUSTERING, WAIT)".to_string(),
            Act::Compact(false) => "COMPACT item WITH (WAIT)".to_string(),
            Act::Vacuum => "VACUUM item".to_string(),
            Act::Reopen => return None,
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if is_long() { 400 } else { 8 },
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_history_with_kills_is_that_of_the_model(steps in vec(step(), 1..14)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(check(&steps));
    }
}

async fn check(steps: &[Step]) {
    let directory = scratch();
    let path = directory.path().join("data");
    let mut database = reopen(&path, Rig::new(Plan::Count).files()).await;
    execute(&database, CREATE).await.unwrap();
    let mut model = Model::default();
    for (act, kill) in steps {
        let next = model.after(act);
        let sql = model.sql(act);
        if sql.is_none() || kill.is_some() {
            drop(database);
            let plan = kill.map_or(Plan::Count, |after| Plan::StopAt(after.into()));
            database = match open(&path, settings(), Rig::new(plan).files()).await {
                Ok(opened) => opened,
                // Killed while it recovered.
                Err(_) => reopen(&path, Rig::new(Plan::Count).files()).await,
            };
        }
        let done = match &sql {
            Some(sql) => execute(&database, sql).await,
            None => Ok(()),
        };
        if kill.is_none() {
            assert!(done.is_ok(), "{sql:?}: {done:?}");
            model = next;
        } else {
            drop(database);
            database = reopen(&path, Rig::new(Plan::Count).files()).await;
            let found = rows(&database).await;
            let may_be_old = done.is_err() && found == model.rows;
            assert!(
                may_be_old || found == next.rows,
                "{sql:?}, {done:?}: {found:?}"
            );
            // Ids are not used again, whether the rows came or not.
            model = Model {
                next: next.next,
                rows: found,
            };
        }
        assert_eq!(rows(&database).await, model.rows, "after {act:?}");
    }
    drop(database);
    let database = reopen(&path, Rig::new(Plan::Count).files()).await;
    assert_eq!(rows(&database).await, model.rows);
    check_files(&database).await;
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    for (name, value) in [
        ("compaction.auto", "off"),
        ("retention_duration", "0s"),
        ("checkpoint.commits", "4"),
        ("growing.max_size", "1kB"),
    ] {
        settings.set(name, value).unwrap();
    }
    settings
}

async fn reopen(path: &Path, files: Files) -> Database {
    open(path, settings(), files).await.unwrap()
}

async fn execute(database: &Database, sql: &str) -> crate::Result<()> {
    database.session().sql(sql).await?.collect().await?;
    Ok(())
}

async fn rows(database: &Database) -> Rows {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    let query = "SELECT id, CAST(key AS BIGINT), CAST(edits AS BIGINT) FROM item";
    let frame = database.session().sql(query).await.unwrap();
    let mut rows = Rows::new();
    for batch in frame.collect().await.unwrap() {
        let column = |n: usize| batch.column(n).as_primitive::<Int64Type>().values();
        for row in 0..batch.num_rows() {
            let again = rows.insert(column(0)[row], (column(1)[row], column(2)[row]));
            assert_eq!(again, None, "id {} is there twice", column(0)[row]);
        }
    }
    rows
}
