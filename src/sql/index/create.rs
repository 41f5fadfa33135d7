//! CREATE INDEX: the definition is checked and committed, then existing segments get their bloom filters.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{ExprSchemable, LogicalPlan};
use datafusion::sql::sqlparser::ast::Ident;

use super::method::{KeyType, Method};
use super::name::default_name;
use super::{CreateIndex, KeyDefinition, KeySubject};
use crate::catalog::checks::changes_with_time;
use crate::catalog::keys::check_key;
use crate::error::{Error, Result, sqlstate};
use crate::sql::constraint::check_operators;
use crate::sql::ddl::{check_writable, find_collection, qualify};
use crate::sql::notice::Notice;
use crate::sql::parser::fold;
use crate::sql::partition::check_keys;
use crate::sql::session::{Planning, Session, Tag, done};
use crate::sql::unique::{check_rows, check_type};
use crate::storage::bloom::has_filter;
use crate::storage::change::{Change, QualifiedName};
use crate::storage::collection::Collection;
use crate::storage::index::{Index, IndexKey, IndexPart};
use crate::storage::schema::{CollectionId, CollectionSchema, Column, FieldId, IndexId};
use crate::storage::unique::UniqueKey;

/// The most columns of an index, as in Postgres.
const KEYS_MAX: usize = 32;

/// CREATE INDEX.
pub(in crate::sql) fn create(session: &Session, create: CreateIndex) -> Result<(Tag, LogicalPlan)> {
    if create.concurrently {
        let block = session.inner.block.lock();
        block.check_outside("CREATE INDEX CONCURRENTLY")?;
    }
    let session = session.clone();
    let create = Arc::new(create);
    let label = format!("CreateIndex: on {}", create.table);
    done("CREATE INDEX", label, move || {
        let (session, create) = (session.clone(), Arc::clone(&create));
        async move {
            let made = commit(&session, &create).await?;
            // In a block it is built in the background once the block has committed.
            let waits = !create.concurrently && session.open_transaction().is_none();
            if let Some(collection) = made.filter(|_| waits) {
                build(&session, collection).await;
            }
            Ok(())
        }
    })
}

/// Commits the definition, and answers of which collection; `None` when there was such an index, which is fine, or nothing
/// is to be built. Segments written from now on get their filters as they are written.
async fn commit(session: &Session, create: &CreateIndex) -> Result<Option<CollectionId>> {
    let _ddl = session.inner.core.ddl.lock().await;
    let planning = Planning::new(session);
    let snapshot = &planning.snapshot;
    let table = qualify(&create.table, &session.search_path())?;
    check_writable(&table.schema)?;
    if snapshot.partition(&table).is_some() && !create.is_unique {
        session.notice("the rows of a partition are found by the indexes of its table");
        return Ok(None);
    }
    let collection = find_collection(snapshot, &table)?;
    session.check_owns(snapshot, collection)?;
    let (mut index, notices) = Definition::new(&planning, collection, create)?.index()?;
    index.name = match &create.name {
        Some(name) => fold(name),
        None => default_name(snapshot, &table, &create.keys),
    };
    let name = QualifiedName::new(&table.schema, &index.name);
    let is_taken = snapshot.collection(&name).is_some()
        || snapshot.view(&name).is_some()
        || snapshot.index(&name).is_some();
    if create.if_not_exists && is_taken {
        session.notice(format!("relation \"{name}\" already exists, skipping"));
        return Ok(None);
    }
    if index.is_unique {
        let change = [Change::CreateIndex(collection.id, index.clone())];
        check_keys(&collection.schema, &table.name, &change)?;
        let key = UniqueKey::of(&index);
        check_rows(&planning, collection, &collection.schema, &key).await?;
    }
    index.id = IndexId(session.inner.core.engine.committer.allocate_id());
    let made = collection.id;
    let change = Change::CreateIndex(collection.id, index);
    let is_temporary = collection.is_temporary();
    session.commit(snapshot, vec![change]).await?;
    notices.into_iter().for_each(|n| session.notice(n));
    // The segments of a temporary table are never written again.
    Ok((!is_temporary).then_some(made))
}

/// That an index which is there could be made of the collection as it will be.
///
/// # Errors
/// Those of CREATE INDEX for columns and expressions of such types.
pub(in crate::sql) fn check_index(
    planning: &Planning<'_>,
    collection: &Collection,
    index: &Index,
) -> Result<()> {
    let columns = DFSchema::try_from(collection.schema.arrow_schema())?;
    let field = |text: &str| {
        let expr = planning.expression(text, &columns)?;
        check_operators(&expr, &columns)?;
        Ok::<_, Error>(expr.to_field(&columns)?.1)
    };
    let method = Method::parse(&index.method)?;
    for key in &index.keys {
        let key_type = match &key.part {
            IndexPart::Expression(text) => KeyType::of_expression(&*field(text)?),
            IndexPart::Column(id) => {
                let column = collection.schema.column_by_id(*id);
                let column = column.ok_or_else(|| Error::internal("an index of no column"))?;
                if index.is_unique {
                    check_type(column)?;
                }
                KeyType::of_column(&column.column_type)
            }
        };
        method.check_class(key.operator_class.as_deref(), &key_type)?;
    }
    index
        .predicate
        .as_deref()
        .map_or(Ok(()), |text| field(text).map(|_| ()))?;
    match index.is_unique {
        true => check_key(collection, UniqueKey::of(index)),
        false => Ok(()),
    }
}

/// Gives existing segments their filters. The index is there whatever becomes of them, since to take it away again could
/// fail as well: what is missing is read without a filter, and built in the background.
async fn build(session: &Session, collection: CollectionId) {
    let scheduler = &session.inner.core.scheduler;
    if let Err(error) = scheduler.build_filters(collection).await {
        let message = format!("the index is there, but not all of its bloom filters: {error}");
        let hint = "They are built in the background as soon as that can be done.";
        session.notice(Notice::warning(message).with_hint(hint));
    }
}

/// A definition while it is checked.
struct Definition<'a> {
    planning: &'a Planning<'a>,
    collection: &'a Collection,
    create: &'a CreateIndex,
    method: Method,
    /// The columns as expressions see them.
    columns: DFSchema,
}

impl<'a> Definition<'a> {
    fn new(
        planning: &'a Planning<'a>,
        collection: &'a Collection,
        create: &'a CreateIndex,
    ) -> Result<Self> {
        let method = create.method.as_ref().map(fold);
        let method = Method::parse(method.as_deref().unwrap_or("btree"))?;
        method.check_shape(create)?;
        method.check_options(&create.options)?;
        if create.keys.len() + create.include.len() > KEYS_MAX {
            let message = format!("cannot use more than {KEYS_MAX} columns in an index");
            return Err(Error::limit("54011", message));
        }
        let columns = DFSchema::try_from_qualified_schema(
            collection.name.name.as_str(),
            &collection.schema.arrow_schema(),
        )?;
        Ok(Self {
            planning,
            collection,
            create,
            method,
            columns,
        })
    }

    /// The index without name and id, and what its author should know.
    fn index(&self) -> Result<(Index, Vec<String>)> {
        let mut named = Vec::new();
        let mut keys = Vec::with_capacity(self.create.keys.len());
        for key in &self.create.keys {
            keys.push(self.key(key, &mut named)?);
        }
        let mut include = Vec::new();
        for name in &self.create.include {
            include.push(self.column(name)?.id);
        }
        named.extend(&include);
        if let Some(text) = &self.create.predicate {
            let field = self.expression(text, "predicate", &mut named)?;
            if !matches!(field.data_type(), DataType::Boolean | DataType::Null) {
                let message = "argument of WHERE must be type boolean";
                return Err(Error::invalid(sqlstate::DATATYPE_MISMATCH, message));
            }
        }
        named.sort_unstable();
        named.dedup();
        let index = Index {
            id: IndexId(0),
            name: String::new(),
            method: self.method.name().to_string(),
            keys,
            include,
            is_unique: self.create.is_unique,
            is_constraint: false,
            nulls_equal: self.create.nulls_equal,
            options: self.create.options.clone(),
            predicate: self.create.predicate.clone(),
            columns: named,
        };
        self.check_unique(&index)?;
        let notices = self.notices(&index);
        Ok((index, notices))
    }

    fn key(&self, key: &KeyDefinition, named: &mut Vec<FieldId>) -> Result<IndexKey> {
        let (part, key_type) = match &key.subject {
            KeySubject::Column(name) => {
                let column = self.column(name)?;
                named.push(column.id);
                let key_type = KeyType::of_column(&column.column_type);
                (IndexPart::Column(column.id), key_type)
            }
            KeySubject::Expression(_, text) => {
                let field = self.expression(text, "expression", named)?;
                let part = IndexPart::Expression(text.clone());
                (part, KeyType::of_expression(&field))
            }
        };
        let class = key.operator_class.as_deref();
        self.method.check_class(class, &key_type)?;
        Ok(IndexKey {
            part,
            operator_class: key.operator_class.clone(),
            descending: key.descending == Some(true),
            nulls_first: key.nulls_first,
        })
    }

    fn column(&self, name: &Ident) -> Result<&'a Column> {
        let name = fold(name);
        let schema: &CollectionSchema = &self.collection.schema;
        schema.column(&name).ok_or_else(|| {
            let message = format!("column \"{name}\" does not exist");
            Error::not_found(sqlstate::UNDEFINED_COLUMN, message)
        })
    }

    /// The type of an expression, whose columns join those that are named.
    fn expression(&self, text: &str, kind: &str, named: &mut Vec<FieldId>) -> Result<FieldRef> {
        let expr = self.planning.expression(text, &self.columns)?;
        if expr.exists(|e| Ok(changes_with_time(e)))? {
            let message = format!("functions in index {kind} must be marked IMMUTABLE");
            return Err(Error::invalid(sqlstate::INVALID_OBJECT_DEFINITION, message));
        }
        let columns = expr.column_refs();
        let columns = columns
            .iter()
            .filter_map(|c| self.collection.schema.column(&c.name));
        named.extend(columns.map(|c| c.id));
        Ok(expr.to_field(&self.columns)?.1)
    }

    fn check_unique(&self, index: &Index) -> Result<()> {
        if !index.is_unique {
            return Ok(());
        }
        if index.predicate.is_some() && index.nulls_equal {
            let message = "partial UNIQUE indexes with NULLS NOT DISTINCT are not supported";
            return Err(Error::unsupported(message));
        }
        let columns = index.keys.iter().filter_map(|key| match key.part {
            IndexPart::Column(field) => self.collection.schema.column_by_id(field),
            IndexPart::Expression(_) => None,
        });
        for column in columns {
            check_type(column)?;
        }
        // That it is computed where rows are stored.
        check_key(self.collection, UniqueKey::of(index))
    }

    /// What the index does not do that its definition lets expect.
    fn notices(&self, index: &Index) -> Vec<String> {
        let method = self.method.name();
        if self.method.is_nearest() {
            return vec![format!(
                "{method} index is recorded, but nothing is built: vector search is exact and needs no index"
            )];
        }
        if self.method == Method::Brin {
            let text =
                "brin index is recorded, but nothing is built: every segment has bounds already";
            return vec![text.to_string()];
        }
        if !index.looks_up() {
            return vec![format!(
                "{method} index is recorded, but nothing is built: queries do not use such indexes"
            )];
        }
        let mut notices = Vec::new();
        if index
            .keys
            .iter()
            .any(|k| matches!(k.part, IndexPart::Expression(_)))
        {
            notices.push("nothing is built for expressions of an index".to_string());
        }
        for key in &index.keys {
            let IndexPart::Column(field) = key.part else {
                continue;
            };
            let column = self.collection.schema.column_by_id(field);
            if let Some(column) = column.filter(|c| !has_filter(&c.column_type)) {
                notices.push(format!(
                    "nothing is built for column \"{}\" of type {}",
                    column.name, column.column_type
                ));
            }
        }
        let filters = index.filter_fields(&self.collection.schema).count();
        if filters > 1 {
            notices.push(format!(
                "each of the {filters} columns gets bloom filters of its own, which serve = and IN"
            ));
        }
        if index.predicate.is_some() && filters > 0 {
            notices.push("the bloom filters of a partial index know all rows".to_string());
        }
        notices
    }
}
