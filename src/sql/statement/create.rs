//! CREATE TABLE and VIEW as the parser understands them.

use datafusion::sql::sqlparser::ast::{self, Expr, Ident, ObjectName, Query};

use crate::sql::foreign_key::ForeignKeyDefinition;
use crate::sql::named::Execute;
use crate::sql::partition::PartitionBy;
use crate::sql::sequence::ColumnSequence;
use crate::sql::unique::UniqueDefinition;
use crate::storage::snapshot::OnCommit;

/// How long a table lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// For good.
    Permanent,
    /// For good: UNLOGGED changes nothing.
    Unlogged,
    /// As long as its session; ON COMMIT may say what a transaction ends.
    Temporary(Option<OnCommit>),
}

/// CREATE TABLE.
#[derive(Debug, Clone)]
pub struct CreateCollection {
    /// Its name.
    pub name: ObjectName,
    /// Whether an existing one is fine.
    pub if_not_exists: bool,
    /// Whether it lasts.
    pub persistence: Persistence,
    /// Its columns; may be empty with a query.
    pub columns: Vec<ColumnDefinition>,
    /// CHECK constraints that stand by themselves.
    pub checks: Vec<CheckDefinition>,
    /// UNIQUE constraints that stand by themselves.
    pub unique: Vec<UniqueDefinition>,
    /// FOREIGN KEY constraints that stand by themselves.
    pub foreign_keys: Vec<ForeignKeyDefinition>,
    /// The primary key's columns, in whichever place they were named.
    pub primary_key: Vec<Ident>,
    /// The primary key's name, if it has one.
    pub primary_key_name: Option<Ident>,
    /// The items of the clustering key.
    pub clustering_key: Vec<KeyItem>,
    /// The partition key's column.
    pub partition_key: Option<Ident>,
    /// PARTITION BY.
    pub partitioning: Option<PartitionBy>,
    /// WITH (option = value, ..).
    pub options: Vec<(String, String)>,
    /// Tables whose columns it has as well.
    pub likes: Vec<LikeClause>,
    /// AS query.
    pub query: Option<Box<Query>>,
    /// AS EXECUTE, instead of a query.
    pub execute: Option<Box<Execute>>,
    /// Names for the columns of the query.
    pub column_names: Vec<Ident>,
    /// WITH NO DATA: the query's rows are left.
    pub without_rows: bool,
    /// The text of the query, of a materialized view.
    pub materialized: Option<String>,
}

/// REFRESH MATERIALIZED VIEW.
#[derive(Debug, Clone)]
pub struct Refresh {
    /// Its name.
    pub name: ObjectName,
    /// CONCURRENTLY.
    pub concurrently: bool,
    /// WITH NO DATA.
    pub without_rows: bool,
}

/// LIKE, and what is taken over beside names, types and NOT NULL.
#[derive(Debug, Clone)]
pub struct LikeClause {
    /// The table.
    pub table: ObjectName,
    /// How many columns stand before.
    pub at: usize,
    /// Defaults.
    pub defaults: bool,
    /// CHECK constraints.
    pub constraints: bool,
    /// Sequences of identity columns.
    pub identity: bool,
    /// Indexes, and the keys behind them.
    pub indexes: bool,
    /// Comments.
    pub comments: bool,
    /// The expressions of generated columns.
    pub generated: bool,
}

impl LikeClause {
    /// Without anything that is to be included.
    pub fn new(table: ObjectName, at: usize) -> Self {
        Self {
            table,
            at,
            defaults: false,
            constraints: false,
            identity: false,
            indexes: false,
            comments: false,
            generated: false,
        }
    }

    /// All that may be included.
    pub fn all(&mut self) -> Vec<&mut bool> {
        vec![
            &mut self.defaults,
            &mut self.constraints,
            &mut self.identity,
            &mut self.indexes,
            &mut self.comments,
            &mut self.generated,
        ]
    }
}

impl CreateCollection {
    /// A table of which nothing but the name is said yet.
    pub fn new(name: ObjectName, persistence: Persistence) -> Self {
        Self {
            name,
            if_not_exists: false,
            persistence,
            columns: Vec::new(),
            checks: Vec::new(),
            unique: Vec::new(),
            foreign_keys: Vec::new(),
            primary_key: Vec::new(),
            primary_key_name: None,
            partitioning: None,
            clustering_key: Vec::new(),
            partition_key: None,
            options: Vec::new(),
            likes: Vec::new(),
            query: None,
            execute: None,
            column_names: Vec::new(),
            without_rows: false,
            materialized: None,
        }
    }
}

/// An item of a clustering key.
#[derive(Debug, Clone)]
pub enum KeyItem {
    /// A column.
    Column(Ident),
    /// `VECTOR (column)`.
    Vector(Ident),
    /// `HILBERT (column, column, ..)`.
    Hilbert(Vec<Ident>),
}

/// A column of CREATE TABLE or ADD COLUMN.
#[derive(Debug, Clone)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: Ident,
    /// Its type.
    pub data_type: ast::DataType,
    /// NOT NULL.
    pub not_null: bool,
    /// DEFAULT, as an expression and as its author wrote it.
    pub default: Option<(Expr, String)>,
    /// CHECK (..).
    pub checks: Vec<CheckDefinition>,
    /// UNIQUE.
    pub unique: Option<UniqueDefinition>,
    /// REFERENCES.
    pub references: Option<ForeignKeyDefinition>,
    /// The sequence of a SERIAL or identity column.
    pub sequence: Option<Box<ColumnSequence>>,
    /// What a generated column is computed by.
    pub generated: Option<Box<Expr>>,
}

/// A CHECK constraint.
#[derive(Debug, Clone)]
pub struct CheckDefinition {
    /// Its name, if it has one.
    pub name: Option<Ident>,
    /// The condition.
    pub condition: Expr,
}

/// CREATE VIEW.
#[derive(Debug, Clone)]
pub struct CreateView {
    /// Its name.
    pub name: ObjectName,
    /// Whether an existing view is replaced.
    pub or_replace: bool,
    /// Whether it is the session's own.
    pub temporary: bool,
    /// Names for its columns.
    pub columns: Vec<Ident>,
    /// Its options.
    pub options: Vec<(String, String)>,
    /// The query.
    pub query: Box<Query>,
    /// The query as its author wrote it.
    pub text: String,
}
