//! Functions that say whether a name finds an object, and whether it can be changed.

use super::{Call, Definition, Gives, Value};
use crate::catalog::pg::context::search_path;
use crate::catalog::pg::fixed::{named_function, named_type, namespace_of};
use crate::catalog::pg::routines::{self, function_of};
use crate::catalog::pg::types::is_visible;
use datafusion::common::Result;

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("pg_table_is_visible", 1..=1, Gives::Bool, table),
    Definition::new("pg_type_is_visible", 1..=1, Gives::Bool, |c| {
        let objects = c.context.objects();
        if let Some(found) = c.oid(0).and_then(|oid| objects.user_type(oid)) {
            return Ok(is_visible(objects, c.config, &found).into());
        }
        Ok(c.oid(0)
            .filter(|oid| named_type(*oid).is_some())
            .map(|oid| in_path(c, oid))
            .into())
    }),
    Definition::new("pg_function_is_visible", 1..=1, Gives::Bool, function),
    Definition::new("pg_operator_is_visible", 1..=1, Gives::Bool, by_oid),
    Definition::new("pg_opclass_is_visible", 1..=1, Gives::Bool, by_oid),
    Definition::new("pg_opfamily_is_visible", 1..=1, Gives::Bool, by_oid),
    Definition::new("pg_collation_is_visible", 1..=1, Gives::Bool, by_oid),
    Definition::new("pg_conversion_is_visible", 1..=1, Gives::Bool, by_oid),
    Definition::new("pg_statistics_obj_is_visible", 1..=1, Gives::Bool, by_oid),
    Definition::new("pg_ts_config_is_visible", 1..=1, Gives::Bool, by_oid),
    Definition::new("pg_ts_dict_is_visible", 1..=1, Gives::Bool, by_oid),
    Definition::new("pg_ts_parser_is_visible", 1..=1, Gives::Bool, by_oid),
    Definition::new("pg_ts_template_is_visible", 1..=1, Gives::Bool, by_oid),
    Definition::new("row_security_active", 1..=1, Gives::Bool, |_| {
        Ok(false.into())
    }),
    Definition::new("pg_relation_is_publishable", 1..=1, Gives::Bool, |c| {
        Ok(c.relation(0)?.map(|r| r.collection().is_some()).into())
    }),
    Definition::new("pg_relation_is_updatable", 2..=2, Gives::Int4, updatable),
    Definition::new("pg_column_is_updatable", 3..=3, Gives::Bool, |c| {
        Ok(c.relation(0)?.map(|r| r.collection().is_some()).into())
    }),
];

fn table(call: &Call<'_>) -> Result<Value> {
    let relation = call.relation(0)?;
    Ok(relation
        .map(|r| call.context.is_visible(call.config, r))
        .into())
}

/// Whether an object of PostgreSQL's or pgvector's lies in a schema of the search path.
fn in_path(call: &Call<'_>, oid: u32) -> bool {
    let objects = call.context.objects();
    let schema = objects.namespace(namespace_of(oid)).unwrap_or_default();
    search_path(call.config).iter().any(|name| name == schema)
}

fn by_oid(call: &Call<'_>) -> Result<Value> {
    Ok(call.oid(0).map(|oid| in_path(call, oid)).into())
}

/// Functions that PostgreSQL does not have lie in `pg_catalog`.
fn function(call: &Call<'_>) -> Result<Value> {
    if let Some(found) = call.oid(0).and_then(|oid| function_of(call.context, oid)) {
        return Ok(routines::is_visible(call.context, call.config, &found).into());
    }
    let visible = |oid| named_function(oid).is_none() || in_path(call, oid);
    Ok(call.oid(0).map(visible).into())
}

/// The bits of INSERT, UPDATE and DELETE, for what can be written.
fn updatable(call: &Call<'_>) -> Result<Value> {
    const ALL: i64 = (1 << 2) | (1 << 3) | (1 << 4);
    let bits = |is_collection| if is_collection { ALL } else { 0 };
    let relation = call.relation(0)?;
    Ok(bits(relation.is_some_and(|r| r.collection().is_some())).into())
}
