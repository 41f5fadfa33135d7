//! Spellings of PostgreSQL that DataFusion's planner does not read, made into ones that it does.
//!
//! Each rewrite keeps the meaning of every statement it touches:
//! - `pg_catalog.f(..)`, `OPERATOR(pg_catalog.=)`: functions and operators have no schemas here, so the qualifier that
//!   says "the built-in one" says nothing.
//! - `x COLLATE "default"`, `"C"`, `"POSIX"`: all text is compared by its bytes, as these collations do in a database
//!   of the C locale.
//! - `ARRAY(SELECT x .. ORDER BY y)` is `array_agg(x ORDER BY y)` over the same rows, and an empty array where that
//!   is NULL.
//! - `current_user` and its like without parentheses are the functions: the words are reserved, so they are no columns.
//! - `f(..)` in FROM may use columns of what stands before it, as if it were LATERAL.
//! - `generate_subscripts(a, 1)` gives the places of the array's elements as rows.
//! - `'{1,2}'` beside ANY or ALL, or cast to an array, is the array of that text; so it is beside `polroles`, which is
//!   an array.
//! - `ARRAY[a, b]::vector[]` is `ARRAY[a::vector, b::vector]`.
//! - `LIKE 'a/_' ESCAPE '/'` of a constant pattern is `LIKE 'a\_'`; that of any other calls `like_escape`.
//! - `B'101'` and `X'1F'` are casts of their texts to `"bit"`; `~x` calls `bitnot`.
//! - a number of more digits than any double needs is a NUMERIC.
//! - in a column of VALUES with a bit string or a sparse vector, literals are cast to its type.
//! - `generate_series(..)` in a SELECT list gives rows, as `_pg_expandarray(..)`, `jsonb_each(..)` and their like do.
//! - `coalesce(x, '{}')` calls a function that gives an empty array where `x` is an array, and that text elsewhere.
//! - `a.tableoid` of a system relation is its OID, the same for all its rows; `a.xmin` is the newest transaction, since
//!   which any of them may have changed.
//! - templates of `to_date` and `to_timestamp` become formats of DataFusion's functions.
//! - `t AT TIME ZONE z` calls `timezone(z, t)`; `(a, b) OVERLAPS (c, d)` compares the ends; an interval that DataFusion
//!   reads otherwise is a cast of its text.
//! - `json_agg` and its like are functions over `array_agg`.
//! - `every`, `|/ x`, `||/ x`, `@ x`, `a && b`, `localtimestamp` and `localtime` are DataFusion's
//!   functions of other names.
//! - unnamed columns of queries in FROM and WITH, of views and of
//!   CREATE TABLE AS get PostgreSQL's names.
//! - `FETCH FIRST`, `SIMILAR TO`, `U&'..'`, `SUBSTRING(x FROM 'pattern')`, `array_fill` and `mod` are LIMIT, regular
//!   expressions, plain texts, `array_repeat` and `%`; a literal in ARRAY[..] is cast as the element beside it.
//! - `SELECT oid '5'` is a cast; `(x).a` is a field.
//! - long chains of AND and OR become trees that are flat.
//! - `x::varchar(2)` is that of the first two characters; with ORDER BY, `x::text` is called `x`.
//! - a column that comes twice in a SELECT gets a name of its own, with blanks behind it: a table of DataFusion has no two
//!   of a name.

mod constant;
mod from;
mod gather;
mod moment;
mod names;
mod series;
mod spelling;
mod template;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, TableFactor, UnaryOperator, Value, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;

use self::constant::{
    array_of_literal, bits_of_literal, constant_text, exact_number, mend_escape, share_types,
};
use self::from::call_in_from;
use self::gather::gather;
use self::moment::{at_time_zone, interval_of_text, overlaps};
pub(super) use self::names::name_columns;
use self::names::{
    keep_names, lasting_names, name_common, name_derived, name_sorted_casts, type_series,
};
use self::series::unnest_series;
use self::spelling::{
    cut_text, limit_of_fetch, match_of_substring, regex_of_similar, share_element_type,
    text_of_unicode,
};
use self::template::format_of_template;
use super::complexity::{Expansion, too_complex};
use super::parser::fold;
use super::statement::{CopySubject, Statement};
use super::tokens::DIALECT;
use crate::catalog::pg::functions::{ARRAY_OR_EMPTY, ARRAY_SUBSCRIPTS};
use crate::catalog::pg::system_relation;
use crate::error::Result;

/// Functions that may be written without parentheses.
const BARE: [&str; 3] = ["current_role", "current_schema", "current_catalog"];
/// Schemas of functions and operators that stand before what is built in.
const BUILT_IN: [&str; 2] = ["pg_catalog", "information_schema"];

/// Mends all SQL that a statement holds.
///
/// # Errors
/// 54001 when its CTEs, put where they are named, are too many relations.
pub(super) fn mend_statement(statement: &mut Statement) -> Result<()> {
    match statement {
        Statement::DataFusion(statement) => mend_datafusion(statement),
        Statement::Explain(explain) => mend_statement(&mut explain.statement),
        Statement::CreateView(view) => mend_named(&mut view.query),
        Statement::CreateCollection(create) => create.query.as_mut().map_or(Ok(()), mend_named),
        Statement::Insert(insert) => mend(&mut insert.statement),
        Statement::Update(update) => mend(update.as_mut()),
        Statement::Delete(delete) => mend(delete.as_mut()),
        Statement::Merge(merge) => {
            merge.try_for_each(&mut |part| mend(part), &mut |part| mend(part))
        }
        Statement::Copy(copy) => match &mut copy.subject {
            CopySubject::Query(query) => mend(query),
            CopySubject::Table(..) => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Mends a query whose columns will be known by their names.
fn mend_named(query: &mut Box<Query>) -> Result<()> {
    mend(query)?;
    name_columns(query);
    Ok(())
}

fn mend_datafusion(statement: &mut DataFusionStatement) -> Result<()> {
    match statement {
        DataFusionStatement::Statement(statement) => {
            if let ast::Statement::ShowTables { .. } = statement.as_ref()
                && let Some(query) = shown_tables()
            {
                **statement = ast::Statement::Query(query);
            }
            mend(statement.as_mut())
        }
        DataFusionStatement::Explain(explain) => mend_datafusion(&mut explain.statement),
        _ => Ok(()),
    }
}

/// What SHOW TABLES shows: the tables and views that are not PostgreSQL's own.
fn shown_tables() -> Option<Box<Query>> {
    const SHOWN: &str = "SELECT table_catalog, table_schema, table_name, table_type \
        FROM information_schema.tables \
        WHERE table_schema NOT IN ('information_schema', 'pg_catalog') ORDER BY 2, 3";
    Parser::new(&DIALECT)
        .try_with_sql(SHOWN)
        .ok()?
        .parse_query()
        .ok()
}

/// Mends a part of a statement.
fn mend(node: &mut impl VisitMut) -> Result<()> {
    let mut expansion = Expansion::default();
    if node.visit(&mut expansion).is_break() {
        return Err(too_complex(
            "its common table expressions name each other too often",
        ));
    }
    let mut mender = Mender {
        common: expansion.into_names(),
        scopes: Vec::new(),
        names: Vec::new(),
    };
    let _ = node.visit(&mut mender);
    Ok(())
}

struct Mender {
    common: HashSet<String>,
    /// The system relations of the SELECTs around, innermost last: aliases and OIDs.
    scopes: Vec<HashMap<String, u32>>,
    /// The names of the columns of the SELECTs around, before they are mended.
    names: Vec<Vec<Option<String>>>,
}

impl Mender {
    /// The system relations in FROM.
    fn scope(&self, select: &Select) -> HashMap<String, u32> {
        let joined = |from: &ast::TableWithJoins| {
            let joins = from.joins.iter().map(|join| join.relation.clone());
            std::iter::once(from.relation.clone())
                .chain(joins)
                .collect::<Vec<_>>()
        };
        let factors = select.from.iter().flat_map(joined);
        let known = factors.filter_map(|factor| match factor {
            TableFactor::Table { name, alias, .. } => {
                let parts = name.0.iter().map(|part| part.as_ident());
                let parts: Vec<String> = parts.map(|p| Some(folded(p?))).collect::<Option<_>>()?;
                let relation = match parts.as_slice() {
                    [schema, relation] if schema == "pg_catalog" => relation,
                    [relation] if !self.common.contains(relation) => relation,
                    _ => return None,
                };
                let named = alias.map_or_else(|| relation.clone(), |a| folded(&a.name));
                Some((named, system_relation(relation)?))
            }
            _ => None,
        });
        known.collect()
    }

    /// The OID of the system relation that the alias stands for.
    fn system_alias(&self, alias: &str) -> Option<u32> {
        self.scopes
            .iter()
            .rev()
            .find_map(|scope| scope.get(alias))
            .copied()
    }
}

/// A name as it is compared with others.
fn folded(ident: &Ident) -> String {
    ident.value.to_lowercase()
}

impl VisitorMut for Mender {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        call_in_from(factor);
        type_series(factor);
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        name_derived(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let scope = self.scope(select);
        self.scopes.push(scope);
        self.names.push(lasting_names(select));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.scopes.pop();
        keep_names(select, self.names.pop().unwrap_or_default());
        typed_literals(select);
        unnest_series(select);
        name_twins(select);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let ast::SetExpr::Values(values) = query.body.as_mut() {
            share_types(values);
        }
        limit_of_fetch(query);
        name_common(query);
        name_sorted_casts(query);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => {
                unqualify(&mut function.name);
                if let Some(mended) = mend_call(function) {
                    *expr = mended;
                }
            }
            Expr::Value(value) => {
                text_of_unicode(&mut value.value);
                let typed = bits_of_literal(&value.value).or_else(|| exact_number(&value.value));
                if let Some(typed) = typed {
                    *expr = typed;
                }
            }
            // Behind a name, a dot is that of a longer name.
            Expr::CompoundFieldAccess { root, access_chain } if last_name(root).is_none() => {
                name_fields(access_chain);
            }
            Expr::Array(array) => share_element_type(array),
            Expr::SimilarTo { .. } => {
                if let Some(matches) = regex_of_similar(expr) {
                    *expr = matches;
                }
            }
            Expr::Substring { .. } => {
                if let Some(matched) = match_of_substring(expr) {
                    *expr = matched;
                }
            }
            Expr::Identifier(ident) if ident.quote_style.is_none() => {
                let name = ident.value.to_lowercase();
                if BARE.contains(&name.as_str()) {
                    *expr = call(&name, Vec::new());
                }
            }
            Expr::CompoundIdentifier(names) => {
                if let [table, column] = names.as_slice()
                    && let Some(oid) = self.system_alias(&folded(table))
                {
                    match folded(column).as_str() {
                        "tableoid" => {
                            let number = Expr::value(Value::Number(oid.to_string(), false));
                            *expr = cast(number, "oid");
                        }
                        "xmin" => *expr = cast(call("txid_current", Vec::new()), "xid"),
                        _ => {}
                    }
                }
            }
            Expr::Interval(interval) => {
                if let Some(cast) = interval_of_text(interval) {
                    *expr = cast;
                }
            }
            Expr::AtTimeZone {
                timestamp,
                time_zone,
            } => *expr = at_time_zone(timestamp, time_zone),
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Overlaps,
                right,
            } => {
                if let Some(meets) = overlaps(left, right) {
                    *expr = meets;
                }
            }
            Expr::BinaryOp { left, op, right } => {
                if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                    && let Some(plain) = parts.last().and_then(|name| operator(name))
                {
                    *op = plain;
                }
                if *op == BinaryOperator::PGOverlap {
                    let arrays = vec![(**left).clone(), (**right).clone()];
                    *expr = call("array_has_any", arrays);
                    return ControlFlow::Continue(());
                }
                if matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq)
                    && last_name(left).is_some_and(|n| n.value == "polroles")
                    && let Some(array) = array_of_literal(right)
                {
                    **right = array;
                }
            }
            Expr::UnaryOp { op, expr: inner } => {
                let name = match op {
                    UnaryOperator::PGSquareRoot => "sqrt",
                    UnaryOperator::PGCubeRoot => "cbrt",
                    UnaryOperator::PGAbs => "abs",
                    UnaryOperator::BitwiseNot => "bitnot",
                    _ => return ControlFlow::Continue(()),
                };
                *expr = call(name, vec![(**inner).clone()]);
            }
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
                if let Some(array) = array_of_literal(right) {
                    **right = array;
                }
            }
            Expr::Cast {
                expr: inner,
                data_type: ast::DataType::Array(elements),
                ..
            } => {
                if let Some(array) = array_of_literal(inner) {
                    **inner = array;
                }
                if let Some(array) = array_of_casts(inner, elements) {
                    *expr = array;
                }
            }
            Expr::Cast {
                expr, data_type, ..
            } => cut_text(expr, data_type),
            Expr::Like {
                pattern,
                escape_char,
                ..
            }
            | Expr::ILike {
                pattern,
                escape_char,
                ..
            } => mend_escape(pattern, escape_char),
            Expr::Collate {
                expr: inner,
                collation,
            } if compares_bytes(collation) => {
                let inner = std::mem::replace(inner.as_mut(), Expr::value(Value::Null));
                *expr = inner;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The last part of a column's name.
fn last_name(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(names) => names.last(),
        _ => None,
    }
}

fn cast(expr: Expr, name: &str) -> Expr {
    Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(expr),
        data_type: ast::DataType::Custom(ObjectName::from(vec![Ident::new(name)]), Vec::new()),
        array: false,
        format: None,
    }
}

/// `ARRAY[a, b]::vector[]` as `ARRAY[a::vector, b::vector]`: a list of texts has no cast to a list of such a type.
fn array_of_casts(array: &Expr, elements: &ast::ArrayElemTypeDef) -> Option<Expr> {
    let (Expr::Array(array), ast::ArrayElemTypeDef::SquareBracket(data_type, _)) =
        (array, elements)
    else {
        return None;
    };
    let ast::DataType::Custom(name, modifiers) = data_type.as_ref() else {
        return None;
    };
    let is_nested = array.elem.iter().any(|e| matches!(e, Expr::Array(_)));
    if array.elem.is_empty() || is_nested {
        return None;
    }
    let cast = |element: &Expr| Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(element.clone()),
        data_type: ast::DataType::Custom(name.clone(), modifiers.clone()),
        array: false,
        format: None,
    };
    Some(Expr::Array(ast::Array {
        elem: array.elem.iter().map(cast).collect(),
        named: array.named,
    }))
}

/// Takes away a schema that means what is built in.
fn unqualify(name: &mut ObjectName) {
    if let [
        ObjectNamePart::Identifier(schema),
        ObjectNamePart::Identifier(_),
    ] = name.0.as_slice()
        && BUILT_IN.contains(&schema.value.to_lowercase().as_str())
    {
        name.0.remove(0);
    }
}

fn compares_bytes(collation: &ObjectName) -> bool {
    let last = collation.0.last().and_then(|part| part.as_ident());
    let names = ["default", "c", "posix", "ucs_basic"];
    last.is_some_and(|ident| names.contains(&ident.value.to_lowercase().as_str()))
}

/// The operator of that spelling, of those that clients qualify.
fn operator(spelling: &str) -> Option<BinaryOperator> {
    Some(match spelling {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
}

fn argument(expr: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
}

/// A plain call of a function.
pub(super) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(call_with(name, arguments, Vec::new()))
}

fn call_with(name: &str, arguments: Vec<Expr>, clauses: Vec<FunctionArgumentClause>) -> Function {
    Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(argument).collect(),
            clauses,
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

/// The arguments of a plain call.
fn arguments(function: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let expr = |arg: &FunctionArg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(_)));
    if !list.args.iter().all(expr) {
        return None;
    }
    let inner = list.args.iter().filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    Some(inner.collect())
}

/// The time of now without a zone.
fn local_time(name: &str) -> Option<Expr> {
    let data_type = match name {
        "localtimestamp" => ast::DataType::Timestamp(None, ast::TimezoneInfo::None),
        "localtime" => ast::DataType::Time(None, ast::TimezoneInfo::None),
        _ => return None,
    };
    Some(Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(call("now", Vec::new())),
        data_type,
        array: false,
        format: None,
    })
}

fn mend_call(function: &Function) -> Option<Expr> {
    let name = function.name.0.last()?.as_ident()?.value.to_lowercase();
    match (name.as_str(), &function.args) {
        ("array", FunctionArguments::Subquery(query)) => {
            let mut query = query.clone();
            gather(&mut query)?;
            Some(call(ARRAY_OR_EMPTY, vec![Expr::Subquery(query)]))
        }
        ("coalesce", _) => match arguments(function)?.as_slice() {
            [value, default] if constant_text(default).as_deref() == Some("{}") => {
                Some(call(ARRAY_OR_EMPTY, vec![Expr::clone(value)]))
            }
            _ => None,
        },
        ("localtimestamp" | "localtime", FunctionArguments::None) => local_time(&name),
        ("array_fill", _) => match arguments(function)?.as_slice() {
            [value, Expr::Array(ast::Array { elem, .. })] if elem.len() == 1 => {
                let arguments = vec![Expr::clone(value), elem[0].clone()];
                Some(call("array_repeat", arguments))
            }
            _ => None,
        },
        ("mod", _) => match arguments(function)?.as_slice() {
            [dividend, divisor] => Some(Expr::Nested(Box::new(Expr::BinaryOp {
                left: Box::new(Expr::Nested(Box::new(Expr::clone(dividend)))),
                op: BinaryOperator::Modulo,
                right: Box::new(Expr::Nested(Box::new(Expr::clone(divisor)))),
            }))),
            _ => None,
        },
        ("json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg", _) => {
            gathered_json(function, &name)
        }
        ("vector_avg", _) => match arguments(function)?.as_slice() {
            [state] if is_state(state) => renamed(function, "vector_state_avg"),
            _ => None,
        },
        ("sign", _) => renamed(function, "signum"),
        ("statement_timestamp" | "transaction_timestamp", _) => renamed(function, "now"),
        ("every", _) => renamed(function, "bool_and"),
        ("variance", _) => renamed(function, "var_samp"),
        ("jsonb_contained", _) => match arguments(function)?.as_slice() {
            [inner, outer] => Some(call(
                "jsonb_contains",
                vec![Expr::clone(outer), Expr::clone(inner)],
            )),
            _ => None,
        },
        ("to_date" | "to_timestamp", _) => match arguments(function)?.as_slice() {
            [value, template] => {
                let format = format_of_template(&constant_text(template)?)?;
                let format = Expr::value(Value::SingleQuotedString(format));
                Some(call(&name, vec![Expr::clone(value), format]))
            }
            _ => None,
        },
        ("generate_subscripts", _) => {
            let array = (*arguments(function)?.first()?).clone();
            Some(call("unnest", vec![call(ARRAY_SUBSCRIPTS, vec![array])]))
        }
        _ => None,
    }
}

/// Whether it is the state of an average, by the looks of it: the text of an array, or one that is gathered.
fn is_state(expr: &Expr) -> bool {
    match expr {
        Expr::Function(function) => {
            let last = function.name.0.last().and_then(ObjectNamePart::as_ident);
            last.is_some_and(|name| fold(name) == "array_agg")
        }
        expr => constant_text(expr).is_some(),
    }
}

/// `json_agg(x ORDER BY y)` as `json_agg(array_agg(to_json(x) ORDER BY y))`, where the outer one is no aggregate; the
/// aggregates of objects gather members.
fn gathered_json(function: &Function, name: &str) -> Option<Expr> {
    let element = match (name, arguments(function)?.as_slice()) {
        ("json_agg", [value]) => call("to_json", vec![Expr::clone(value)]),
        ("jsonb_agg", [value]) => call("to_jsonb", vec![Expr::clone(value)]),
        ("json_object_agg" | "jsonb_object_agg", [key, value]) => {
            call("json_member", vec![Expr::clone(key), Expr::clone(value)])
        }
        _ => return None,
    };
    let mut gather = function.clone();
    gather.name = ObjectName::from(vec![Ident::new("array_agg")]);
    if let FunctionArguments::List(list) = &mut gather.args {
        list.args = vec![argument(element)];
    }
    Some(call(name, vec![Expr::Function(gather)]))
}

/// The same call of a function of another name.
fn renamed(function: &Function, name: &str) -> Option<Expr> {
    let mut function = function.clone();
    function.name = ObjectName::from(vec![Ident::new(name)]);
    Some(Expr::Function(function))
}

/// What DataFusion may name an expression by: casts name nothing, and all subqueries are called alike.
fn called(expr: &Expr) -> String {
    struct Plain;
    impl VisitorMut for Plain {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            let plain = match expr {
                Expr::Cast { expr: inner, .. } | Expr::Nested(inner) => inner.as_ref().clone(),
                Expr::TypedString(typed) => Expr::Value(typed.value.clone()),
                Expr::InSubquery { .. } | Expr::Subquery(_) | Expr::Exists { .. } => {
                    call("subquery", Vec::new())
                }
                _ => return ControlFlow::Continue(()),
            };
            *expr = plain;
            ControlFlow::Continue(())
        }
    }
    let mut plain = expr.clone();
    let _ = VisitMut::visit(&mut plain, &mut Plain);
    last_name(&plain).map_or_else(|| plain.to_string(), Ident::to_string)
}

/// `SELECT oid '5'` is a cast: no alias is written like that.
fn typed_literals(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::ExprWithAlias { expr, alias } = item
            && alias.quote_style == Some('\'')
            && let Expr::Identifier(name) = &*expr
            && name.quote_style.is_none()
        {
            let text = Expr::value(Value::SingleQuotedString(std::mem::take(&mut alias.value)));
            *item = SelectItem::UnnamedExpr(cast(text, &name.value));
        }
    }
}

/// The fields of `(x).a` as DataFusion reads them.
fn name_fields(chain: &mut [ast::AccessExpr]) {
    for access in chain {
        if let ast::AccessExpr::Dot(field) = access
            && let Expr::Identifier(name) = &*field
        {
            *field = Expr::value(Value::SingleQuotedString(fold(name)));
        }
    }
}

/// The table whose columns a wildcard is, as it is written; of `*` it is none.
fn wildcard(item: &SelectItem) -> Option<Option<String>> {
    match item {
        SelectItem::Wildcard(_) => Some(None),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(table), _) => {
            Some(Some(table.to_string()))
        }
        _ => None,
    }
}

/// What stands before the name of a column, as it is written.
fn qualifier(column: &Expr) -> Option<String> {
    let Expr::CompoundIdentifier(names) = column else {
        return None;
    };
    let (_, before) = names.split_last()?;
    let before: Vec<String> = before.iter().map(Ident::to_string).collect();
    Some(before.join("."))
}

/// Gives columns that come again names of their own. Casts name nothing: `x::int` is a twin of `x`.
fn name_twins(select: &mut Select) {
    let unnamed = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) => last_name(expr),
        _ => None,
    });
    let mut seen: HashSet<String> = unnamed.map(Ident::to_string).collect();
    // With their tables' names, columns differ.
    let mut columns = HashSet::new();
    let has_one_table = matches!(select.from.as_slice(), [only] if only.joins.is_empty());
    let wildcards: Vec<Option<String>> = select.projection.iter().filter_map(wildcard).collect();
    for item in &mut select.projection {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) if last_name(expr).is_some() => {
                let is_in = |wildcard: &Option<String>| match (wildcard, qualifier(expr)) {
                    (Some(table), Some(of)) => of == *table,
                    (Some(_), None) => has_one_table,
                    (None, _) => true,
                };
                if columns.insert(expr.to_string()) && !wildcards.iter().any(is_in) {
                    continue;
                }
                let name = last_name(expr).map(|name| name.value.clone());
                (expr, name.unwrap_or_default())
            }
            SelectItem::UnnamedExpr(expr) => {
                if seen.insert(called(expr)) {
                    continue;
                }
                let name = expr.to_string();
                (expr, name)
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                if seen.insert(alias.value.clone()) {
                    continue;
                }
                (expr, alias.value.clone())
            }
            _ => continue,
        };
        let mut alias = Ident::with_quote('"', name);
        while !seen.insert(alias.value.clone()) {
            alias.value.push(' ');
        }
        *item = SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias,
        };
    }
}

#[cfg(test)]
mod tests;
