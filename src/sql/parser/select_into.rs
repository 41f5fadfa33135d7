//! `SELECT .. INTO t ..` is CREATE TABLE t AS the query.

use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{self, SelectInto};

use crate::sql::mend::first_select;
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

fn create_of(into: SelectInto, query: Box<ast::Query>) -> CreateCollection {
    let persistence = match (into.temporary, into.unlogged) {
        (true, _) => Persistence::Temporary(None),
        (false, true) => Persistence::Unlogged,
        (false, false) => Persistence::Permanent,
    };
    CreateCollection {
        query: Some(query),
        ..CreateCollection::new(into.name, persistence)
    }
}
