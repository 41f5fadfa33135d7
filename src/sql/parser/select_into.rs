//! `SELECT .. INTO t ..` is CREATE TABLE t AS the query.

use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{self, Select, SelectInto, SetExpr};

use crate::sql::statement::{CreateCollection, Persistence, Statement};

/// The statement, where it is a query with INTO the one that makes the table.
pub(super) fn table_of_into(statement: Statement) -> Statement {
    let Statement::DataFusion(mut inner) = statement else {
        return statement;
    };
    if let DataFusionStatement::Statement(query) = inner.as_mut()
        && let ast::Statement::Query(query) = query.as_mut()
        && let Some(into) = first_select(&mut query.body).and_then(|select| select.into.take())
    {
        let create = create_of(into, query.clone());
        return Statement::CreateCollection(Box::new(create));
    }
    Statement::DataFusion(inner)
}

/// The first query of set operations has the INTO.
fn first_select(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::SetOperation { left, .. } => first_select(left),
        SetExpr::Query(query) => first_select(&mut query.body),
        _ => None,
    }
}

fn create_of(into: SelectInto, query: Box<ast::Query>) -> CreateCollection {
    let persistence = match (into.temporary, into.unlogged) {
        (true, _) => Persistence::Temporary(None),
        (false, true) => Persistence::Unlogged,
        (false, false) => Persistence::Permanent,
    };
    CreateCollection {
        name: into.name,
        if_not_exists: false,
        persistence,
        columns: Vec::new(),
        checks: Vec::new(),
        unique: Vec::new(),
        foreign_keys: Vec::new(),
        primary_key: Vec::new(),
        clustering_key: Vec::new(),
        partition_key: None,
        options: Vec::new(),
        query: Some(query),
    }
}
