#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;
use crate::settings::Settings;
use crate::storage::access::{Grant, Privilege, Privileges, Rights};
use crate::storage::change::{Change, View};
use crate::storage::committer::{Committer, CommitterOptions};
use crate::storage::role::Membership;
use crate::storage::schema::CollectionId;
use crate::storage::snapshot::Snapshot;
use crate::storage::store::Store;
use crate::storage::testing::{name, new_collection, same};
use crate::storage::transaction::Transaction;

const ANN: RoleId = RoleId(11);
const BOB: RoleId = RoleId(12);
const TEAM: RoleId = RoleId(13);
const BOOK: Object = Object::Collection(CollectionId(1));

fn open(path: &Path) -> Committer {
    let options = CommitterOptions {
        checkpoint_commits: 3,
        ..CommitterOptions::from(&Settings::default())
    };
    Committer::open(Arc::new(Store::open(path).unwrap()), options).unwrap()
}

async fn commit(committer: &Committer, changes: Vec<Change>) -> Result<Arc<Snapshot>> {
    let read = committer.snapshot().version();
    committer.commit(Transaction::new(read, changes)).await
}

fn role(id: RoleId, name: &str) -> Change {
    Change::CreateRole(Role::new(id, name))
}

fn member(id: RoleId, name: &str, of: RoleId) -> Role {
    let mut role = Role::new(id, name);
    role.member_of.push(Membership {
        role: of,
        admin_option: false,
        grantor: RoleId::BOOTSTRAP,
    });
    role
}

fn granted(owner: RoleId, grantee: Option<RoleId>, privileges: &[Privilege]) -> Access {
    let grant = Grant {
        grantee,
        grantor: owner,
        privileges: privileges.iter().copied().collect(),
        grantable: Privileges::NONE,
    };
    Access {
        owner,
        grants: Some(vec![grant]),
    }
}

/// Ann owns the book, whose rows the team may read; Bob is in the team.
fn history() -> Vec<Vec<Change>> {
    vec![
        vec![
            Change::CreateCollection(new_collection(1, "book")),
            role(ANN, "ann"),
            role(TEAM, "team"),
        ],
        vec![Change::CreateRole(member(BOB, "bob", TEAM))],
        vec![Change::SetAccess(
            BOOK,
            granted(ANN, Some(TEAM), &[Privilege::Select]),
        )],
        vec![
            Change::CreateSchema("lib".into()),
            Change::SetAccess(Object::Schema("lib".into()), Access::owned_by(BOB)),
        ],
    ]
}

#[tokio::test]
async fn roles_and_grants_are_there_after_every_reopen() {
    let dir = tempfile::tempdir().unwrap();
    for changes in history() {
        let committer = open(dir.path());
        let snapshot = commit(&committer, changes).await.unwrap();
        drop(committer);
        same(&open(dir.path()).snapshot(), &snapshot);
    }
    let snapshot = open(dir.path()).snapshot();
    let may = |role, privilege| Rights::new(&snapshot, role).may(&BOOK, privilege);
    assert!(may(BOB, Privilege::Select) && may(TEAM, Privilege::Select));
    assert!(!may(BOB, Privilege::Insert) && !may(RoleId(99), Privilege::Select));
    // Who may read is written down: the owner too has only what was granted.
    assert!(!may(ANN, Privilege::Select) && may(RoleId::BOOTSTRAP, Privilege::Truncate));
    assert!(Rights::new(&snapshot, ANN).owns(&BOOK));
    assert!(
        Rights::new(&snapshot, ANN)
            .grantable(&BOOK)
            .has(Privilege::Select)
    );
    assert!(open(dir.path()).allocate_id() > BOB.0);
}

#[tokio::test]
async fn a_role_goes_when_nothing_depends_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let committer = open(dir.path());
    for changes in history() {
        commit(&committer, changes).await.unwrap();
    }
    for id in [ANN, BOB, TEAM, RoleId::BOOTSTRAP, RoleId::READ_ALL_DATA] {
        let drop = vec![Change::DropRole(id)];
        assert_eq!(
            commit(&committer, drop).await.unwrap_err().sqlstate(),
            "2BP01"
        );
    }
    let changes = vec![
        Change::DropCollection(CollectionId(1)),
        Change::DropSchema("lib".into()),
        Change::DropRole(TEAM),
        Change::DropRole(ANN),
    ];
    let snapshot = commit(&committer, changes).await.unwrap();
    assert!(snapshot.role(TEAM).is_none() && snapshot.role_named("ann").is_none());
    assert_eq!(snapshot.role(BOB).unwrap().member_of, []);
    assert_eq!(snapshot.objects_of(ANN).count(), 0);
}

#[tokio::test]
async fn a_name_or_object_belongs_to_one() {
    let dir = tempfile::tempdir().unwrap();
    let committer = open(dir.path());
    commit(&committer, history().remove(0)).await.unwrap();
    for (changes, code) in [
        (vec![role(BOB, "ann")], "42710"),
        (vec![role(BOB, "shelfmark")], "42710"),
        (vec![Change::AlterRole(Role::new(TEAM, "ann"))], "42710"),
        (vec![Change::AlterRole(Role::new(BOB, "bob"))], "40001"),
        (
            vec![Change::CreateRole(member(BOB, "bob", RoleId(99)))],
            "40001",
        ),
        (
            vec![Change::SetAccess(BOOK, Access::owned_by(BOB))],
            "40001",
        ),
        (vec![Change::DropRole(BOB)], "40001"),
    ] {
        let error = commit(&committer, changes).await.unwrap_err();
        assert_eq!(error.sqlstate(), code);
    }
    let renamed = vec![Change::AlterRole(Role::new(ANN, "anna"))];
    let snapshot = commit(&committer, renamed).await.unwrap();
    assert_eq!(snapshot.role_named("anna").unwrap().id, ANN);
    assert!(snapshot.role_named("ann").is_none());
}

#[tokio::test]
async fn of_two_changes_of_one_thing_the_first_wins() {
    let dir = tempfile::tempdir().unwrap();
    let committer = open(dir.path());
    commit(&committer, history().remove(0)).await.unwrap();
    let read = committer.snapshot().version();
    let set = |owner| vec![Change::SetAccess(BOOK, Access::owned_by(owner))];
    let alter = |name| vec![Change::AlterRole(Role::new(TEAM, name))];
    for (first, second) in [
        (set(ANN), set(TEAM)),
        (alter("crew"), alter("gang")),
        (alter("crew"), vec![Change::DropRole(TEAM)]),
    ] {
        let read = committer.snapshot().version().max(read);
        committer
            .commit(Transaction::new(read, first))
            .await
            .unwrap();
        let late = committer.commit(Transaction::new(read, second)).await;
        assert_eq!(late.unwrap_err().sqlstate(), "40001");
    }
}

#[tokio::test]
async fn who_is_in_a_role_acts_as_far_as_members_inherit() {
    let mut closed = member(BOB, "bob", TEAM);
    closed.inherit = false;
    let changes = vec![
        role(TEAM, "team"),
        Change::CreateRole(closed),
        Change::CreateRole(member(ANN, "ann", BOB)),
        Change::CreateView(View {
            name: name("titles"),
            columns: Vec::new(),
            query: "SELECT 1".into(),
            search_path: vec!["public".into()],
            options: Vec::new(),
            defaults: Default::default(),
            partition: None,
        }),
        Change::SetAccess(
            Object::View(name("titles")),
            granted(TEAM, Some(TEAM), &[Privilege::Select]),
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let snapshot = commit(&open(dir.path()), changes).await.unwrap();
    let view = Object::View(name("titles"));
    let rights = |role| Rights::new(&snapshot, role);
    assert!(rights(TEAM).may(&view, Privilege::Select) && rights(TEAM).owns(&view));
    assert!(!rights(BOB).may(&view, Privilege::Select) && !rights(BOB).acts_as(TEAM));
    assert!(rights(BOB).is_member_of(TEAM) && rights(ANN).is_member_of(TEAM));
    assert!(rights(ANN).acts_as(BOB) && !rights(ANN).acts_as(TEAM));
    assert!(!rights(ANN).may_admit_to(BOB) && rights(RoleId::BOOTSTRAP).may_admit_to(BOB));
}
