//! Views that rows can be changed by: those whose rows are rows of one collection.
//!
//! Such a view is read as PostgreSQL rewrites it: its columns and conditions become expressions over the collection, those
//! of the views between too ([`UpdatableView`]). By them the statement finds rows (`dml::through`), computes what
//! RETURNING asks for, and checks WITH CHECK OPTION.

mod query;
mod substitute;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::{Column, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Filter, LogicalPlan, SubqueryAlias};
use datafusion::prelude::Expr;
use datafusion::sql::sqlparser::ast;
use futures::FutureExt;
use futures::future::BoxFuture;

use self::query::{objection, selects_from_one, unordered};
use self::substitute::{Substitution, by_owner, unaliased};
use super::access::view::as_view;
use super::create::plan_query_of;
use crate::catalog::dml::ViewStep;
use crate::catalog::table::CollectionTable;
use crate::error::{Error, Result, sqlstate};
use crate::storage::access::Object;
use crate::storage::change::View;
use crate::storage::collection::Collection;
use crate::storage::snapshot::Snapshot;
use crate::storage::view::CheckOption;

/// What the collection is called in the expressions.
pub(super) const BASE: &str = "_shelfmark_base";

/// A view whose rows are rows of a collection.
#[derive(Debug, Clone)]
pub(super) struct UpdatableView {
    /// The collection.
    pub collection: Arc<Collection>,
    /// The columns of the view.
    pub columns: Vec<ViewColumn>,
    /// Which rows it shows: a condition of each view, the innermost first, by the view's name.
    pub conditions: Vec<(String, Expr)>,
    /// Which of them new rows must pass.
    pub checks: Vec<(String, Expr)>,
    /// Defaults that stand in place of those of the collection's columns, by the places of these.
    pub defaults: HashMap<usize, String>,
    /// The views, the outermost first, with whose rights each is read.
    pub steps: Vec<ViewStep>,
}

/// A column of a view.
#[derive(Debug, Clone)]
pub(super) struct ViewColumn {
    /// Its name.
    pub name: String,
    /// What it is, over the collection's columns.
    pub expr: Expr,
    /// Which column of the collection it is; else which column of which view is none.
    pub place: Result<usize, Computed>,
}

/// A column of a view that is not updatable.
#[derive(Debug, Clone)]
pub(super) struct Computed {
    view: String,
    column: String,
}

/// A view that is not updatable.
#[derive(Debug, Clone)]
pub(super) struct Objection {
    view: String,
    /// Why, as a sentence.
    pub why: &'static str,
}

/// What a statement does to a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Insert,
    Update,
    Delete,
}

impl Verb {
    fn words(self) -> &'static str {
        match self {
            Self::Insert => "insert into",
            Self::Update => "update",
            Self::Delete => "delete from",
        }
    }
}

impl Computed {
    /// 0A000: the column gets no value.
    pub fn error(&self, verb: Verb) -> Error {
        let Self { view, column } = self;
        let words = verb.words();
        Error::unsupported(format!(
            "cannot {words} column \"{column}\" of view \"{view}\""
        ))
        .with_detail("View columns that are not columns of their base relation are not updatable.")
    }
}

impl Objection {
    fn new(view: &View, why: &'static str) -> Self {
        let view = view.name.name.clone();
        Self { view, why }
    }

    /// 55000: rows are not changed by the view.
    pub fn error(&self, verb: Verb) -> Error {
        let message = format!("cannot {} view \"{}\"", verb.words(), self.view);
        Error::invalid(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message).with_detail(self.why)
    }
}

const NOT_ONE: &str =
    "Views that do not select from a single table or view are not automatically updatable.";
const AGGREGATES: &str = "Views that return aggregate functions are not automatically updatable.";
const WINDOWS: &str = "Views that return window functions are not automatically updatable.";
const SETS: &str = "Views that return set-returning functions are not automatically updatable.";
pub(super) const NO_COLUMNS: &str =
    "Views that have no updatable columns are not automatically updatable.";

/// The view as one that rows can be changed by, or why it is none.
///
/// # Errors
/// Those of planning its query: a column it names may be gone.
pub(super) fn updatable<'a>(
    state: &'a SessionState,
    snapshot: &'a Arc<Snapshot>,
    view: &'a View,
) -> BoxFuture<'a, Result<Result<UpdatableView, Objection>>> {
    read(state, snapshot, view).boxed()
}

/// Which of the view's columns get values by statements that name it.
///
/// # Errors
/// Those of planning its query.
pub(crate) async fn updatable_columns(
    state: &SessionState,
    snapshot: &Arc<Snapshot>,
    view: &View,
) -> Result<Vec<bool>> {
    Ok(match updatable(state, snapshot, view).await? {
        Ok(read) => read.columns.iter().map(|c| c.place.is_ok()).collect(),
        Err(_) => Vec::new(),
    })
}

impl UpdatableView {
    /// That a statement finds something that it may change.
    ///
    /// # Errors
    /// 55000 where no column gets values.
    pub fn check(&self, view: &View, verb: Verb) -> Result<()> {
        if verb != Verb::Delete && !self.is_updatable() {
            return Err(Objection::new(view, NO_COLUMNS).error(verb));
        }
        Ok(())
    }

    /// Whether a column gets values.
    pub fn is_updatable(&self) -> bool {
        self.columns.iter().any(|column| column.place.is_ok())
    }
}

async fn read(
    state: &SessionState,
    snapshot: &Arc<Snapshot>,
    view: &View,
) -> Result<Result<UpdatableView, Objection>> {
    let mut statement = super::create::query_of(view)?;
    let refused = match &statement {
        ast::Statement::Query(query) => objection(query),
        _ => Some(NOT_ONE),
    };
    if let Some(why) = refused {
        return Ok(Err(Objection::new(view, why)));
    }
    let is_plain = matches!(&statement, ast::Statement::Query(query) if selects_from_one(query));
    unordered(&mut statement);
    let plan = plan_query_of(state, Arc::clone(snapshot), view, statement).await?;
    let names: Vec<String> = named(&plan, view);
    let mut opened = match Opened::of(plan) {
        Ok(opened) if is_plain => opened,
        Ok(_) => return Ok(Err(Objection::new(view, NOT_ONE))),
        Err(why) => return Ok(Err(Objection::new(view, why))),
    };
    let below = match below(state, snapshot, &opened.relation).await? {
        Some(Ok(below)) => below,
        Some(Err(objection)) => return Ok(Err(objection)),
        None => return Ok(Err(Objection::new(view, NOT_ONE))),
    };
    let step = step(snapshot, view);
    if let Some(owner) = step.owner {
        opened.exprs = marked(opened.exprs, &step, owner)?;
        opened.conditions = marked(opened.conditions, &step, owner)?;
    }
    Ok(Ok(over(view, step, names, opened, below)?))
}

fn marked(
    exprs: Vec<Expr>,
    step: &ViewStep,
    owner: crate::storage::role::RoleId,
) -> Result<Vec<Expr>> {
    let marked = exprs.into_iter();
    marked
        .map(|expr| by_owner(expr, &step.name, owner))
        .collect()
}

pub(super) fn step(snapshot: &Snapshot, view: &View) -> ViewStep {
    let owner = match &view.partition {
        // Who may use the partition need not have rights on its table.
        Some(partition) => snapshot.access(&Object::Collection(partition.parent)).owner,
        None => snapshot.access(&Object::View(view.name.clone())).owner,
    };
    ViewStep {
        name: view.name.clone(),
        owner: (!view.is_invoker()).then_some(owner),
    }
}

/// The names of the view's columns.
fn named(plan: &LogicalPlan, view: &View) -> Vec<String> {
    let of_query = plan
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone());
    let own = view.columns.iter().cloned();
    own.chain(of_query.skip(view.columns.len())).collect()
}

/// What a query over one relation is made of.
struct Opened {
    /// Its columns, over those of the relation.
    exprs: Vec<Expr>,
    conditions: Vec<Expr>,
    relation: LogicalPlan,
}

impl Opened {
    /// The parts of a plan; why it has others too.
    fn of(plan: LogicalPlan) -> Result<Self, &'static str> {
        let columns = plan.schema().columns();
        let mut opened = Self {
            exprs: columns.into_iter().map(Expr::Column).collect(),
            conditions: Vec::new(),
            relation: plan,
        };
        loop {
            let (schema, exprs, input) = match opened.relation {
                LogicalPlan::Projection(projection) => {
                    (projection.schema, projection.expr, projection.input)
                }
                LogicalPlan::Filter(filter) => {
                    opened.conditions.push(filter.predicate);
                    opened.relation = Arc::unwrap_or_clone(filter.input);
                    continue;
                }
                LogicalPlan::Aggregate(_) => return Err(AGGREGATES),
                LogicalPlan::Window(_) => return Err(WINDOWS),
                LogicalPlan::Unnest(_) => return Err(SETS),
                _ => return Ok(opened),
            };
            let bare: Vec<Expr> = exprs.iter().map(|e| unaliased(e).clone()).collect();
            let below = Substitution {
                schema: &schema,
                exprs: &bare,
            };
            let apply = |expr: Expr| below.apply(expr).map_err(|_| NOT_ONE);
            opened.exprs = opened
                .exprs
                .into_iter()
                .map(apply)
                .collect::<Result<_, _>>()?;
            let conditions = opened.conditions.into_iter().map(apply);
            opened.conditions = conditions.collect::<Result<_, _>>()?;
            opened.relation = Arc::unwrap_or_clone(input);
        }
    }
}

/// What a query reads as one relation: a collection, or a view; none for something else.
async fn below(
    state: &SessionState,
    snapshot: &Arc<Snapshot>,
    relation: &LogicalPlan,
) -> Result<Option<Result<UpdatableView, Objection>>> {
    let mut plan = relation;
    // A collection whose rows expire is a filter above a scan, which its own alias is above.
    while let LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. })
    | LogicalPlan::Filter(Filter { input, .. }) = plan
    {
        plan = input;
    }
    if let Some(node) = as_view(plan) {
        let Some(view) = snapshot.view(&node.name) else {
            return Ok(None);
        };
        return Ok(Some(updatable(state, snapshot, view).await?));
    }
    let LogicalPlan::TableScan(scan) = plan else {
        return Ok(None);
    };
    let provider = source_as_provider(&scan.source)?;
    let table = provider.downcast_ref::<CollectionTable>();
    let table = table.filter(|table| table.collection().materialized.is_none());
    Ok(table.map(|table| Ok(whole(table.collection()))))
}

/// A collection as if it were a view of itself.
fn whole(collection: &Arc<Collection>) -> UpdatableView {
    let columns = collection.schema.columns.iter().enumerate();
    let columns = columns.map(|(place, column)| ViewColumn {
        name: column.name.clone(),
        expr: base_column(&column.name),
        place: Ok(place),
    });
    UpdatableView {
        collection: Arc::clone(collection),
        columns: columns.collect(),
        conditions: Vec::new(),
        checks: Vec::new(),
        defaults: HashMap::new(),
        steps: Vec::new(),
    }
}

/// A column of the collection.
pub(super) fn base_column(name: &str) -> Expr {
    Expr::Column(Column::new(Some(TableReference::bare(BASE)), name))
}

/// A view over another, or over a collection.
fn over(
    view: &View,
    step: ViewStep,
    names: Vec<String>,
    opened: Opened,
    below: UpdatableView,
) -> Result<UpdatableView> {
    let schema = opened.relation.schema();
    let place = |expr: &Expr, name: &str| {
        let found = match unaliased(expr) {
            Expr::Column(column) => schema.maybe_index_of_column(column),
            _ => None,
        };
        let column = found.and_then(|at| below.columns.get(at));
        column
            .map(|column| column.place.clone())
            .unwrap_or_else(|| {
                let view = view.name.name.clone();
                let column = name.to_string();
                Err(Computed { view, column })
            })
    };
    let exprs: Vec<Expr> = below.columns.iter().map(|c| c.expr.clone()).collect();
    let substitution = Substitution {
        schema,
        exprs: &exprs,
    };
    let columns = opened.exprs.into_iter().zip(names).map(|(expr, name)| {
        Ok(ViewColumn {
            place: place(&expr, &name),
            expr: substitution.apply(unaliased(&expr).clone())?,
            name,
        })
    });
    let columns: Vec<ViewColumn> = columns.collect::<Result<_>>()?;
    let own = opened.conditions.into_iter();
    let own = own.map(|expr| Ok((view.name.name.clone(), substitution.apply(expr)?)));
    let own: Vec<(String, Expr)> = own.collect::<Result<_>>()?;
    let mut conditions = below.conditions;
    let mut checks = below.checks;
    match view.check_option() {
        Some(CheckOption::Cascaded) => {
            checks.clone_from(&conditions);
            checks.extend(own.iter().cloned());
        }
        Some(CheckOption::Local) => checks.extend(own.iter().cloned()),
        None => {}
    }
    conditions.extend(own);
    let mut defaults = below.defaults;
    for column in &columns {
        if let (Some(default), Ok(place)) = (view.defaults.get(&column.name), &column.place) {
            defaults.insert(*place, default.clone());
        }
    }
    let mut steps = vec![step];
    steps.extend(below.steps);
    let collection = match view.partition {
        Some(_) => Arc::new(below.collection.by_partition(&view.name)),
        None => below.collection,
    };
    Ok(UpdatableView {
        collection,
        columns,
        conditions,
        checks,
        defaults,
        steps,
    })
}
