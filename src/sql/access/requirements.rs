//! What a plan needs: which privileges on which objects, by whose rights. Whatever is not known needs a superuser.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result as DataFusionResult, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{
    Extension, Filter, LogicalPlan, Projection, Statement, SubqueryAlias, TableScan,
};
use datafusion::prelude::Expr;

use super::view::{ViewNode, as_view};
use crate::catalog::changes::ChangesTable;
use crate::catalog::computed::Computed;
use crate::catalog::dml::{ChangedRowsNode, ConflictNode, DmlNode, Operation, WithNode};
use crate::catalog::pg::SequenceTable;
use crate::catalog::public::is_public;
use crate::catalog::table::{CollectionTable, ROW_COLUMN, SEGMENT_COLUMN};
use crate::error::{Error, Result, sqlstate};
use crate::sql::command::CommandNode;
use crate::sql::dml::is_stored_column;
use crate::sql::explain::ExplainNode;
use crate::storage::access::{Object, Privilege, Rights};
use crate::storage::change::QualifiedName;
use crate::storage::role::RoleId;
use crate::storage::schema::CollectionId;
use crate::storage::snapshot::Snapshot;

/// The node of COPY .. TO: its query is checked like any other, and its file was when the statement was planned.
const COPY_OUT: &str = "CopyOut";

/// One thing that a plan needs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    /// By whose rights; `None` for those of the current user.
    by: Option<RoleId>,
    need: Need,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    /// A privilege on an object of that name.
    Privilege(Object, Privilege, String),
    /// To be a superuser, for what the text says.
    Superuser(String),
    /// That a materialized view of that name has its rows.
    Populated(CollectionId, String),
}

/// What a plan needs. It can be kept with the plan, and checked whenever that is executed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements(Vec<Requirement>);

impl Requirements {
    /// What the plan needs, as it was made from SQL: before views and subqueries dissolve in the optimiser.
    ///
    /// # Errors
    /// Those of walking the plan.
    pub fn of(plan: &LogicalPlan) -> Result<Self> {
        let mut found = Self::default();
        found.visit(plan, None, None)?;
        Ok(found)
    }

    /// That the user may do all of it.
    ///
    /// # Errors
    /// 42501 naming the first thing that it may not.
    pub fn check(&self, snapshot: &Snapshot, user: RoleId) -> Result<()> {
        let is_superuser = Rights::new(snapshot, user).is_superuser();
        for requirement in &self.0 {
            if is_superuser
                && requirement.by.is_none()
                && !matches!(requirement.need, Need::Populated(..))
            {
                continue;
            }
            let rights = Rights::new(snapshot, requirement.by.unwrap_or(user));
            match &requirement.need {
                Need::Privilege(object, privilege, name) => {
                    require(&rights, object, *privilege, name)?;
                }
                Need::Populated(id, name) => check_populated(snapshot, *id, name)?,
                Need::Superuser(_) if rights.is_superuser() => {}
                Need::Superuser(what) => {
                    return Err(Error::denied(format!("must be superuser to {what}")));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, by: Option<RoleId>, need: Need) {
        let requirement = Requirement { by, need };
        if !self.0.contains(&requirement) {
            self.0.push(requirement);
        }
    }

    fn relation(
        &mut self,
        by: Option<RoleId>,
        object: Object,
        privilege: Privilege,
        name: &QualifiedName,
    ) {
        // The names in a view were found when it was made: whoever may use it need not see where they are.
        if by.is_none() {
            let schema = Object::Schema(name.schema.clone());
            self.add(
                by,
                Need::Privilege(schema, Privilege::Usage, name.schema.clone()),
            );
        }
        self.add(by, Need::Privilege(object, privilege, name.name.clone()));
    }

    fn superuser(&mut self, by: Option<RoleId>, what: impl Into<String>) {
        self.add(by, Need::Superuser(what.into()));
    }

    /// Walks a plan. Every kind of node is named: one that DataFusion adds does not compile until it is thought about.
    fn visit(
        &mut self,
        plan: &LogicalPlan,
        by: Option<RoleId>,
        changed: Option<&Changed>,
    ) -> DataFusionResult<()> {
        let mut below = by;
        match plan {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::DescribeTable(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::RecursiveQuery(_) => {}
            LogicalPlan::SubqueryAlias(alias) => {
                if changed.is_some_and(|c| c.is_target(alias)) {
                    return self.visit_target(alias, by);
                }
            }
            LogicalPlan::TableScan(scan) => self.scan(scan, by),
            LogicalPlan::Extension(extension) => match as_view(plan) {
                Some(view) => {
                    if !view.is_part {
                        self.view(view, by);
                    }
                    below = match view.is_call {
                        true => view.owner,
                        false => view.owner.or(by),
                    };
                }
                None => {
                    if let Some(changed) = self.extension(extension, by)? {
                        return self.visit_below(plan, by, Some(&changed));
                    }
                }
            },
            LogicalPlan::Statement(
                Statement::Prepare(_) | Statement::Execute(_) | Statement::Deallocate(_),
            ) => {}
            LogicalPlan::Statement(
                Statement::TransactionStart(_)
                | Statement::TransactionEnd(_)
                | Statement::SetVariable(_)
                | Statement::ResetVariable(_),
            ) => self.superuser(by, "run this statement"),
            LogicalPlan::Dml(_) => self.superuser(by, "change tables of DataFusion"),
            LogicalPlan::Ddl(_) => self.superuser(by, "define tables of DataFusion"),
            // The path was checked when the statement was planned.
            LogicalPlan::Copy(_) => self.superuser(by, "COPY to a file"),
        }
        self.visit_below(plan, below, changed)
    }

    fn visit_below(
        &mut self,
        plan: &LogicalPlan,
        by: Option<RoleId>,
        changed: Option<&Changed>,
    ) -> DataFusionResult<()> {
        for input in plan.inputs() {
            self.visit(input, by, changed)?;
        }
        plan.apply_subqueries(|subquery| {
            self.visit(subquery, by, changed)?;
            Ok(TreeNodeRecursion::Jump)
        })?;
        Ok(())
    }

    /// What is looked at to find the rows of a view that change; of a collection it is nothing.
    fn visit_target(&mut self, alias: &SubqueryAlias, by: Option<RoleId>) -> DataFusionResult<()> {
        let mut below = alias.input.as_ref();
        while let Some(input) = below_target(below) {
            below.apply_subqueries(|subquery| {
                self.visit(subquery, by, None)?;
                Ok(TreeNodeRecursion::Jump)
            })?;
            below = input;
        }
        Ok(())
    }

    fn view(&mut self, view: &ViewNode, by: Option<RoleId>) {
        let object = Object::View(view.name.clone());
        self.relation(by, object, Privilege::Select, &view.name);
    }

    fn scan(&mut self, scan: &TableScan, by: Option<RoleId>) {
        let Ok(provider) = source_as_provider(&scan.source) else {
            return self.superuser(by, format!("read \"{}\"", scan.table_name));
        };
        if let Some(Computed(table)) = provider.downcast_ref::<Computed<SequenceTable>>() {
            let object = Object::Sequence(table.id());
            return self.relation(by, object, Privilege::Select, table.name());
        }
        let table = provider.downcast_ref::<CollectionTable>();
        let changes = provider.downcast_ref::<ChangesTable>();
        let table = table.map(CollectionTable::collection);
        match table.or(changes.map(ChangesTable::collection)) {
            Some(collection) => {
                let object = Object::Collection(collection.id);
                self.relation(by, object, Privilege::Select, &collection.name);
                if collection.materialized.is_some() {
                    let name = collection.name.name.clone();
                    self.add(by, Need::Populated(collection.id, name));
                }
            }
            None if is_public(provider.as_ref()) => {}
            None => self.superuser(by, format!("read \"{}\"", scan.table_name)),
        }
    }

    /// A privilege on what a statement changes: on the collection, or on each view on the way to it.
    fn change(&mut self, dml: &DmlNode, by: Option<RoleId>, privilege: Privilege) {
        let mut by = by;
        for step in &dml.views().steps {
            let object = Object::View(step.name.clone());
            self.relation(by, object, privilege, &step.name);
            by = step.owner.or(by);
        }
        let collection = dml.collection();
        let object = Object::Collection(collection.id);
        self.relation(by, object, privilege, &collection.name);
    }

    /// What a node of ours needs; for UPDATE and DELETE also what they change.
    fn extension(
        &mut self,
        extension: &Extension,
        by: Option<RoleId>,
    ) -> DataFusionResult<Option<Changed>> {
        let node = extension.node.as_any();
        if node.is::<CommandNode>() {
            return Ok(None); // A command asks for what it needs when it acts.
        }
        if node.is::<ExplainNode>() {
            return Ok(None); // Like the statement that it explains.
        }
        if node.is::<WithNode>() {
            return Ok(None); // Its parts need what they need.
        }
        if node.is::<ChangedRowsNode>() {
            return Ok(None); // A part of the statement above it.
        }
        if node.is::<ConflictNode>() {
            return Ok(None); // So is this.
        }
        if extension.node.name() == COPY_OUT {
            return Ok(None);
        }
        let Some(dml) = node.downcast_ref::<DmlNode>() else {
            self.superuser(by, format!("run {}", extension.node.name()));
            return Ok(None);
        };
        for privilege in privileges(dml.operation()) {
            self.change(dml, by, privilege);
        }
        let returns = match dml.views() {
            views if views.steps.is_empty() => dml.returns_stored(),
            views => views.returns_columns,
        };
        if returns || names_key(dml.query()) {
            self.change(dml, by, Privilege::Select);
        }
        // MERGE scans the rows that it changes like any others: it reads them to join.
        if matches!(dml.operation(), Operation::Insert | Operation::Merge(_)) {
            return Ok(None);
        }
        let query = dml.query();
        let Some(changed) = Changed::of(dml, query) else {
            self.change(dml, by, Privilege::Select);
            return Ok(None);
        };
        if changed.is_read_by(query)? {
            self.change(dml, by, Privilege::Select);
        }
        Ok(Some(changed))
    }
}

/// That a materialized view may be read.
///
/// # Errors
/// 55000 until it has its rows.
fn check_populated(snapshot: &Snapshot, id: CollectionId, name: &str) -> Result<()> {
    let found = snapshot.collection_by_id(id);
    if found.is_none_or(|found| found.is_populated()) {
        return Ok(());
    }
    let message = format!("materialized view \"{name}\" has not been populated");
    Err(
        Error::invalid(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .with_hint("Use the REFRESH MATERIALIZED VIEW command."),
    )
}

/// Whether ON CONFLICT names a key, which is to read it.
fn names_key(query: &LogicalPlan) -> bool {
    let conflict = match query {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<ConflictNode>(),
        _ => None,
    };
    match conflict {
        Some(conflict) => conflict.names_key(),
        None => query.inputs().into_iter().any(names_key),
    }
}

/// What is below a node between the name of what a statement changes and the scan of it.
fn below_target(plan: &LogicalPlan) -> Option<&LogicalPlan> {
    match plan {
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. })
        | LogicalPlan::Filter(Filter { input, .. })
        | LogicalPlan::Projection(Projection { input, .. }) => Some(input),
        _ => None,
    }
}

/// What an operation needs on the collection that it changes.
fn privileges(operation: Operation) -> Vec<Privilege> {
    match operation {
        Operation::Insert => vec![Privilege::Insert],
        Operation::Update => vec![Privilege::Update],
        Operation::Delete => vec![Privilege::Delete],
        Operation::Merge(merge) => {
            let all = [
                (merge.inserts, Privilege::Insert),
                (merge.updates, Privilege::Update),
                (merge.deletes, Privilege::Delete),
            ];
            let needed = all.into_iter().filter(|(does, _)| *does);
            needed.map(|(_, privilege)| privilege).collect()
        }
    }
}

/// That the role has a privilege on an object of that name.
///
/// # Errors
/// 42501.
pub fn require(
    rights: &Rights<'_>,
    object: &Object,
    privilege: Privilege,
    name: &str,
) -> Result<()> {
    if rights.may(object, privilege) {
        return Ok(());
    }
    Err(Error::denied(format!(
        "permission denied for {} {name}",
        object.kind()
    )))
}

/// The collection that UPDATE or DELETE changes, as their query scans it for the addresses of its rows. To scan it
/// needs no privilege: to look at its columns does.
struct Changed {
    collection: CollectionId,
    alias: TableReference,
    /// Whether the statement names a view.
    is_view: bool,
}

impl Changed {
    /// The first column of the query is the address of the changed collection's rows, and tells its alias.
    fn of(dml: &DmlNode, query: &LogicalPlan) -> Option<Self> {
        let LogicalPlan::Projection(projection) = query else {
            return None;
        };
        let Some(Expr::Column(address)) = projection.expr.first().map(unaliased) else {
            return None;
        };
        Some(Self {
            collection: dml.collection().id,
            alias: address.relation.clone()?,
            is_view: !dml.views().steps.is_empty(),
        })
    }

    fn is_target(&self, alias: &SubqueryAlias) -> bool {
        // A collection whose rows expire is a filter above a scan, which its own alias is above; a view is more of them.
        let mut below = alias.input.as_ref();
        while let Some(input) = below_target(below) {
            below = input;
        }
        let LogicalPlan::TableScan(scan) = below else {
            return false;
        };
        let provider = source_as_provider(&scan.source).ok();
        let table = provider
            .as_ref()
            .and_then(|p| p.downcast_ref::<CollectionTable>());
        alias.alias == self.alias
            && scan.filters.is_empty()
            && table.is_some_and(|t| t.collection().id == self.collection)
            && provider.is_some_and(|p| p.schema().column_with_name(ROW_COLUMN).is_some())
    }

    /// Whether the statement looks at a column: in WHERE, in a join, or in a new value. A column that UPDATE leaves as
    /// it is was not named by the user.
    fn is_read_by(&self, query: &LogicalPlan) -> DataFusionResult<bool> {
        let mut is_read = false;
        query.apply_with_subqueries(|plan| {
            let is_top = std::ptr::eq(plan, query);
            for expr in plan.expressions() {
                is_read |= !(is_top && self.keeps(&expr)) && self.reads(&expr)?;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(is_read)
    }

    /// Whether the new value of a column is the one it has.
    fn keeps(&self, expr: &Expr) -> bool {
        match (expr, unaliased(expr)) {
            (Expr::Alias(alias), Expr::Column(column)) => {
                self.is_own(&column.relation) && alias.name == column.name
            }
            _ => false,
        }
    }

    fn reads(&self, expr: &Expr) -> DataFusionResult<bool> {
        expr.exists(|e| {
            Ok(match e {
                Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => {
                    let is_address = [SEGMENT_COLUMN, ROW_COLUMN].contains(&column.name.as_str());
                    let is_kept = self.is_view && is_stored_column(&column.name);
                    self.is_own(&column.relation) && !is_address && !is_kept
                }
                _ => false,
            })
        })
    }

    fn is_own(&self, relation: &Option<TableReference>) -> bool {
        relation.as_ref() == Some(&self.alias)
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
