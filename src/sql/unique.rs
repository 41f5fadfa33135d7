//! UNIQUE: its grammar, the index behind the constraint, and whether rows that exist suit it.

use std::collections::HashSet;

use datafusion::dataframe::DataFrame;
use datafusion::functions_aggregate::count::count_all;
use datafusion::prelude::{Expr, ident, lit};
use datafusion::sql::sqlparser::ast::Ident;

use super::default_name::{first_free, joined};
use super::foreign_key::timing;
use super::parser::{Grammar, fold};
use super::session::{Planning, Session};
use crate::catalog::assign::text_of;
use crate::error::{Error, Result, sqlstate};
use crate::storage::change::{Change, QualifiedName};
use crate::storage::collection::Collection;
use crate::storage::foreign_key::Timing;
use crate::storage::index::{Index, IndexKey, IndexPart};
use crate::storage::schema::{CollectionId, CollectionSchema, Column, FieldId, IndexId};
use crate::storage::snapshot::Snapshot;
use crate::storage::unique::{KeyParts, UniqueKey};

/// A UNIQUE constraint.
#[derive(Debug, Clone)]
pub struct UniqueDefinition {
    /// Its name, if it has one.
    pub name: Option<Ident>,
    /// Its columns.
    pub columns: Vec<Ident>,
    /// The columns of INCLUDE.
    pub include: Vec<Ident>,
    /// NULLS NOT DISTINCT.
    pub nulls_equal: bool,
}

/// `UNIQUE [NULLS [NOT] DISTINCT] [(a, b)] [INCLUDE (c)]`; without columns it is of `column`.
pub(super) fn unique(
    grammar: &mut Grammar<'_>,
    name: Option<Ident>,
    column: Option<&Ident>,
) -> Result<UniqueDefinition> {
    grammar.expect(&["UNIQUE"])?;
    let nulls_equal = nulls_equal(grammar)?;
    let columns = match column {
        Some(column) => vec![column.clone()],
        None => grammar.names_in_parentheses()?,
    };
    let include = match column.is_none() && grammar.accept(&["INCLUDE"]) {
        true => grammar.names_in_parentheses()?,
        false => Vec::new(),
    };
    if column.is_none() && grammar.accept(&["WITH"]) {
        grammar.options()?;
    }
    if timing(grammar)? != Timing::Immediate {
        return Err(Error::unsupported(
            "DEFERRABLE UNIQUE constraints are not supported: a statement keeps them when it ends",
        ));
    }
    Ok(UniqueDefinition {
        name,
        columns,
        include,
        nulls_equal,
    })
}

/// `[NULLS [NOT] DISTINCT]`.
pub(super) fn nulls_equal(grammar: &mut Grammar<'_>) -> Result<bool> {
    if !grammar.accept(&["NULLS"]) {
        return Ok(false);
    }
    let equal = grammar.accept(&["NOT"]);
    grammar.expect(&["DISTINCT"])?;
    Ok(equal)
}

/// The indexes of UNIQUE constraints of a collection, one after another.
pub(super) struct Indexes<'a> {
    pub session: &'a Session,
    pub snapshot: &'a Snapshot,
    pub collection: CollectionId,
    pub name: &'a QualifiedName,
    pub schema: &'a CollectionSchema,
}

impl Indexes<'_> {
    /// The change that makes the index of a constraint, beside those of `changes`.
    ///
    /// # Errors
    /// 42703 for a missing column, 42701 for one that is named twice, 42704 for one of a type that has no order, 42P07
    /// for a name that is taken.
    pub fn create(&self, definition: &UniqueDefinition, changes: &[Change]) -> Result<Change> {
        let mut names = HashSet::new();
        let mut fields = Vec::with_capacity(definition.columns.len());
        for name in &definition.columns {
            let column = self.column(name)?;
            check_type(column)?;
            if !names.insert(&column.name) {
                let message = format!(
                    "column \"{}\" appears twice in unique constraint",
                    column.name
                );
                return Err(Error::invalid(sqlstate::DUPLICATE_COLUMN, message));
            }
            fields.push(column.id);
        }
        let include = definition.include.iter();
        let include = include.map(|name| Ok(self.column(name)?.id));
        let include = include.collect::<Result<Vec<FieldId>>>()?;
        let committer = &self.session.inner.core.engine.committer;
        let key = |field: &FieldId| IndexKey {
            part: IndexPart::Column(*field),
            operator_class: None,
            descending: false,
            nulls_first: None,
        };
        let name = match &definition.name {
            Some(name) => fold(name),
            None => self.free_name(definition, changes),
        };
        let qualified = QualifiedName::new(&self.name.schema, &name);
        if self.snapshot.has_relation(&qualified) {
            let message = format!("relation \"{name}\" already exists");
            return Err(Error::exists(sqlstate::DUPLICATE_TABLE, message));
        }
        let index = Index {
            id: IndexId(committer.allocate_id()),
            name,
            method: "btree".to_string(),
            keys: fields.iter().map(key).collect(),
            columns: [fields, include.clone()].concat(),
            include,
            is_unique: true,
            is_constraint: true,
            nulls_equal: definition.nulls_equal,
            options: Vec::new(),
            predicate: None,
        };
        Ok(Change::CreateIndex(self.collection, index))
    }

    /// The changes that make the indexes of several constraints.
    ///
    /// # Errors
    /// As of [`Indexes::create`].
    pub fn create_all(&self, definitions: &[UniqueDefinition]) -> Result<Vec<Change>> {
        let mut changes = Vec::with_capacity(definitions.len());
        for definition in definitions {
            changes.push(self.create(definition, &changes)?);
        }
        Ok(changes)
    }

    fn column(&self, name: &Ident) -> Result<&Column> {
        let name = fold(name);
        self.schema.column(&name).ok_or_else(|| {
            let message = format!("column \"{name}\" named in key does not exist");
            Error::not_found(sqlstate::UNDEFINED_COLUMN, message)
        })
    }

    /// `book_isbn_key`, or `book_isbn_key1` and so on where that is taken.
    fn free_name(&self, definition: &UniqueDefinition, changes: &[Change]) -> String {
        let columns: Vec<String> = definition.columns.iter().map(fold).collect();
        let columns = columns.join("_");
        let named = |number: &str| joined(&self.name.name, &columns, &format!("key{number}"));
        first_free(named, |name| {
            let made = |change: &Change| matches!(change, Change::CreateIndex(_, index) if index.name == *name);
            let qualified = QualifiedName::new(&self.name.schema, name);
            !changes.iter().any(made) && !self.snapshot.has_relation(&qualified)
        })
    }
}

/// That values of the column can be told apart by an order.
///
/// # Errors
/// 42704 as of a type without a btree operator class.
pub(super) fn check_type(column: &Column) -> Result<()> {
    if column.column_type.is_scalar() {
        return Ok(());
    }
    let message = format!(
        "data type {} has no default operator class for access method \"btree\"",
        column.column_type
    );
    Err(Error::invalid(sqlstate::UNDEFINED_OBJECT, message))
}

/// That no two rows of the collection are alike by the columns of a key of `next`, the schema as it will be.
///
/// # Errors
/// 23505 that names the values.
pub(super) async fn check_rows(
    planning: &Planning<'_>,
    collection: &Collection,
    next: &CollectionSchema,
    key: &UniqueKey,
) -> Result<()> {
    let is_new = |id: &FieldId| collection.schema.column_by_id(*id).is_none();
    let (new, old): (Vec<FieldId>, Vec<FieldId>) = key.fields.iter().partition(|id| is_new(id));
    // All rows have one value in a new column.
    let is_null = |id: &FieldId| next.column_by_id(*id).is_none_or(|c| c.missing.is_none());
    let detail = if let Some(parts) = key.computed.as_deref() {
        let rows = planning.rows_of(collection).await?;
        let (rows, keys) = planning.parts_of(rows, collection, parts)?;
        duplicate(rows, keys, key.nulls_equal).await?.map(is_twice)
    } else if !key.nulls_equal && new.iter().any(is_null) {
        None
    } else if old.is_empty() {
        (collection.live_rows() > 1).then(|| "All rows have the same key.".to_string())
    } else {
        let rows = planning.rows_of(collection).await?;
        let columns = old.iter();
        let columns = columns.filter_map(|id| collection.schema.column_by_id(*id));
        let keys = columns.map(|c| (c.name.clone(), ident(&c.name)));
        let found = duplicate(rows, keys.collect(), key.nulls_equal).await?;
        found.map(is_twice)
    };
    detail.map_or(Ok(()), |detail| {
        let message = format!("could not create unique index \"{}\"", key.name);
        Err(Error::invalid(sqlstate::UNIQUE_VIOLATION, message).with_detail(detail))
    })
}

fn is_twice(key: String) -> String {
    format!("Key {key} is duplicated.")
}

impl Planning<'_> {
    /// The rows that a computed key is of, and its parts with what they are called.
    fn parts_of(
        &self,
        rows: DataFrame,
        collection: &Collection,
        parts: &KeyParts,
    ) -> Result<(DataFrame, Vec<(String, Expr)>)> {
        let schema = rows.schema().clone();
        let key = |part: &IndexPart| match part {
            IndexPart::Column(field) => {
                let name = collection.schema.names_of(&[*field]);
                Ok((name.clone(), ident(name)))
            }
            IndexPart::Expression(text) => Ok((text.clone(), self.expression(text, &schema)?)),
        };
        let keys = parts.parts.iter().map(key).collect::<Result<Vec<_>>>()?;
        let rows = match &parts.predicate {
            Some(text) => rows.filter(self.expression(text, &schema)?)?,
            None => rows,
        };
        Ok((rows, keys))
    }
}

/// The text of a key that several rows have.
async fn duplicate(
    mut rows: DataFrame,
    keys: Vec<(String, Expr)>,
    nulls_equal: bool,
) -> Result<Option<String>> {
    let (names, keys): (Vec<String>, Vec<Expr>) = keys.into_iter().unzip();
    for key in keys.iter().filter(|_| !nulls_equal) {
        rows = rows.filter(key.clone().is_not_null())?;
    }
    let many = rows
        .aggregate(keys, vec![count_all().alias("rows of a key")])?
        .filter(ident("rows of a key").gt(lit(1_i64)))?
        .limit(0, Some(1))?;
    let found = many.collect().await?;
    let Some(batch) = found.iter().find(|batch| batch.num_rows() > 0) else {
        return Ok(None);
    };
    let mut values = Vec::with_capacity(names.len());
    for column in &batch.columns()[..names.len()] {
        let text = text_of(column)?;
        let value = text.iter().next().flatten();
        values.push(value.unwrap_or("null").to_string());
    }
    let (names, values) = (names.join(", "), values.join(", "));
    Ok(Some(format!("({names})=({values})")))
}
