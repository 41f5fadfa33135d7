//! Statements as the parser understands them.

mod create;

use std::time::Duration;

use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{self, Expr, Ident, ObjectName, Query};

pub use self::create::{
    CheckDefinition, ColumnDefinition, CreateCollection, CreateView, KeyItem, LikeClause,
    Persistence, Refresh,
};
use super::access::AccessStatement;
use super::access::statement::RoleName;
use super::comment::Comment;
use super::cursor::{Declare, Fetch};
use super::dml::{MergeStatement, WithStatement};
use super::domains::DomainStatement;
use super::enums::TypeStatement;
use super::explain::ExplainOptions;
use super::export::ExportStatement;
use super::foreign_key::ForeignKeyDefinition;
use super::index::{CreateIndex, DropIndex, RenameIndex};
use super::named::{Execute, Prepare};
use super::partition::{Bound, CreatePartition};
use super::routine::RoutineStatement;
use super::scripts::Script;
use super::sequence::{ColumnSequence, SequenceOptions, SequenceStatement};
use super::transaction::{Modes, TransactionStatement};
use super::unique::UniqueDefinition;
use super::variables::{DiscardKind, SetStatement};
use crate::settings::ByteSize;
use crate::storage::foreign_key::Timing;
use crate::storage::schema::JobId;
use crate::storage::sequence::Generates;

/// A statement.
#[derive(Debug, Clone)]
pub enum Statement {
    /// Anything that DataFusion plans by itself.
    DataFusion(Box<DataFusionStatement>),
    /// EXPLAIN [ANALYZE] of any statement.
    Explain(Explain),
    /// Roles and privileges.
    Access(Box<AccessStatement>),
    /// BEGIN, COMMIT, ROLLBACK and savepoints.
    Transaction(TransactionStatement),
    /// CREATE TABLE or CREATE COLLECTION.
    CreateCollection(Box<CreateCollection>),
    /// CREATE TABLE .. PARTITION OF.
    CreatePartition(Box<CreatePartition>),
    /// CREATE SCHEMA.
    CreateSchema {
        /// The SQL schema; without a name it is called as its owner is.
        name: Option<ObjectName>,
        /// Whose it is; that of the current user without one.
        owner: Option<RoleName>,
        /// Whether an existing one is fine.
        if_not_exists: bool,
    },
    /// ALTER SCHEMA .. RENAME TO.
    RenameSchema {
        /// The SQL schema.
        from: String,
        /// Its new name.
        to: String,
    },
    /// CREATE [OR REPLACE] VIEW.
    CreateView(Box<CreateView>),
    /// REFRESH MATERIALIZED VIEW.
    Refresh(Refresh),
    /// DROP TABLE, COLLECTION, VIEW or SCHEMA.
    Drop(Drop),
    /// TRUNCATE.
    Truncate {
        /// The collections.
        names: Vec<ObjectName>,
        /// Whether the sequences of their columns begin again: RESTART IDENTITY.
        restart: bool,
        /// Whether those that refer to them are emptied too.
        cascade: bool,
    },
    /// ALTER TABLE or ALTER COLLECTION.
    Alter(Box<Alter>),
    /// CREATE INDEX.
    CreateIndex(Box<CreateIndex>),
    /// DROP INDEX.
    DropIndex(DropIndex),
    /// ALTER INDEX .. RENAME TO.
    RenameIndex(RenameIndex),
    /// ALTER INDEX .. ATTACH PARTITION.
    AttachIndex,
    /// CREATE, ALTER and DROP SEQUENCE.
    Sequence(Box<SequenceStatement>),
    /// CREATE, ALTER and DROP TYPE.
    Type(Box<TypeStatement>),
    /// CREATE, ALTER and DROP DOMAIN.
    Domain(Box<DomainStatement>),
    /// CREATE, ALTER and DROP FUNCTION and PROCEDURE.
    Routine(Box<RoutineStatement>),
    /// COMMENT ON.
    Comment(Box<Comment>),
    /// INSERT.
    Insert(Box<Insert>),
    /// UPDATE.
    Update(Box<ast::Update>),
    /// DELETE.
    Delete(Box<ast::Delete>),
    /// MERGE.
    Merge(Box<MergeStatement>),
    /// A statement with WITH, a part of which changes rows.
    With(Box<WithStatement>),
    /// COPY.
    Copy(Box<CopyStatement>),
    /// COMPACT.
    Compact(Box<Compact>),
    /// SHOW COMPACTION STATE n.
    ShowCompaction(JobId),
    /// SHOW COMPACTIONS [FOR t].
    ShowCompactions(Option<ObjectName>),
    /// WAIT FOR COMPACTION n [TIMEOUT '..'].
    WaitForCompaction {
        /// The job.
        job: JobId,
        /// How long at the most.
        timeout: Option<Duration>,
    },
    /// CANCEL COMPACTION n.
    CancelCompaction(JobId),
    /// EXPORT COLLECTION.
    Export(Box<ExportStatement>),
    /// BACKUP DATABASE TO a directory.
    Backup(String),
    /// CHECK TABLE.
    CheckTable(ObjectName),
    /// VACUUM.
    Vacuum(Vacuum),
    /// DECLARE.
    Declare(Box<Declare>),
    /// FETCH or MOVE.
    Fetch(Fetch),
    /// CLOSE; no name is ALL.
    Close(Option<String>),
    /// PREPARE.
    Prepare(Box<Prepare>),
    /// EXECUTE.
    Execute(Box<Execute>),
    /// DEALLOCATE; no name is ALL.
    Deallocate(Option<String>),
    /// A statement that has nothing to do.
    Script(Box<Script>),
    /// SET or RESET of a variable.
    Set(SetStatement),
    /// SET SESSION CHARACTERISTICS.
    SetDefaultModes(Modes),
    /// RESET ALL.
    ResetAll,
    /// SHOW name.
    Show(String),
    /// SHOW ALL.
    ShowAll,
    /// DISCARD.
    Discard(DiscardKind),
}

/// EXPLAIN.
#[derive(Debug, Clone)]
pub struct Explain {
    /// What it shows.
    pub options: ExplainOptions,
    /// The statement.
    pub statement: Box<Statement>,
}

/// INSERT.
#[derive(Debug, Clone)]
pub struct Insert {
    /// The statement without OVERRIDING.
    pub statement: ast::Insert,
    /// What it says about identity columns.
    pub overriding: Option<Overriding>,
}

/// Whose values identity columns get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overriding {
    /// OVERRIDING SYSTEM VALUE: those that are given, also where the column is GENERATED ALWAYS.
    System,
    /// OVERRIDING USER VALUE: those of the sequence, whatever is given.
    User,
}

/// What DROP drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropKind {
    /// A collection.
    Table,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A SQL schema.
    Schema,
}

impl DropKind {
    /// What is dropped, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::Schema => "schema",
        }
    }

    /// The tag of the statement.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Table => "DROP TABLE",
            Self::View => "DROP VIEW",
            Self::MaterializedView => "DROP MATERIALIZED VIEW",
            Self::Schema => "DROP SCHEMA",
        }
    }
}

/// DROP.
#[derive(Debug, Clone)]
pub struct Drop {
    /// What.
    pub kind: DropKind,
    /// Which.
    pub names: Vec<ObjectName>,
    /// Whether missing ones are fine.
    pub if_exists: bool,
    /// Whether what depends on them goes as well.
    pub cascade: bool,
}

/// The word that ALTER has for a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlterWord {
    /// TABLE or COLLECTION: any relation.
    Table,
    /// VIEW.
    View,
    /// MATERIALIZED VIEW.
    MaterializedView,
}

impl AlterWord {
    /// The tag of the statement.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Table => "ALTER TABLE",
            Self::View => "ALTER VIEW",
            Self::MaterializedView => "ALTER MATERIALIZED VIEW",
        }
    }
}

/// ALTER TABLE.
#[derive(Debug, Clone)]
pub struct Alter {
    /// What it says that it alters.
    pub word: AlterWord,
    /// The collection.
    pub name: ObjectName,
    /// Whether a missing one is fine.
    pub if_exists: bool,
    /// What changes, in order.
    pub actions: Vec<AlterAction>,
}

/// A change by ALTER TABLE.
#[derive(Debug, Clone)]
pub enum AlterAction {
    /// ADD COLUMN.
    AddColumn {
        /// The column.
        column: Box<ColumnDefinition>,
        /// Whether an existing one is fine.
        if_not_exists: bool,
        /// The primary key that it becomes, if it does, with the name of the constraint.
        primary_key: Option<Option<Ident>>,
    },
    /// DROP COLUMN.
    DropColumn {
        /// The column.
        name: Ident,
        /// Whether a missing one is fine.
        if_exists: bool,
        /// Whether foreign keys that depend on it go as well.
        cascade: bool,
    },
    /// ADD CONSTRAINT .. USING INDEX.
    UseIndex {
        /// The name of the constraint; the index's own without.
        name: Option<Ident>,
        /// The index.
        index: Ident,
        /// Whether it becomes the primary key.
        is_primary: bool,
    },
    /// ALTER COLUMN .. DROP EXPRESSION.
    DropExpression {
        /// The column.
        name: Ident,
        /// Whether a column that is not generated is fine.
        if_exists: bool,
    },
    /// ADD CONSTRAINT .. CHECK (..).
    AddCheck {
        /// The constraint.
        check: CheckDefinition,
        /// Whether the rows that exist may break it: NOT VALID.
        not_valid: bool,
    },
    /// ADD CONSTRAINT .. UNIQUE (..).
    AddUnique(UniqueDefinition),
    /// ADD CONSTRAINT .. PRIMARY KEY (..).
    AddPrimaryKey(Option<Ident>, Vec<Ident>),
    /// ADD CONSTRAINT .. FOREIGN KEY (..).
    AddForeignKey(ForeignKeyDefinition),
    /// VALIDATE CONSTRAINT.
    ValidateConstraint(Ident),
    /// ALTER CONSTRAINT .. DEFERRABLE and the like.
    SetTiming(Ident, Timing),
    /// ALTER COLUMN .. TYPE.
    SetType {
        /// The column.
        name: Ident,
        /// The type.
        data_type: ast::DataType,
        /// USING.
        using: Option<Box<Expr>>,
    },
    /// DROP CONSTRAINT.
    DropConstraint {
        /// The constraint.
        name: Ident,
        /// Whether a missing one is fine.
        if_exists: bool,
        /// Whether foreign keys that depend on it go as well.
        cascade: bool,
    },
    /// RENAME CONSTRAINT a TO b.
    RenameConstraint(Ident, Ident),
    /// RENAME COLUMN a TO b.
    RenameColumn(Ident, Ident),
    /// ATTACH PARTITION.
    AttachPartition {
        /// The table that becomes one.
        name: ObjectName,
        /// Which rows it has.
        bound: Box<Bound>,
    },
    /// DETACH PARTITION.
    DetachPartition {
        /// The partition.
        name: ObjectName,
    },
    /// RENAME TO.
    Rename(Ident),
    /// SET SCHEMA.
    SetSchema(Ident),
    /// CLUSTER BY (..); no columns is CLUSTER BY NONE.
    ClusterBy(Vec<KeyItem>),
    /// SET (option = value, ..).
    SetOptions(Vec<(String, String)>),
    /// RESET (option, ..).
    ResetOptions(Vec<String>),
    /// ALTER COLUMN .. SET DEFAULT / DROP DEFAULT.
    SetDefault(Ident, Option<(Expr, String)>),
    /// ALTER COLUMN .. ADD GENERATED .. AS IDENTITY.
    AddIdentity(Ident, Box<ColumnSequence>),
    /// ALTER COLUMN .. SET GENERATED, or options of the identity's sequence.
    SetIdentity(Ident, Option<Generates>, Box<SequenceOptions>),
    /// ALTER COLUMN .. DROP IDENTITY [IF EXISTS].
    DropIdentity {
        /// The column.
        name: Ident,
        /// Whether a column without is fine.
        if_exists: bool,
    },
    /// What is accepted without effect, and the notice that says so.
    Nothing(&'static str),
    /// ALTER COLUMN .. SET STORAGE, COMPRESSION or STATISTICS: accepted without effect.
    TuneColumn(Ident),
    /// ALTER COLUMN .. SET NOT NULL / DROP NOT NULL.
    SetNullable(Ident, bool),
}

/// COMPACT.
#[derive(Debug, Clone, Default)]
pub struct Compact {
    /// The collection; none is ALL.
    pub name: Option<ObjectName>,
    /// WITH CLUSTERING.
    pub clustering: bool,
    /// Whether well clustered segments are rewritten too.
    pub full: bool,
    /// Whether the statement returns when the job has ended.
    pub wait: bool,
    /// The most bytes that an output should have.
    pub target_size: Option<ByteSize>,
    /// Which keys the inputs have to reach.
    pub filter: Option<Expr>,
    /// The most bytes that the inputs may have.
    pub limit: Option<ByteSize>,
}

/// VACUUM.
#[derive(Debug, Clone, Default)]
pub struct Vacuum {
    /// Collections; none is all.
    pub names: Vec<ObjectName>,
    /// RETAIN: the age past which versions are forgotten now.
    pub retain: Option<Duration>,
    /// DRY RUN: tells what would be deleted, and deletes nothing.
    pub dry_run: bool,
}

/// COPY.
#[derive(Debug, Clone)]
pub struct CopyStatement {
    /// What is copied.
    pub subject: CopySubject,
    /// Whether rows come in (FROM) rather than go out (TO).
    pub is_from: bool,
    /// Where they come from, or go.
    pub place: CopyPlace,
    /// Options by lower-case name.
    pub options: Vec<(String, CopyValue)>,
    /// WHERE: which of the rows come in.
    pub filter: Option<Expr>,
}

/// What COPY reads or writes in the database.
#[derive(Debug, Clone)]
pub enum CopySubject {
    /// A collection, and which of its columns (empty for all).
    Table(ObjectName, Vec<Ident>),
    /// The rows of a query.
    Query(Box<Query>),
}

/// Where the rows of COPY come from, or go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyPlace {
    /// STDIN or STDOUT: the client.
    Client,
    /// A file of the server; for COPY .. FROM also a directory or glob.
    File(String),
}

/// The value of an option of COPY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyValue {
    /// None was written.
    None,
    /// A word, number or string.
    Text(String),
    /// `*`
    Star,
    /// Names of columns.
    List(Vec<String>),
}

/// What a statement does, as far as transactions and roles care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Reads.
    Reads,
    /// Commits a change of rows or definitions.
    Writes,
    /// Works in the background or in several commits: not in a transaction block.
    Maintains,
    /// Ends a block or rolls a part of it back, also a failed one.
    EndsFailure,
    /// Changes the block or the session alone, which is no query of its transaction.
    Controls,
}

impl Statement {
    /// Whether it is about the session alone: it is neither explained nor prepared.
    pub fn is_about_session(&self) -> bool {
        matches!(
            self,
            Self::Transaction(_)
                | Self::Set(_)
                | Self::SetDefaultModes(_)
                | Self::ResetAll
                | Self::Show(_)
                | Self::ShowAll
                | Self::Discard(_)
                | Self::Declare(_)
                | Self::Fetch(_)
                | Self::Close(_)
                | Self::Deallocate(_)
                | Self::Script(_)
        )
    }

    /// What it does, and how errors name it.
    pub fn effect(&self) -> (Effect, &'static str) {
        match self {
            Self::Explain(explain) if explain.options.analyze => explain.statement.effect(),
            Self::Transaction(statement) if statement.ends_failure() => {
                (Effect::EndsFailure, "ROLLBACK")
            }
            Self::Access(access) if access.is_of_session() => (Effect::Controls, "SET"),
            Self::Access(access) => (Effect::Writes, access.tag()),
            Self::Transaction(_)
            | Self::Close(_)
            | Self::Prepare(_)
            | Self::Deallocate(_)
            | Self::Script(_)
            | Self::Set(_)
            | Self::SetDefaultModes(_)
            | Self::ResetAll
            | Self::Show(_)
            | Self::ShowAll => (Effect::Controls, "SET"),
            Self::Discard(DiscardKind::All) => (Effect::Maintains, "DISCARD ALL"),
            Self::Discard(_) => (Effect::Controls, "DISCARD"),
            Self::CreateCollection(create) if create.materialized.is_some() => {
                (Effect::Writes, "CREATE MATERIALIZED VIEW")
            }
            Self::Refresh(_) => (Effect::Writes, "REFRESH MATERIALIZED VIEW"),
            Self::CreateCollection(create) if create.query.is_some() => {
                (Effect::Writes, "CREATE TABLE AS")
            }
            Self::CreateCollection(_) | Self::CreatePartition(_) => {
                (Effect::Writes, "CREATE TABLE")
            }
            Self::CreateSchema { .. } => (Effect::Writes, "CREATE SCHEMA"),
            Self::RenameSchema { .. } => (Effect::Writes, "ALTER SCHEMA"),
            Self::CreateView(_) => (Effect::Writes, "CREATE VIEW"),
            Self::Drop(drop) => (Effect::Writes, drop.kind.tag()),
            Self::Truncate { .. } => (Effect::Writes, "TRUNCATE TABLE"),
            Self::Alter(_) => (Effect::Writes, "ALTER TABLE"),
            Self::Sequence(sequence) => (Effect::Writes, sequence.tag()),
            Self::Type(statement) => (Effect::Writes, statement.tag()),
            Self::Domain(statement) => (Effect::Writes, statement.tag()),
            Self::Routine(statement) => (Effect::Writes, statement.tag()),
            Self::Comment(_) => (Effect::Writes, "COMMENT"),
            Self::Insert(_) => (Effect::Writes, "INSERT"),
            Self::Update(_) => (Effect::Writes, "UPDATE"),
            Self::Delete(_) => (Effect::Writes, "DELETE"),
            Self::Merge(_) => (Effect::Writes, "MERGE"),
            Self::With(with) => (Effect::Writes, with.main.effect().1),
            Self::Copy(copy) if copy.is_from => (Effect::Writes, "COPY FROM"),
            Self::CreateIndex(_) => (Effect::Writes, "CREATE INDEX"),
            Self::DropIndex(_) => (Effect::Writes, "DROP INDEX"),
            Self::RenameIndex(_) | Self::AttachIndex => (Effect::Writes, "ALTER INDEX"),
            Self::Compact(_) => (Effect::Maintains, "COMPACT"),
            Self::Backup(_) => (Effect::Maintains, "BACKUP DATABASE"),
            Self::Vacuum(_) => (Effect::Maintains, "VACUUM"),
            _ => (Effect::Reads, "SELECT"),
        }
    }
}
