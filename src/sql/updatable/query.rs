//! Which queries make a view that rows can be changed by: PostgreSQL's rules, as far as the text says.

use datafusion::sql::sqlparser::ast::{self, GroupByExpr, Query, Select, SetExpr, TableFactor};

/// Why a view that has such a query is not updatable, as PostgreSQL says it; `None` where nothing speaks against it.
pub(super) fn objection(query: &Query) -> Option<&'static str> {
    let body = bare(&query.body);
    let select = match body {
        SetExpr::Select(select) => Some(select.as_ref()),
        _ => None,
    };
    let is_set = matches!(body, SetExpr::SetOperation { .. });
    let has = |is: fn(&Select) -> bool| select.is_some_and(is);
    let rules = [
        (
            has(|select| select.distinct.is_some()),
            "Views containing DISTINCT are not automatically updatable.",
        ),
        (
            has(is_grouped),
            "Views containing GROUP BY are not automatically updatable.",
        ),
        (
            has(|select| select.having.is_some()),
            "Views containing HAVING are not automatically updatable.",
        ),
        (
            is_set,
            "Views containing UNION, INTERSECT, or EXCEPT are not automatically updatable.",
        ),
        (
            query.with.is_some(),
            "Views containing WITH are not automatically updatable.",
        ),
        (
            query.limit_clause.is_some() || query.fetch.is_some(),
            "Views containing LIMIT or OFFSET are not automatically updatable.",
        ),
    ];
    rules
        .into_iter()
        .find(|(holds, _)| *holds)
        .map(|(_, why)| why)
}

/// That a query selects from a relation alone, as it is now.
pub(super) fn selects_from_one(query: &Query) -> bool {
    let SetExpr::Select(select) = bare(&query.body) else {
        return false;
    };
    let [from] = select.from.as_slice() else {
        return false;
    };
    let TableFactor::Table {
        args,
        version,
        sample,
        ..
    } = &from.relation
    else {
        return false;
    };
    from.joins.is_empty() && args.is_none() && version.is_none() && sample.is_none()
}

fn bare(body: &SetExpr) -> &SetExpr {
    match body {
        SetExpr::Query(query) if query.with.is_none() && query.limit_clause.is_none() => {
            bare(&query.body)
        }
        body => body,
    }
}

fn is_grouped(select: &Select) -> bool {
    match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(by, modifiers) => !by.is_empty() || !modifiers.is_empty(),
    }
}

/// The query without an order, which means nothing to what is changed.
pub(super) fn unordered(statement: &mut ast::Statement) {
    if let ast::Statement::Query(query) = statement {
        query.order_by = None;
    }
}
