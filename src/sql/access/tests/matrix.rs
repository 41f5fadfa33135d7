//! Roles x verbs x objects: random grants, and for each statement what a model says.

use std::collections::BTreeSet;

use super::*;
use crate::storage::access::Privilege;

const ROLES: [&str; 6] = ["ann", "bob", "eve", "kim", "team", "crew"];
/// Who is in which role; Kim does not inherit.
const MEMBERS: [(&str, &str); 4] = [
    ("ann", "team"),
    ("team", "crew"),
    ("kim", "team"),
    ("bob", "crew"),
];
const SCHEMAS: [&str; 2] = ["lib", "desk"];
/// Tables and views with their owners.
const TABLES: [(&str, &str); 3] = [
    ("lib.book", "ann"),
    ("desk.note", "crew"),
    ("lib.page", "eve"),
];
const VIEWS: [(&str, &str, &str); 2] = [
    ("lib.books", "ann", "lib.book"),
    ("desk.pages", "bob", "lib.page"),
];

/// Random numbers that a seed repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % end
    }
}

/// Who has what, kept as a list of facts.
#[derive(Default)]
struct Model {
    granted: BTreeSet<(String, String, Privilege)>,
}

impl Model {
    fn acting(role: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::from([role.to_string(), "PUBLIC".to_string()]);
        if role == "kim" {
            return all;
        }
        for (member, of) in MEMBERS {
            if member == role {
                all.extend(Self::acting(of));
            }
        }
        all
    }

    fn owner(object: &str) -> Option<&'static str> {
        let tables = TABLES.iter().map(|(name, owner)| (*name, *owner));
        let views = VIEWS.iter().map(|(name, owner, _)| (*name, *owner));
        tables
            .chain(views)
            .find(|(name, _)| *name == object)
            .map(|(_, owner)| owner)
    }

    fn may(&self, role: &str, object: &str, privilege: Privilege) -> bool {
        let acting = Self::acting(role);
        let owns = Self::owner(object).is_some_and(|owner| acting.contains(owner));
        let has = |who: &String| {
            self.granted
                .contains(&(who.clone(), object.to_string(), privilege))
        };
        owns || acting.iter().any(has)
    }

    /// Whether the role may do that to a table or view, which its schema must let it name.
    fn reaches(&self, role: &str, object: &str, privilege: Privilege) -> bool {
        let (schema, _) = object.split_once('.').unwrap();
        if !self.may(role, schema, Privilege::Usage) || !self.may(role, object, privilege) {
            return false;
        }
        match VIEWS.iter().find(|(name, ..)| *name == object) {
            Some((_, owner, below)) => self.may(owner, below, Privilege::Select),
            None => true,
        }
    }
}

/// Statements with `$` for the object, and what each needs on it.
fn verbs() -> Vec<(&'static str, Vec<Privilege>)> {
    use Privilege::{Delete, Insert, Select, Truncate, Update};
    vec![
        ("SELECT * FROM $", vec![Select]),
        ("SELECT count(*) FROM $", vec![Select]),
        ("WITH x AS (SELECT id FROM $) SELECT * FROM x", vec![Select]),
        ("SELECT 1 WHERE EXISTS (SELECT 1 FROM $)", vec![Select]),
        ("SELECT (SELECT max(id) FROM $)", vec![Select]),
        (
            "SELECT a.id FROM $ a JOIN $ b ON a.id = b.id UNION ALL SELECT id FROM $",
            vec![Select],
        ),
        ("EXPLAIN SELECT * FROM $", vec![Select]),
        ("EXPLAIN ANALYZE SELECT * FROM $", vec![Select]),
        ("INSERT INTO $ VALUES (1)", vec![Insert]),
        ("INSERT INTO $ SELECT id FROM $", vec![Insert, Select]),
        ("EXPLAIN INSERT INTO $ VALUES (1)", vec![Insert]),
        ("EXPLAIN ANALYZE INSERT INTO $ VALUES (1)", vec![Insert]),
        ("INSERT INTO $ VALUES (1) RETURNING 1", vec![Insert]),
        (
            "INSERT INTO $ VALUES (1) RETURNING id",
            vec![Insert, Select],
        ),
        (
            "INSERT INTO $ VALUES (1) RETURNING (SELECT max(x.id) FROM $ x)",
            vec![Insert, Select],
        ),
        (
            "INSERT INTO $ VALUES (1) ON CONFLICT DO NOTHING",
            vec![Insert],
        ),
        (
            "MERGE INTO $ t USING (VALUES (1)) s (id) ON t.id = s.id \
             WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.id)",
            vec![Select, Insert, Delete],
        ),
        (
            "MERGE INTO $ t USING (VALUES (1)) s (id) ON t.id = s.id \
             WHEN MATCHED THEN UPDATE SET id = 1",
            vec![Select, Update],
        ),
        ("UPDATE $ SET id = 2 RETURNING 1", vec![Update]),
        ("UPDATE $ SET id = 2 RETURNING *", vec![Update, Select]),
        ("DELETE FROM $ RETURNING 1", vec![Delete]),
        ("DELETE FROM $ RETURNING id", vec![Delete, Select]),
        ("UPDATE $ SET id = 2", vec![Update]),
        ("UPDATE $ SET id = id + 1", vec![Update, Select]),
        ("UPDATE $ SET id = 2 WHERE id = 1", vec![Update, Select]),
        (
            "UPDATE $ SET id = (SELECT max(x.id) FROM $ x)",
            vec![Update, Select],
        ),
        ("DELETE FROM $", vec![Delete]),
        ("DELETE FROM $ WHERE id = 1", vec![Delete, Select]),
        (
            "DELETE FROM $ WHERE EXISTS (SELECT 1 FROM $ x)",
            vec![Delete, Select],
        ),
        ("TRUNCATE $", vec![Truncate]),
    ]
}

#[tokio::test]
async fn what_the_model_allows_is_allowed_and_nothing_else() {
    let database = database().await;
    let admin = database.session();
    set_up(&admin).await;
    let mut model = Model::default();
    let mut dice = Dice(7);
    let mut counts = [0, 0];
    for _round in 0..6 {
        for _ in 0..12 {
            change(&admin, &mut model, &mut dice).await;
        }
        for role in ROLES {
            let session = database.session_as(role).unwrap();
            for allowed in check(&session, &model, role).await {
                counts[usize::from(allowed)] += 1;
            }
        }
    }
    let [denied, allowed] = counts;
    assert!(
        denied > 500 && allowed > 500,
        "{denied} denied, {allowed} allowed"
    );
}

async fn set_up(admin: &Session) {
    let mut statements: Vec<String> = Vec::new();
    statements.extend(ROLES.map(|role| match role {
        "kim" => "CREATE ROLE kim NOINHERIT".to_string(),
        _ => format!("CREATE ROLE {role}"),
    }));
    statements.extend(MEMBERS.map(|(member, of)| format!("GRANT {of} TO {member}")));
    statements.extend(SCHEMAS.map(|schema| format!("CREATE SCHEMA {schema}")));
    statements.extend(TABLES.map(|(name, _)| format!("CREATE TABLE {name} (id INT)")));
    statements.extend(
        VIEWS.map(|(name, _, below)| format!("CREATE VIEW {name} AS SELECT id FROM {below}")),
    );
    statements.extend(TABLES.map(|(name, owner)| format!("ALTER TABLE {name} OWNER TO {owner}")));
    statements.extend(VIEWS.map(|(name, owner, _)| format!("ALTER VIEW {name} OWNER TO {owner}")));
    for sql in statements {
        run(admin, &sql).await.unwrap();
    }
}

/// Grants or revokes something at random.
async fn change(admin: &Session, model: &mut Model, dice: &mut Dice) {
    let who = match dice.below(8) {
        0 => "PUBLIC",
        n => ROLES[n % ROLES.len()],
    };
    let (object, privilege) = match dice.below(3) {
        0 => (SCHEMAS[dice.below(2)], Privilege::Usage),
        1 => (VIEWS[dice.below(2)].0, Privilege::Select),
        _ => {
            use Privilege::{Delete, Insert, Select, Truncate, Update};
            let privileges = [Select, Insert, Update, Delete, Truncate];
            (TABLES[dice.below(3)].0, privileges[dice.below(5)])
        }
    };
    let kind = if object.contains('.') { "" } else { "SCHEMA " };
    let fact = (who.to_string(), object.to_string(), privilege);
    let name = privilege.name();
    // An owner's own privileges stay: that they can be revoked is another test's matter.
    let sql = match dice.below(4) {
        0 if Model::owner(object) != Some(who) => {
            model.granted.remove(&fact);
            format!("REVOKE {name} ON {kind}{object} FROM {who}")
        }
        _ => {
            model.granted.insert(fact);
            format!("GRANT {name} ON {kind}{object} TO {who}")
        }
    };
    run(admin, &sql).await.unwrap();
}

/// Runs every statement on every object, and compares with the model; whether each was allowed.
async fn check(session: &Session, model: &Model, role: &str) -> Vec<bool> {
    let mut answers = Vec::new();
    let tables = TABLES.iter().map(|(name, _)| *name);
    let views = VIEWS.iter().map(|(name, ..)| *name);
    for object in tables.clone().chain(views) {
        let is_view = !tables.clone().any(|name| name == object);
        for (verb, privileges) in verbs() {
            if is_view && privileges != [Privilege::Select] {
                continue;
            }
            let expected = privileges.iter().all(|p| model.reaches(role, object, *p));
            expect(session, &verb.replace("$", object), role, expected).await;
            answers.push(expected);
        }
        if !is_view {
            let acting = Model::acting(role);
            let owns = Model::owner(object).is_some_and(|owner| acting.contains(owner));
            let alter = format!("ALTER TABLE {object} SET (auto_compaction = off)");
            expect(session, &alter, role, owns).await;
        }
    }
    let (from, to) = ("lib.book", "desk.note");
    let across = format!("INSERT INTO {to} SELECT id FROM {from}");
    let expected =
        model.reaches(role, from, Privilege::Select) && model.reaches(role, to, Privilege::Insert);
    expect(session, &across, role, expected).await;
    let using = format!("DELETE FROM {to} USING {from} b WHERE b.id = 1");
    let expected =
        model.reaches(role, from, Privilege::Select) && model.reaches(role, to, Privilege::Delete);
    expect(session, &using, role, expected).await;
    answers
}

async fn expect(session: &Session, sql: &str, role: &str, allowed: bool) {
    match run(session, sql).await {
        Ok(_) => assert!(allowed, "{role} could {sql}"),
        Err(e) => {
            assert_eq!(e.sqlstate(), "42501", "{role}: {sql}: {e}");
            assert!(!allowed, "{role} could not {sql}: {e}");
        }
    }
}
