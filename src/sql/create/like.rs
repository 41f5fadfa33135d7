//! `CREATE TABLE t (LIKE other INCLUDING ..)`: what a table takes over from another.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName};
use datafusion::sql::sqlparser::parser::Parser;

use crate::error::{Error, Result, sqlstate};
use crate::sql::ddl::{column_type_of, qualify};
use crate::sql::dml::parse_expr;
use crate::sql::index::name_of_copy;
use crate::sql::parser::parse_query_as_written;
use crate::sql::sequence::{ColumnSequence, SequenceOptions};
use crate::sql::session::Planning;
use crate::sql::statement::{CheckDefinition, ColumnDefinition, CreateCollection, LikeClause};
use crate::sql::tokens::{DIALECT, tokenize};
use crate::sql::unique::{Indexes, UniqueDefinition};
use crate::storage::change::{Change, QualifiedName};
use crate::storage::collection::Collection;
use crate::storage::comment::Commented;
use crate::storage::index::{Index, IndexPart};
use crate::storage::schema::{
    CollectionId, CollectionSchema, Column, ColumnType, FieldId, IndexId,
};
use crate::storage::sequence::{Generates, Sequence};

/// What is taken over from a table when its columns are known.
pub(super) struct Copied {
    source: Arc<Collection>,
    indexes: bool,
    comments: Vec<(FieldId, Arc<str>)>,
}

impl Planning<'_> {
    /// Puts the columns and constraints of other tables where LIKE names these.
    ///
    /// # Errors
    /// 42P01 for a table that is not there, 42P16 for a second primary key.
    pub(super) async fn copy_likes(&self, create: &mut CreateCollection) -> Result<Vec<Copied>> {
        let mut copied = Vec::new();
        for like in std::mem::take(&mut create.likes).into_iter().rev() {
            let name = qualify(&like.table, &self.session.search_path())?;
            let Some(source) = self.snapshot.collection(&name).cloned() else {
                let columns = self.columns_of_relation(&like.table).await?;
                create.columns.splice(like.at..like.at, columns);
                continue;
            };
            let columns = source.schema.columns.iter();
            let columns = columns.map(|column| self.copy_column(&source, column, &like));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            create.columns.splice(like.at..like.at, columns);
            if like.constraints {
                copy_checks(&source, create)?;
            }
            if like.indexes {
                copy_keys(&source, create)?;
            }
            copied.push(self.rest_of(source, &like));
        }
        Ok(copied)
    }

    /// The columns of a view, as a table has them.
    async fn columns_of_relation(&self, name: &ObjectName) -> Result<Vec<ColumnDefinition>> {
        let query = parse_query_as_written(&format!("SELECT * FROM {name}"))?;
        let plan = self.query(query).await?;
        let column = |field: &arrow::datatypes::FieldRef| {
            let data_type = data_type_of(&column_type_of(field)?)?;
            Ok(plain_column(field.name(), data_type))
        };
        plan.schema().fields().iter().map(column).collect()
    }

    fn copy_column(
        &self,
        source: &Collection,
        column: &Column,
        like: &LikeClause,
    ) -> Result<ColumnDefinition> {
        let data_type = match self.snapshot.domain_of(column) {
            Some(domain) => named_type(&domain.name),
            None => data_type_of(&column.column_type)?,
        };
        let mut copy = plain_column(&column.name, data_type);
        copy.not_null = !column.nullable;
        let sequence = self.snapshot.owned_sequence(source.id, column.id);
        let generates = sequence.and_then(|s| Some((s, s.owner?.generates?)));
        match generates {
            Some((sequence, Generates::Default)) if like.defaults => {
                let name = sequence.name.to_string().replace('\'', "''");
                let text = format!("nextval('{name}')");
                copy.default = Some((parse_expr(&text)?, text));
            }
            Some((sequence, generates)) if generates != Generates::Default && like.identity => {
                copy.sequence = Some(Box::new(ColumnSequence {
                    generates,
                    options: options_of(sequence),
                }));
            }
            _ => {}
        }
        if let Some(text) = column.default.as_ref().filter(|_| like.defaults) {
            copy.default = Some((parse_expr(text)?, text.clone()));
        }
        if let Some(generated) = column.generated.as_ref().filter(|_| like.generated) {
            copy.generated = Some(Box::new(parse_expr(&generated.expression)?));
        }
        Ok(copy)
    }

    fn rest_of(&self, source: Arc<Collection>, like: &LikeClause) -> Copied {
        let on_column = |(on, text): (&Commented, &Arc<str>)| match on {
            Commented::Column(id, field) if *id == source.id => Some((*field, Arc::clone(text))),
            _ => None,
        };
        let comments = match like.comments {
            true => self.snapshot.comments().filter_map(on_column).collect(),
            false => Vec::new(),
        };
        Copied {
            source,
            indexes: like.indexes,
            comments,
        }
    }
}

fn plain_column(name: &str, data_type: ast::DataType) -> ColumnDefinition {
    ColumnDefinition {
        name: quoted(name),
        data_type,
        not_null: false,
        default: None,
        checks: Vec::new(),
        unique: None,
        references: None,
        sequence: None,
        generated: None,
    }
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// A type of users as CREATE TABLE names it.
fn named_type(name: &QualifiedName) -> ast::DataType {
    let parts = [&name.schema, &name.name].map(|part| quoted(part));
    ast::DataType::Custom(ObjectName::from(parts.to_vec()), Vec::new())
}

/// The type as CREATE TABLE names it.
pub(in crate::sql) fn data_type_of(column_type: &ColumnType) -> Result<ast::DataType> {
    if let ColumnType::Enum(of) = column_type {
        return Ok(named_type(&of.name));
    }
    if let ColumnType::Array(element) = column_type {
        let element = Box::new(data_type_of(element)?);
        let element = ast::ArrayElemTypeDef::SquareBracket(element, None);
        return Ok(ast::DataType::Array(element));
    }
    let mut parser =
        Parser::new(&DIALECT).with_tokens_with_locations(tokenize(&column_type.to_string())?);
    Ok(parser.parse_data_type()?)
}

fn options_of(sequence: &Sequence) -> SequenceOptions {
    SequenceOptions {
        increment: Some(sequence.increment),
        min: Some(Some(sequence.min)),
        max: Some(Some(sequence.max)),
        start: Some(sequence.start),
        cache: Some(sequence.cache),
        cycle: Some(sequence.cycle),
        ..SequenceOptions::default()
    }
}

fn copy_checks(source: &Collection, create: &mut CreateCollection) -> Result<()> {
    for check in &source.schema.checks {
        create.checks.push(CheckDefinition {
            name: Some(quoted(&check.name)),
            condition: parse_expr(&check.condition)?,
        });
    }
    Ok(())
}

/// Copies the primary key and UNIQUE constraints.
fn copy_keys(source: &Collection, create: &mut CreateCollection) -> Result<()> {
    let names = |fields: &[FieldId]| -> Vec<Ident> {
        let columns = fields.iter();
        let columns = columns.filter_map(|id| source.schema.column_by_id(*id));
        columns.map(|column| quoted(&column.name)).collect()
    };
    if !source.schema.primary_key.is_empty() {
        if !create.primary_key.is_empty() {
            let name = &create.name;
            let message = format!("multiple primary keys for table \"{name}\" are not allowed");
            return Err(Error::invalid(sqlstate::INVALID_TABLE_DEFINITION, message));
        }
        create.primary_key = names(&source.schema.primary_key);
    }
    for index in source.indexes().iter().filter(|index| index.is_constraint) {
        create.unique.push(UniqueDefinition {
            name: None,
            columns: names(&fields_of(index)),
            include: names(&index.include),
            nulls_equal: index.nulls_equal,
        });
    }
    Ok(())
}

/// The columns among the keys of an index.
fn fields_of(index: &Index) -> Vec<FieldId> {
    let keys = index.keys.iter();
    let fields = keys.filter_map(|key| match key.part {
        IndexPart::Column(field) => Some(field),
        IndexPart::Expression(_) => None,
    });
    fields.collect()
}

impl Copied {
    /// Adds the changes that make the indexes which belong to no constraint.
    pub fn indexes(&self, new: &Indexes<'_>, changes: &mut Vec<Change>) -> Result<()> {
        if !self.indexes {
            return Ok(());
        }
        for index in self.source.indexes().iter().filter(|i| !i.is_constraint) {
            let made = changes.iter().filter_map(|change| match change {
                Change::CreateIndex(_, index) => Some(index.name.clone()),
                _ => None,
            });
            let made: Vec<String> = made.collect();
            let name = name_of_copy(new, index, &self.source.schema, &made)?;
            let committer = &new.session.inner.core.engine.committer;
            let mut copy = Index::clone(index);
            copy.id = IndexId(committer.allocate_id());
            copy.name = name;
            self.translate(&mut copy, new.schema);
            changes.push(Change::CreateIndex(new.collection, copy));
        }
        Ok(())
    }

    /// Makes the columns of an index those of the same names.
    fn translate(&self, index: &mut Index, schema: &CollectionSchema) {
        let translated = |id: &mut FieldId| *id = self.translated(*id, schema).unwrap_or(*id);
        for key in &mut index.keys {
            if let IndexPart::Column(field) = &mut key.part {
                translated(field);
            }
        }
        index.include.iter_mut().for_each(translated);
        index.columns.iter_mut().for_each(translated);
    }

    fn translated(&self, id: FieldId, schema: &CollectionSchema) -> Option<FieldId> {
        let name = &self.source.schema.column_by_id(id)?.name;
        Some(schema.column(name)?.id)
    }

    /// The changes that put the comments on the columns of the new table.
    pub fn comments<'a>(
        &'a self,
        id: CollectionId,
        schema: &'a CollectionSchema,
    ) -> impl Iterator<Item = Change> + 'a {
        self.comments.iter().filter_map(move |(field, text)| {
            let on = Commented::Column(id, self.translated(*field, schema)?);
            Some(Change::Comment(on, Some(text.to_string())))
        })
    }
}
