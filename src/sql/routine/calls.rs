//! The calls of functions in a statement: found by their names, each given a name of its own by which it is planned.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    TableFactor, VisitorMut,
};

use super::body::{self, Around, Environment, Planned};
use super::find::named;
use crate::catalog::options::PinnedSnapshot;
use crate::catalog::pg::PgContext;
use crate::catalog::pg::coercion::has_function;
use crate::catalog::search_path;
use crate::error::{Error, Result, sqlstate};
use crate::sql::ddl::qualified_parts;
use crate::sql::mend::{last_part, or_break};
use crate::sql::parser::fold;
use crate::sql::walk;
use crate::storage::function::Function;
use crate::storage::role::RoleId;
use crate::storage::snapshot::Snapshot;

/// The schema that calls in FROM get, so that they are known for what they are.
pub(in crate::sql) const USER_FUNCTION: &str = "user function";

/// A call with the functions that it may mean.
#[derive(Debug)]
pub(super) struct CallSite {
    /// The function's name as the statement has it.
    pub name: String,
    /// For each argument, the name of the parameter that it is for, if it has one.
    pub names: Vec<Option<String>>,
    /// What may be called.
    pub candidates: Vec<Planned>,
    /// The version that they are of.
    pub snapshot: Arc<Snapshot>,
    /// Who calls; `None` where nobody asks for rights.
    pub user: Option<RoleId>,
}

/// The calls of a statement by the names that they were given.
#[derive(Debug, Clone, Default)]
pub(in crate::sql) struct Calls(HashMap<String, Arc<CallSite>>);

impl Calls {
    /// The call of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<CallSite>> {
        self.0.get(name)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Finds the calls of functions that users made, names them, and plans what they may mean.
///
/// # Errors
/// Whatever is wrong with a function by now; 54001 for one that calls itself.
pub(in crate::sql) async fn find_calls(
    state: &SessionState,
    types: &Arc<dyn TypePlanner>,
    statement: &mut ast::Statement,
) -> Result<Calls> {
    let Some(pinned) = state.config().get_extension::<PinnedSnapshot>() else {
        return Ok(Calls::default());
    };
    let snapshot = Arc::clone(&pinned.0);
    if snapshot.functions().next().is_none() {
        return Ok(Calls::default());
    }
    let mut finder = Finder {
        state,
        path: path_of(state),
        snapshot: Arc::clone(&snapshot),
        found: Vec::new(),
    };
    walk::change(statement, &mut finder)?;
    let around = Around::current();
    let context = state.config_options().extensions.get::<PgContext>();
    let user = around
        .rights
        .or_else(|| context.map(|context| context.user.current()));
    let environment = Environment {
        state,
        types,
        snapshot: &snapshot,
    };
    let mut calls = HashMap::new();
    for (place, found) in finder.found.into_iter().enumerate() {
        let mut candidates = Vec::with_capacity(found.functions.len());
        for function in &found.functions {
            let apart = found.takes_columns.then_some(place);
            candidates.push(body::plan(&environment, &around, function, apart).await?);
        }
        let site = CallSite {
            name: found.name,
            names: found.names,
            candidates,
            snapshot: Arc::clone(&snapshot),
            user,
        };
        calls.insert(found.marker, Arc::new(site));
    }
    Ok(Calls(calls))
}

/// The schemas in which the statement's names are looked up.
fn path_of(state: &SessionState) -> Vec<String> {
    let path = &state.config_options().catalog.default_schema;
    search_path::split(path).unwrap_or_else(|| vec![path.clone()])
}

/// A call before its functions are planned.
struct Found {
    marker: String,
    name: String,
    names: Vec<Option<String>>,
    functions: Vec<Arc<Function>>,
    takes_columns: bool,
}

struct Finder<'a> {
    state: &'a SessionState,
    path: Vec<String>,
    snapshot: Arc<Snapshot>,
    found: Vec<Found>,
}

impl Finder<'_> {
    /// The functions that users made under the name, unless it is that of one of PostgreSQL's: these come first.
    fn functions(&self, name: &ObjectName) -> Vec<Arc<Function>> {
        let Ok((schema, last)) = qualified_parts(name) else {
            return Vec::new();
        };
        let is_built_in = schema.is_none()
            && has_function(&last)
            && (self.state.scalar_functions().contains_key(&last)
                || self.state.aggregate_functions().contains_key(&last)
                || self.state.window_functions().contains_key(&last));
        if is_built_in {
            return Vec::new();
        }
        named(&self.snapshot, &self.path, name).unwrap_or_default()
    }

    /// Notes a call, whose arguments lose their names, and gives the name for it.
    ///
    /// # Errors
    /// 42601 for an argument without a name behind one with a name.
    fn note(&mut self, name: &ObjectName, args: &mut [FunctionArg]) -> Result<Option<String>> {
        let functions = self.functions(name);
        if functions.is_empty() {
            return Ok(None);
        }
        let names = take_names(args)?;
        let written = last_part(name).map(fold).unwrap_or_default();
        let is_free = |marker: &String| {
            let taken = self.found.iter().any(|found| found.marker == *marker);
            !taken && !self.state.scalar_functions().contains_key(marker)
        };
        let numbered = (1..).map(|n| format!("{written}#{n}"));
        let mut markers = std::iter::once(written.clone()).chain(numbered);
        let marker = markers.find(is_free).unwrap_or_default();
        self.found.push(Found {
            marker: marker.clone(),
            name: name.to_string(),
            names,
            functions,
            takes_columns: args.iter().any(takes_columns),
        });
        Ok(Some(marker))
    }
}

/// Whether the value of an argument is another for other rows.
fn takes_columns(argument: &FunctionArg) -> bool {
    let found = walk::read_expressions(argument, |expr| match expr {
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::Subquery(_)
        | Expr::Exists { .. }
        | Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// The names of arguments, which are taken from them.
fn take_names(args: &mut [FunctionArg]) -> Result<Vec<Option<String>>> {
    let mut names: Vec<Option<String>> = Vec::with_capacity(args.len());
    for arg in args {
        let name = take_name(arg);
        if name.is_none() && names.iter().any(Option::is_some) {
            let message = "positional argument cannot follow named argument";
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        }
        if let Some(twice) = name
            .as_ref()
            .filter(|name| names.contains(&Some((*name).clone())))
        {
            let message = format!("argument name \"{twice}\" used more than once");
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        }
        names.push(name);
    }
    Ok(names)
}

fn take_name(arg: &mut FunctionArg) -> Option<String> {
    let (name, value) = match arg {
        FunctionArg::Named { name, arg, .. } => (fold(name), arg.clone()),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp {
            left,
            op: BinaryOperator::Assignment,
            right,
        })) => match left.as_ref() {
            Expr::Identifier(name) => (fold(name), FunctionArgExpr::Expr(right.as_ref().clone())),
            _ => return None,
        },
        _ => return None,
    };
    *arg = FunctionArg::Unnamed(value);
    Some(name)
}

impl VisitorMut for Finder<'_> {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Function(function) = expr else {
            return ControlFlow::Continue(());
        };
        let FunctionArguments::List(list) = &mut function.args else {
            return ControlFlow::Continue(());
        };
        let Some(marker) = or_break(self.note(&function.name, &mut list.args))? else {
            return ControlFlow::Continue(());
        };
        if function.over.is_some() {
            let message = format!(
                "OVER specified, but {} is not a window function nor an aggregate function",
                function.name
            );
            let error = Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message);
            return ControlFlow::Break(error);
        }
        function.name = ObjectName::from(vec![Ident::with_quote('"', marker)]);
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let (name, args) = match factor {
            TableFactor::Table {
                name,
                args: Some(args),
                ..
            } => (name.clone(), &mut args.args),
            TableFactor::Function { name, args, .. } => (name.clone(), args),
            _ => return ControlFlow::Continue(()),
        };
        let Some(marker) = or_break(self.note(&name, args))? else {
            return ControlFlow::Continue(());
        };
        let parts = [USER_FUNCTION, marker.as_str()].map(|part| Ident::with_quote('"', part));
        let called = ObjectName::from(parts.to_vec());
        match factor {
            TableFactor::Table {
                alias,
                args,
                with_ordinality,
                ..
            } => {
                *factor = TableFactor::Function {
                    lateral: false,
                    name: called,
                    args: args.take().map(|args| args.args).unwrap_or_default(),
                    with_ordinality: *with_ordinality,
                    alias: alias.take(),
                };
            }
            TableFactor::Function { name, .. } => *name = called,
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
