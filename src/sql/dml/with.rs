//! WITH whose statements change rows, or that stands before one: `WITH moved AS (DELETE .. RETURNING *) INSERT ..`.
//!
//! Each statement is planned by itself. A name of WITH that is a query stands before each of them, as it was written; one
//! that gives rows once, of a statement or of a query that is named more than once, is a table of the rows that are kept.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{
    self, Cte, ObjectName, Query, SetExpr, TableFactor, Visit, Visitor, With,
};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::{MergeStatement, quoted, select, table};
use crate::catalog::dml::{PartRole, WithNode};
use crate::catalog::parts::PartTable;
use crate::catalog::provider::ROWS_CATALOG;
use crate::catalog::table::CollectionTable;
use crate::error::{Error, Result, sqlstate};
use crate::sql::mend::{mend_query, mend_statement, refuse_merged};
use crate::sql::output_names::OutputNames;
use crate::sql::parser::fold;
use crate::sql::prepared::analyzed;
use crate::sql::session::{Planning, Tag};
use crate::sql::statement::{Insert, Statement};
use crate::sql::walk;
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::schema::Version;

/// The catalog of tables that are the rows of a part of a statement, as EXPLAIN shows them; nothing is looked up in it.
const PARTS_CATALOG: &str = "shelfmark_parts";

/// A statement with WITH, at least one part of which changes rows.
#[derive(Debug, Clone)]
pub struct WithStatement {
    recursive: bool,
    common: Vec<Common>,
    /// What stands behind WITH.
    pub main: Statement,
}

/// A name of WITH; the query of one that is a statement is of no use.
#[derive(Debug, Clone)]
struct Common {
    cte: Cte,
    change: Option<Statement>,
}

/// How many of the queries at the top of a statement change rows: the statement itself, and those of its WITH.
pub(in crate::sql) fn changes_at_top(query: &Query) -> usize {
    let with = query.with.iter().flat_map(|with| &with.cte_tables);
    let changes = with.filter(|cte| changes_rows(&cte.query.body)).count();
    changes + usize::from(query.with.is_some() && changes_rows(&query.body))
}

/// Whether a query is a statement that changes rows.
pub(in crate::sql) fn changes_rows(body: &SetExpr) -> bool {
    matches!(
        body,
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
    )
}

/// The parts of a statement that has such a WITH; `None` for others.
///
/// # Errors
/// 42712 for two of one name, 0A000 for MERGE, and for USING where it is not supported.
pub(in crate::sql) fn with_statement(
    statement: &mut DataFusionStatement,
) -> Result<Option<WithStatement>> {
    let DataFusionStatement::Statement(statement) = statement else {
        return Ok(None);
    };
    let ast::Statement::Query(query) = statement.as_mut() else {
        return Ok(None);
    };
    if changes_at_top(query) == 0 {
        return Ok(None);
    }
    let with = query.with.take();
    let with = with.ok_or_else(|| Error::internal("a statement lost its WITH"))?;
    let main = statement_of(query)?;
    Ok(Some(WithStatement::new(with, main)?))
}

/// MERGE with the WITH of another query before it.
///
/// # Errors
/// Those of [`with_statement`]; 42601 for RECURSIVE.
pub(in crate::sql) fn with_merge(
    mut query: Box<Query>,
    merge: MergeStatement,
) -> Result<Statement> {
    mend_query(&mut query)?;
    let mut main = Statement::Merge(Box::new(merge));
    mend_statement(&mut main)?;
    let Some(with) = query.with.take() else {
        return Ok(main);
    };
    if with.recursive {
        let message = "WITH RECURSIVE is not supported for MERGE statement";
        return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
    }
    Ok(Statement::With(Box::new(WithStatement::new(with, main)?)))
}

impl WithStatement {
    fn new(with: With, main: Statement) -> Result<Self> {
        let With {
            recursive,
            cte_tables,
            ..
        } = with;
        let common = common_of(cte_tables)?;
        Ok(Self {
            recursive,
            common,
            main,
        })
    }
}

fn common_of(cte_tables: Vec<Cte>) -> Result<Vec<Common>> {
    let mut names = HashSet::new();
    for cte in &cte_tables {
        let name = fold(&cte.alias.name);
        if !names.insert(name.clone()) {
            let message = format!("WITH query name \"{name}\" specified more than once");
            return Err(Error::invalid(sqlstate::DUPLICATE_ALIAS, message));
        }
    }
    let common = cte_tables.into_iter().map(|cte| {
        let change = match changes_rows(&cte.query.body) {
            true => Some(statement_of(&cte.query)?),
            false => None,
        };
        Ok(Common { cte, change })
    });
    common.collect()
}

/// A query as the statement that it is.
fn statement_of(query: &Query) -> Result<Statement> {
    Ok(match query.body.as_ref() {
        SetExpr::Insert(ast::Statement::Insert(insert)) => Statement::Insert(Box::new(Insert {
            statement: insert.clone(),
            overriding: None,
        })),
        SetExpr::Update(ast::Statement::Update(update)) => {
            let from = update.from.iter().flat_map(|from| match from {
                ast::UpdateTableFromKind::BeforeSet(from)
                | ast::UpdateTableFromKind::AfterSet(from) => from,
            });
            refuse_merged(from)?;
            Statement::Update(Box::new(update.clone()))
        }
        SetExpr::Delete(ast::Statement::Delete(delete)) => {
            refuse_merged(delete.using.iter().flatten())?;
            Statement::Delete(Box::new(delete.clone()))
        }
        body if changes_rows(body) => {
            return Err(Error::unsupported("MERGE not supported in WITH query"));
        }
        _ => {
            let query = ast::Statement::Query(Box::new(query.clone()));
            Statement::DataFusion(Box::new(DataFusionStatement::Statement(Box::new(query))))
        }
    })
}

/// The names that the queries of a statement may use beside those of the catalog: most are those of its WITH.
#[derive(Debug, Clone, Default)]
pub(in crate::sql) struct CommonNames {
    recursive: bool,
    ctes: Vec<Cte>,
    tables: Vec<(TableReference, Arc<dyn TableProvider>)>,
}

impl CommonNames {
    /// The tables that are not the catalog's.
    pub fn tables(&self) -> &[(TableReference, Arc<dyn TableProvider>)] {
        &self.tables
    }

    /// A collection of a version that the session does not see yet, with the addresses of its rows.
    pub fn add_rows(&mut self, engine: Arc<Engine>, collection: &Arc<Collection>, read: Version) {
        let name = &collection.name;
        let reference = TableReference::full(ROWS_CATALOG, &*name.schema, &*name.name);
        let table = CollectionTable::new(engine, Arc::clone(collection), read);
        self.tables
            .push((reference, Arc::new(table.with_row_address())));
    }

    /// A table by a name that the catalog does not have.
    pub fn add_table(&mut self, name: TableReference, table: Arc<dyn TableProvider>) {
        self.tables.push((name, table));
    }

    /// Puts the names before those of the query's own.
    pub fn add_to(&self, statement: &mut ast::Statement) {
        let ast::Statement::Query(query) = statement else {
            return;
        };
        if self.ctes.is_empty() {
            return;
        }
        match &mut query.with {
            Some(with) => {
                with.recursive |= self.recursive;
                with.cte_tables.splice(0..0, self.ctes.iter().cloned());
            }
            None => {
                query.with = Some(With {
                    with_token: ast::helpers::attached_token::AttachedToken::empty(),
                    recursive: self.recursive,
                    cte_tables: self.ctes.clone(),
                });
            }
        }
    }

    /// A name for the rows of a part.
    fn add_part(&mut self, part: usize, mut cte: Cte, schema: SchemaRef) -> Result<()> {
        let name = format!("{}:{part}", fold(&cte.alias.name));
        let parts = [PARTS_CATALOG, "with", &name];
        let from = table(parts.map(quoted).to_vec(), quoted("part"));
        let all = ast::SelectItem::Wildcard(ast::WildcardAdditionalOptions::default());
        cte.query = select(vec![all], vec![from], None)?;
        self.ctes.push(cte);
        let reference = TableReference::full(PARTS_CATALOG, "with", name.as_str());
        let table = PartTable::new(part, schema);
        self.tables.push((reference, Arc::new(table)));
        Ok(())
    }

    /// The parts whose rows a plan reads.
    fn read_by(&self, plan: &LogicalPlan) -> Result<HashSet<usize>> {
        let mut read = HashSet::new();
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && scan.table_name.catalog() == Some(PARTS_CATALOG)
            {
                let part = scan.table_name.table().rsplit(':').next();
                read.extend(part.and_then(|part| part.parse::<usize>().ok()));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(read)
    }
}

/// A part that is planned.
struct Part {
    plan: LogicalPlan,
    reads: HashSet<usize>,
    /// Whether it changes rows, and so runs also when nobody reads what it returns.
    changes: bool,
}

/// The plan of a statement with WITH. Boxed because its parts are statements.
pub(in crate::sql) fn with<'a>(
    planning: &'a Planning<'_>,
    statement: WithStatement,
) -> BoxFuture<'a, Result<(Tag, LogicalPlan)>> {
    with_parts(planning, statement).boxed()
}

async fn with_parts(planning: &Planning<'_>, with: WithStatement) -> Result<(Tag, LogicalPlan)> {
    let mut inner = planning.again();
    inner.common.recursive = with.recursive;
    let mut parts = Vec::new();
    let mut changed: Option<Arc<Collection>> = None;
    for (place, common) in with.common.iter().enumerate() {
        let name = fold(&common.cte.alias.name);
        let mentions = with.common[place + 1..]
            .iter()
            .map(|later| match &later.change {
                Some(change) => mentions(change, &name),
                None => mentions_in(&later.cte.query, &name),
            });
        let mentioned = mentions.sum::<usize>() + self::mentions(&with.main, &name);
        let statement = match &common.change {
            Some(change) => {
                common.check(&name, change, with.recursive, mentioned)?;
                change.clone()
            }
            None if mentioned > 1 => statement_of(&common.cte.query)?,
            None => {
                inner.common.ctes.push(common.cte.clone());
                continue;
            }
        };
        let names = OutputNames::of(&statement);
        let (_, plan) = inner.statement(statement).await?;
        if changed.is_none() {
            changed = changed_by(&plan);
        }
        let reads = inner.common.read_by(&plan)?;
        if mentioned > 0 {
            let schema = rows_of(&inner, &plan, &names);
            inner
                .common
                .add_part(parts.len(), common.cte.clone(), schema)?;
        }
        parts.push(Part {
            plan,
            reads,
            changes: common.change.is_some(),
        });
    }
    let (tag, main) = inner.statement(with.main).await?;
    let Some(changed) = changed.or_else(|| changed_by(&main)) else {
        return Err(Error::internal("no part of WITH changes rows"));
    };
    if parts.is_empty() {
        return Ok((tag, main));
    }
    let reads = inner.common.read_by(&main)?;
    let parts = in_order(parts, main, reads);
    let engine = Arc::clone(&planning.session.inner.core.engine);
    Ok((tag, WithNode::plan(engine, changed.id, parts)?))
}

impl Common {
    /// That a statement of WITH is named as it may be.
    ///
    /// # Errors
    /// 42P19 for one that names itself, 0A000 for one without RETURNING that is read.
    fn check(
        &self,
        name: &str,
        change: &Statement,
        recursive: bool,
        mentioned: usize,
    ) -> Result<()> {
        if recursive && mentions(change, name) > 0 {
            let message =
                format!("recursive query \"{name}\" must not contain data-modifying statements");
            return Err(Error::invalid(sqlstate::INVALID_RECURSION, message));
        }
        let returns = match change {
            Statement::Insert(insert) => insert.statement.returning.is_some(),
            Statement::Update(update) => update.returning.is_some(),
            Statement::Delete(delete) => delete.returning.is_some(),
            _ => true,
        };
        if mentioned > 0 && !returns {
            let message = format!("WITH query \"{name}\" does not have a RETURNING clause");
            return Err(Error::unsupported(message));
        }
        Ok(())
    }
}

/// The collection that a plan changes.
fn changed_by(plan: &LogicalPlan) -> Option<Arc<Collection>> {
    let LogicalPlan::Extension(extension) = plan else {
        return None;
    };
    let dml = extension.node.as_any().downcast_ref();
    dml.map(|dml: &crate::catalog::dml::DmlNode| Arc::clone(dml.collection()))
}

/// The columns of a part's rows.
fn rows_of(planning: &Planning<'_>, plan: &LogicalPlan, names: &OutputNames) -> SchemaRef {
    // What cannot be analysed yet, since types of parameters are not known, is planned again.
    let analyzed = analyzed(&planning.state, plan.clone());
    let schema = match &analyzed {
        Ok(analyzed) => analyzed.schema(),
        Err(_) => plan.schema(),
    };
    let named = names.apply(schema.inner());
    let mut taken = HashSet::new();
    let fields = named.fields().iter().map(|field| {
        // A table of DataFusion has no two columns of a name: twins have blanks behind it.
        let mut name = field.name().clone();
        while !taken.insert(name.clone()) {
            name.push(' ');
        }
        field.as_ref().clone().with_name(name).with_nullable(true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The parts in the order in which they run: what the main one needs, the main one, and the other changes.
fn in_order(
    parts: Vec<Part>,
    main: LogicalPlan,
    read_by_main: HashSet<usize>,
) -> Vec<(PartRole, LogicalPlan)> {
    let mut needed = read_by_main.clone();
    for (number, part) in parts.iter().enumerate().rev() {
        if needed.contains(&number) {
            needed.extend(&part.reads);
        }
    }
    // Of the others, queries run that a change reads.
    let mut wanted = needed.clone();
    for (number, part) in parts.iter().enumerate().rev() {
        if part.changes || wanted.contains(&number) {
            wanted.insert(number);
            wanted.extend(&part.reads);
        }
    }
    let read: HashSet<usize> = parts.iter().flat_map(|part| part.reads.clone()).collect();
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for (number, part) in parts.into_iter().enumerate() {
        let role = match read.contains(&number) || read_by_main.contains(&number) {
            true => PartRole::Kept(number),
            false => PartRole::Unread,
        };
        if needed.contains(&number) {
            first.push((role, part.plan));
        } else if wanted.contains(&number) {
            last.push((role, part.plan));
        }
    }
    first.push((PartRole::Main, main));
    first.extend(last);
    first
}

/// How often a statement names a relation so.
fn mentions(statement: &Statement, name: &str) -> usize {
    match statement {
        Statement::Insert(insert) => mentions_in(&insert.statement, name),
        Statement::Update(update) => mentions_in(update.as_ref(), name),
        Statement::Delete(delete) => mentions_in(delete.as_ref(), name),
        Statement::Merge(merge) => mentions_in_merge(merge, name),
        Statement::DataFusion(statement) => match statement.as_ref() {
            DataFusionStatement::Statement(statement) => mentions_in(statement.as_ref(), name),
            _ => 0,
        },
        _ => 0,
    }
}

fn mentions_in_merge(merge: &MergeStatement, name: &str) -> usize {
    let (mut in_tables, mut in_expressions) = (0, 0);
    let mut table = |table: &mut TableFactor| {
        in_tables += mentions_in(table, name);
        Ok(())
    };
    let mut expr = |expr: &mut ast::Expr| {
        in_expressions += mentions_in(expr, name);
        Ok(())
    };
    // It never breaks.
    let _ = merge.clone().try_for_each(&mut table, &mut expr);
    in_tables + in_expressions
}

fn mentions_in(node: &impl Visit, name: &str) -> usize {
    struct Mentions<'a>(&'a str, usize);
    impl Visitor for Mentions<'_> {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, .. } = factor {
                self.1 += usize::from(is_name(name, self.0));
            }
            ControlFlow::Continue(())
        }
    }
    let mut mentions = Mentions(name, 0);
    // It never breaks.
    let _ = walk::read(node, &mut mentions);
    mentions.1
}

fn is_name(name: &ObjectName, wanted: &str) -> bool {
    let [only] = name.0.as_slice() else {
        return false;
    };
    only.as_ident().is_some_and(|ident| fold(ident) == wanted)
}
