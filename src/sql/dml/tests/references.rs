//! Foreign keys against a model, in random histories of several sessions, and under many tasks at once.

use super::*;

/// What is done about rows whose parent goes.
const ACTIONS: [&str; 4] = ["NO ACTION", "CASCADE", "SET NULL", "SET DEFAULT"];
/// The parent that SET DEFAULT refers to.
const DEFAULT: i64 = 1;

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit) as i64
    }
}

/// Parents, and children with those that they refer to.
#[derive(Debug, Clone, Default, PartialEq)]
struct Family {
    parents: BTreeSet<i64>,
    children: BTreeMap<i64, Option<i64>>,
}

impl Family {
    /// The parent goes, or gets another key; whether that may be.
    fn take(&mut self, parent: i64, new: Option<i64>, action: &str) -> bool {
        if !self.parents.contains(&parent) {
            return true;
        }
        let before = self.clone();
        self.parents.remove(&parent);
        self.parents.extend(new);
        let referring = self.children.values_mut();
        let mut referring = referring.filter(|p| **p == Some(parent));
        match action {
            "CASCADE" if new.is_some() => referring.for_each(|p| *p = new),
            "CASCADE" => self.children.retain(|_, p| *p != Some(parent)),
            "SET NULL" => referring.for_each(|p| *p = None),
            "SET DEFAULT" => referring.for_each(|p| *p = Some(DEFAULT)),
            _ if referring.next().is_some() => {
                *self = before;
                return false;
            }
            _ => {}
        }
        let mut all = self.children.values().flatten();
        let holds = all.all(|parent| self.parents.contains(parent));
        if !holds {
            *self = before;
        }
        holds
    }
}

async fn create(session: &Session, on_delete: &str, on_update: &str, timing: &str) {
    let c = format!(
        "CREATE TABLE c (id BIGINT PRIMARY KEY, p BIGINT DEFAULT {DEFAULT} \
         REFERENCES p ON DELETE {on_delete} ON UPDATE {on_update} {timing})"
    );
    rows(session, "CREATE TABLE p (id BIGINT PRIMARY KEY, n BIGINT)")
        .await
        .unwrap();
    rows(session, &c).await.unwrap();
}

async fn read(session: &Session) -> Family {
    let parents = rows(session, "SELECT id, n FROM p").await.unwrap();
    let children = rows(session, "SELECT id, coalesce(p, -1) FROM c")
        .await
        .unwrap();
    Family {
        parents: parents.into_iter().map(|(id, _)| id).collect(),
        children: children
            .into_iter()
            .map(|(id, p)| (id, (p >= 0).then_some(p)))
            .collect(),
    }
}

fn orphans(family: &Family) -> Vec<(i64, i64)> {
    let children = family.children.iter();
    let pairs = children.filter_map(|(id, parent)| Some((*id, (*parent)?)));
    pairs
        .filter(|(_, parent)| !family.parents.contains(parent))
        .collect()
}

/// A statement, and what the model makes of it: false where a foreign key refuses.
fn step(dice: &mut Dice, family: &mut Family, actions: (&str, &str)) -> (String, bool) {
    let (parent, child) = (dice.below(6), dice.below(12));
    let is_known = family.parents.contains(&parent);
    match dice.below(12) {
        0..3 => {
            family.parents.insert(parent);
            (
                format!("INSERT INTO p VALUES ({parent}, 0) ON CONFLICT DO NOTHING"),
                true,
            )
        }
        3..6 => {
            let fits = is_known || family.children.contains_key(&child);
            if is_known {
                family.children.entry(child).or_insert(Some(parent));
            }
            (
                format!("INSERT INTO c VALUES ({child}, {parent}) ON CONFLICT DO NOTHING"),
                fits,
            )
        }
        6 => {
            let is_there = family.children.contains_key(&child);
            if is_there && is_known {
                family.children.insert(child, Some(parent));
            }
            (
                format!("UPDATE c SET p = {parent} WHERE id = {child}"),
                is_known || !is_there,
            )
        }
        7 => {
            family.children.remove(&child);
            (format!("DELETE FROM c WHERE id = {child}"), true)
        }
        8..10 => {
            let fits = family.take(parent, None, actions.0);
            (format!("DELETE FROM p WHERE id = {parent}"), fits)
        }
        10 => {
            let new = 6 + dice.below(3);
            let is_free = !family.parents.contains(&new);
            let fits = !is_free || family.take(parent, Some(new), actions.1);
            let text = format!(
                "UPDATE p SET id = {new} WHERE id = {parent} AND NOT EXISTS (SELECT 1 FROM p WHERE id = {new})"
            );
            (text, fits)
        }
        _ => ("COMPACT c WITH (WAIT)".to_string(), true),
    }
}

async fn follow_model(seed: u64) {
    let mut dice = Dice(seed | 1);
    let actions = (
        ACTIONS[dice.below(4) as usize],
        ACTIONS[dice.below(4) as usize],
    );
    let database = Database::temporary(Settings::default()).await.unwrap();
    let session = database.session();
    create(&session, actions.0, actions.1, "").await;
    let (mut family, mut block, mut trace) = (Family::default(), None, Vec::new());
    for _ in 0..60 {
        let ends = dice.below(6) == 0;
        if block.is_none() && ends {
            rows(&session, "BEGIN").await.unwrap();
            block = Some(family.clone());
        } else if ends {
            let commits = dice.below(2) == 0;
            rows(&session, if commits { "COMMIT" } else { "ROLLBACK" })
                .await
                .unwrap();
            let base = block.take().unwrap();
            family = if commits { family } else { base };
        }
        let (text, fits) = step(&mut dice, &mut family, actions);
        if block.is_some() && text.starts_with("COMPACT") {
            continue;
        }
        trace.push(text.clone());
        let found = rows(&session, &text)
            .await
            .map_err(|e| e.sqlstate().to_string());
        let context = format!("{actions:?}\n{}\n{found:?}", trace.join("\n"));
        assert_eq!(found.is_ok(), fits, "{context}");
        if let Err(code) = found {
            assert_eq!(code, "23503", "{context}");
            if let Some(base) = block.take() {
                rows(&session, "ROLLBACK").await.unwrap();
                family = base;
            }
        }
        assert_eq!(read(&session).await, family, "{context}");
    }
}

/// Whatever transactions of three sessions do, no row is left without the one that it refers to.
async fn leave_no_orphan(seed: u64) {
    let mut dice = Dice(seed | 1);
    let actions = (
        ACTIONS[dice.below(4) as usize],
        ACTIONS[dice.below(4) as usize],
    );
    let timing = ["", "DEFERRABLE INITIALLY DEFERRED"][dice.below(2) as usize];
    let database = Database::temporary(Settings::default()).await.unwrap();
    let sessions = [database.session(), database.session(), database.session()];
    let reader = database.session();
    create(&reader, actions.0, actions.1, timing).await;
    let (mut inside, mut trace) = ([false; 3], Vec::new());
    for _ in 0..150 {
        let at = dice.below(3) as usize;
        let (statement, _) = step(&mut dice, &mut Family::default(), actions);
        let text = match dice.below(5) {
            0 if inside[at] => "COMMIT".to_string(),
            0 => "BEGIN".to_string(),
            _ if inside[at] && statement.starts_with("COMPACT") => continue,
            _ => statement,
        };
        trace.push(format!("{at}: {text}"));
        let result = rows(&sessions[at], &text).await;
        match (text.as_str(), &result) {
            ("BEGIN", _) => inside[at] = true,
            ("COMMIT", _) => inside[at] = false,
            (_, Err(_)) if inside[at] => {
                rows(&sessions[at], "ROLLBACK").await.unwrap();
                inside[at] = false;
            }
            _ => {}
        }
        let context = || format!("{actions:?} {timing}\n{}\n{result:?}", trace.join("\n"));
        if let Err(error) = &result {
            let known = ["23503", "23505", "40001"];
            assert!(known.contains(&error.sqlstate()), "{}", context());
        }
        let left = orphans(&read(&reader).await);
        assert!(left.is_empty(), "{left:?} {}", context());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn statements_do_what_a_model_of_foreign_keys_does(seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(follow_model(seed));
    }

    #[test]
    fn transactions_in_any_order_leave_no_orphan(seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(leave_no_orphan(seed));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_that_insert_and_delete_at_once_leave_no_orphan() {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let session = database.session();
    create(&session, "NO ACTION", "CASCADE", "").await;
    let tasks = (0..6_u64).map(|task| {
        let session = database.session();
        tokio::spawn(async move {
            let (mut dice, mut done) = (Dice(task + 77), 0);
            for round in 0..120 {
                let (parent, child) = (dice.below(8), task as i64 * 1_000 + round);
                let text = match dice.below(6) {
                    0 => format!("INSERT INTO p VALUES ({parent}, 0) ON CONFLICT DO NOTHING"),
                    1..4 => format!("INSERT INTO c VALUES ({child}, {parent})"),
                    4 => format!("DELETE FROM c WHERE p = {parent}"),
                    _ => format!("DELETE FROM p WHERE id = {parent}"),
                };
                match rows(&session, &text).await {
                    Ok(_) => done += 1,
                    // Outside of blocks a statement that loses is run again.
                    Err(error) => assert_eq!(error.sqlstate(), "23503", "{text}: {error}"),
                }
            }
            done
        })
    });
    let mut done = 0;
    for task in tasks.collect::<Vec<_>>() {
        done += task.await.unwrap();
    }
    assert!(done > 100, "{done} statements succeeded");
    let left = orphans(&read(&session).await);
    assert!(left.is_empty(), "{left:?}");
}
