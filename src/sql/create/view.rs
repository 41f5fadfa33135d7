//! CREATE VIEW, and the plans that the names of views stand for.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast;

use crate::catalog::options::PinnedSnapshot;
use crate::catalog::pg::type_name;
use crate::catalog::search_path;
use crate::catalog::table::CollectionTable;
use crate::error::{Error, Result, sqlstate};
use crate::sql::access::view::ViewNode;
use crate::sql::complexity::{check_relations, too_complex};
use crate::sql::context::{statement_to_plan, type_planner_of};
use crate::sql::create::renamed;
use crate::sql::ddl::check_writable;
use crate::sql::mend::{first_select, name_columns};
use crate::sql::parameters::Types;
use crate::sql::parser::{fold, parse_query_as_written};
use crate::sql::session::{Planning, Tag, done};
use crate::sql::stack::with_room;
use crate::sql::statement::{CreateView, Statement};
use crate::sql::type_names::{NamedTypes, TypeNames};
use crate::sql::updatable::{NO_COLUMNS, updatable};
use crate::storage::access::Object;
use crate::storage::change::{Change, QualifiedName, View};
use crate::storage::role::RoleId;
use crate::storage::snapshot::{Snapshot, TEMPORARY_SCHEMA};
use crate::storage::view::{CHECK_OPTION, SECURITY_INVOKER, boolean};

/// CREATE VIEW.
pub(in crate::sql) async fn view(
    planning: &Planning<'_>,
    create: CreateView,
) -> Result<(Tag, LogicalPlan)> {
    let session = planning.session.clone();
    let path = session.search_path();
    let plan = planning.query(create.query.clone()).await?;
    let reads_temporary = reads_temporary(&plan)?;
    let name = match create.temporary || reads_temporary {
        true => path.qualify_temporary(&create.name)?,
        false => path.qualify_new(&create.name)?,
    };
    check_writable(&name.schema)?;
    if reads_temporary && !create.temporary {
        let name = &name.name;
        session.notice(format!("view \"{name}\" will be a temporary view"));
    }
    let columns: Vec<String> = create.columns.iter().map(fold).collect();
    if columns.len() > plan.schema().fields().len() {
        let message = "CREATE VIEW specifies more column names than columns";
        return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
    }
    check_names(&plan, &columns)?;
    if create.or_replace {
        planning.check_replaces(&name, &plan, &columns).await?;
    }
    check_options(&create.options)?;
    let defaults = match planning.snapshot.view(&name) {
        Some(before) => before.defaults.clone(),
        None => BTreeMap::new(),
    };
    let view = View {
        name,
        columns,
        query: create.text.clone(),
        search_path: path.into_schemas(),
        options: create.options,
        defaults,
        partition: None,
    };
    check_updatable(planning, &view).await?;
    let or_replace = create.or_replace;
    done(
        "CREATE VIEW",
        format!("CreateView: {}", view.name),
        move || {
            let (session, view) = (session.clone(), view.clone());
            async move {
                let _ddl = session.inner.core.ddl.lock().await;
                if view.name.schema == TEMPORARY_SCHEMA {
                    session.begin_temporary()?;
                }
                let snapshot = session.snapshot();
                if snapshot.view(&view.name).is_some() && !or_replace {
                    let message = format!("relation \"{}\" already exists", view.name);
                    return Err(Error::exists(sqlstate::DUPLICATE_TABLE, message));
                }
                session.check_creates(&snapshot, &view.name.schema)?;
                let object = Object::View(view.name.clone());
                let owner = match snapshot.view(&view.name) {
                    Some(_) => {
                        session.check_owner(&snapshot, &object, &view.name.name)?;
                        None
                    }
                    None => session.ownership(object),
                };
                let mut changes = vec![Change::CreateView(view)];
                changes.extend(owner);
                session.commit(&snapshot, changes).await
            }
        },
    )
}

/// That no two columns have one name: the first have those that the statement gives, the others those of the query.
///
/// # Errors
/// 42701.
fn check_names(plan: &LogicalPlan, given: &[String]) -> Result<()> {
    let fields = plan.schema().fields().iter().skip(given.len());
    // A column that comes twice has blanks behind its name.
    let names = fields.map(|field| field.name().trim_end_matches(' '));
    let names = given.iter().map(String::as_str).chain(names);
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(Error::exists(sqlstate::DUPLICATE_COLUMN, message));
        }
    }
    Ok(())
}

/// That the options of a view are ones that views have.
///
/// # Errors
/// 22023 for another option or value, and for one that comes twice.
pub(in crate::sql) fn check_options(options: &[(String, String)]) -> Result<()> {
    let invalid = |message: String| Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message);
    for (place, (name, value)) in options.iter().enumerate() {
        match name.as_str() {
            CHECK_OPTION if matches!(value.as_str(), "local" | "cascaded") => {}
            CHECK_OPTION => {
                let message = format!("invalid value for enum option \"{name}\": {value}");
                let detail = "Valid values are \"local\" and \"cascaded\".";
                return Err(invalid(message).with_detail(detail));
            }
            SECURITY_INVOKER | "security_barrier" if boolean(value).is_some() => {}
            SECURITY_INVOKER | "security_barrier" => {
                let message = format!("invalid value for boolean option \"{name}\": {value}");
                return Err(invalid(message));
            }
            _ => return Err(invalid(format!("unrecognized parameter \"{name}\""))),
        }
        if options[..place].iter().any(|(other, _)| other == name) {
            return Err(invalid(format!(
                "parameter \"{name}\" specified more than once"
            )));
        }
    }
    Ok(())
}

/// That new rows can be checked where a view wants that.
///
/// # Errors
/// 0A000 for a view by which no rows are changed.
pub(in crate::sql) async fn check_updatable(planning: &Planning<'_>, view: &View) -> Result<()> {
    if view.check_option().is_none() {
        return Ok(());
    }
    match updatable(&planning.state, &planning.snapshot, view).await? {
        Ok(read) if read.is_updatable() => Ok(()),
        other => {
            let message = "WITH CHECK OPTION is supported only on automatically updatable views";
            let why = other.err().map_or(NO_COLUMNS, |objection| objection.why);
            Err(Error::unsupported(message).with_hint(why))
        }
    }
}

/// Whether a query reads relations of its session alone.
pub(super) fn reads_temporary(plan: &LogicalPlan) -> Result<bool> {
    let mut reads_temporary = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(table) = provider.downcast_ref::<CollectionTable>()
        {
            reads_temporary |= table.collection().is_temporary();
        }
        if let LogicalPlan::Extension(extension) = node
            && let Some(view) = extension.node.as_any().downcast_ref::<ViewNode>()
            && !view.is_call
        {
            reads_temporary |= view.name.schema == TEMPORARY_SCHEMA;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(reads_temporary)
}

impl Planning<'_> {
    /// That a query may stand for a view which is there: its first columns are those of the view.
    ///
    /// # Errors
    /// 42P16 for others, 42809 for another relation, 42501 for who may not.
    async fn check_replaces(
        &self,
        name: &QualifiedName,
        plan: &LogicalPlan,
        columns: &[String],
    ) -> Result<()> {
        let view = self.snapshot.view(name);
        let Some(view) = view.filter(|view| view.partition.is_none()) else {
            if self.snapshot.has_relation(name) {
                let message = format!("\"{}\" is not a view", name.name);
                return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
            }
            return Ok(());
        };
        // Who may not replace it is told nothing of its columns.
        self.session.check_creates(&self.snapshot, &name.schema)?;
        let object = Object::View(name.clone());
        self.session
            .check_owner(&self.snapshot, &object, &name.name)?;
        // A star is the columns of today: those of the day when the view was made nobody knows.
        if has_star(&view.query)? {
            return Ok(());
        }
        // One that has lost a table or a column is replaced by anything.
        let Ok(before) = self.query(all_of(name)?).await else {
            return Ok(());
        };
        let after = plan.schema().fields().iter().enumerate();
        let after: Vec<(&str, String)> = after
            .map(|(at, field)| {
                let name = columns
                    .get(at)
                    .map_or(field.name().as_str(), String::as_str);
                (name, type_name(field))
            })
            .collect();
        let before = before.schema().fields().iter();
        let before: Vec<(&str, String)> = before
            .map(|field| (field.name().as_str(), type_name(field)))
            .collect();
        check_columns(&before, &after)
    }
}

/// The query for all of a relation.
pub(in crate::sql) fn all_of(name: &QualifiedName) -> Result<Box<ast::Query>> {
    let quoted = |part: &str| ast::Ident::with_quote('"', part);
    let (schema, name) = (quoted(&name.schema), quoted(&name.name));
    parse_query_as_written(&format!("SELECT * FROM {schema}.{name}"))
}

/// Whether all columns of a relation are columns of a query.
fn has_star(query: &str) -> Result<bool> {
    let mut query = parse_query_as_written(query)?;
    let is_star = |item: &ast::SelectItem| {
        use ast::SelectItem::{QualifiedWildcard, Wildcard};
        matches!(item, Wildcard(..) | QualifiedWildcard(..))
    };
    let select = first_select(&mut query.body);
    Ok(select.is_some_and(|select| select.projection.iter().any(is_star)))
}

/// That columns, by their names and types, begin with others.
fn check_columns(before: &[(&str, String)], after: &[(&str, String)]) -> Result<()> {
    let refused = |message: String| Error::invalid(sqlstate::INVALID_TABLE_DEFINITION, message);
    if after.len() < before.len() {
        return Err(refused("cannot drop columns from view".to_string()));
    }
    for ((old, old_type), (new, new_type)) in before.iter().zip(after) {
        if old != new {
            let message = format!("cannot change name of view column \"{old}\" to \"{new}\"");
            let hint =
                "Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead.";
            return Err(refused(message).with_hint(hint));
        }
        if old_type != new_type {
            return Err(refused(format!(
                "cannot change data type of view column \"{old}\" from {old_type} to {new_type}"
            )));
        }
    }
    Ok(())
}

/// How many views may stand in each other.
const VIEW_NESTING_MAX: usize = 32;

tokio::task_local! {
    /// How many views are around the one that is planned.
    static VIEWS_AROUND: usize;
}

/// Whether what is planned stands in a view.
pub(in crate::sql) fn is_in_view() -> bool {
    VIEWS_AROUND.try_with(|around| *around > 0).unwrap_or(false)
}

/// The plan that a view's name stands for.
///
/// # Errors
/// 54001 for views that nest too deeply or are too many relations, or whatever is wrong with the query by now: a column
/// it names may be gone.
pub(crate) async fn plan_view(
    state: &SessionState,
    snapshot: Arc<Snapshot>,
    view: &View,
    owner: RoleId,
) -> Result<LogicalPlan> {
    let around = VIEWS_AROUND.try_with(|around| *around).unwrap_or(0);
    if around == VIEW_NESTING_MAX {
        return Err(too_complex("views nest too deeply"));
    }
    let planned = VIEWS_AROUND.scope(around + 1, plan_view_query(state, snapshot, view, owner));
    let plan = with_room(planned).await?;
    check_relations(&plan)?;
    Ok(plan)
}

async fn plan_view_query(
    state: &SessionState,
    snapshot: Arc<Snapshot>,
    view: &View,
    owner: RoleId,
) -> Result<LogicalPlan> {
    let owner = match &view.partition {
        Some(partition) => snapshot.access(&Object::Collection(partition.parent)).owner,
        None => owner,
    };
    let plan = plan_query_of(state, snapshot, view, query_of(view)?).await?;
    let owner = (!view.is_invoker()).then_some(owner);
    let marked = |plan| ViewNode::plan(view.name.clone(), owner, plan);
    if view.columns.is_empty() {
        return Ok(marked(plan));
    }
    Ok(marked(renamed(plan, &view.columns)?))
}

/// The plan of a query with the names that the view's has.
pub(in crate::sql) async fn plan_query_of(
    state: &SessionState,
    snapshot: Arc<Snapshot>,
    view: &View,
    query: ast::Statement,
) -> Result<LogicalPlan> {
    let mut state = state_of(state, view);
    let pinned = PinnedSnapshot(Arc::clone(&snapshot));
    state.config_mut().set_extension(Arc::new(pinned));
    let types = types_of(&state, snapshot, view);
    Ok(statement_to_plan(&state, &types, query, &Types::default(), &[]).await?)
}

/// The query of a view.
pub(in crate::sql) fn query_of(view: &View) -> Result<ast::Statement> {
    let statement = crate::sql::parser::parse(&view.query)?;
    let not_a_query = || Error::internal(format!("view \"{}\" is not a query", view.name));
    let Statement::DataFusion(statement) = statement else {
        return Err(not_a_query());
    };
    let DataFusionStatement::Statement(mut statement) = *statement else {
        return Err(not_a_query());
    };
    match statement.as_mut() {
        ast::Statement::Query(query) => name_columns(query),
        _ => return Err(not_a_query()),
    }
    Ok(*statement)
}

/// Names mean what they meant when the view was made, whoever asks: its rights are those of its owner.
fn state_of(state: &SessionState, view: &View) -> Box<SessionState> {
    let mut state = Box::new(state.clone());
    let catalog = &mut state.config_mut().options_mut().catalog;
    let path = search_path::join(view.search_path.iter().cloned());
    catalog.default_schema = match view.name.schema == TEMPORARY_SCHEMA {
        true => path,
        false => search_path::without_temporary(path),
    };
    state
}

/// Names of types too, as for those of relations.
fn types_of(state: &SessionState, snapshot: Arc<Snapshot>, view: &View) -> Arc<dyn TypePlanner> {
    Arc::new(NamedTypes {
        names: TypeNames::new(snapshot, view.search_path.clone()),
        inner: type_planner_of(state),
    })
}
