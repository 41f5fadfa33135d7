//! The names that PostgreSQL gives to columns of a query that have none: `count`, `?column?`, `int4`.
//!
//! Clients look values up by them. DataFusion's names say the whole expression; within a plan they stay, because there
//! they must differ from each other.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{self, Expr, Query, SelectItem, SetExpr, TrimWhereField};

use super::functions::{ROUND_SECONDS, SUBSTRING_SIMILAR};
use super::mend::CUT_TEXT;
use super::origins::{Origin, casts, origins, with_casts, with_origins};
use super::parser::fold;
use super::statement::Statement;
use crate::catalog::pg::functions::ARRAY_OR_EMPTY;
use crate::catalog::pg_type::{info, type_of};
use crate::storage::enum_type::{EnumType, is_enum};

/// What PostgreSQL names what it cannot name.
const NAMELESS: &str = "?column?";

/// The names of a statement's columns, as far as they are not those of its plan.
#[derive(Debug, Clone, Default)]
pub(super) struct OutputNames {
    /// Of the first columns, up to a wildcard.
    first: Vec<Option<Name>>,
    /// Of the last ones, behind the last wildcard.
    last: Vec<Option<Name>>,
    /// Which columns of relations they are.
    origins: Vec<Option<Origin>>,
    /// Which of them are casts to NUMERIC.
    casts: Vec<bool>,
}

/// A name, and whether a cast around it keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Strong(String),
    Weak(String),
    /// That of the column's type.
    OfType,
    None,
}

impl OutputNames {
    /// The names of the columns of a query or of RETURNING; nothing for other statements.
    pub fn of(statement: &Statement) -> Self {
        match statement {
            Statement::DataFusion(statement) => match statement.as_ref() {
                DataFusionStatement::Statement(statement) => match statement.as_ref() {
                    ast::Statement::Query(query) => Self::of_query(query),
                    _ => Self::default(),
                },
                _ => Self::default(),
            },
            Statement::Insert(insert) => Self::of_returning(insert.statement.returning.as_deref()),
            Statement::Update(update) => Self::of_returning(update.returning.as_deref()),
            Statement::Delete(delete) => Self::of_returning(delete.returning.as_deref()),
            Statement::With(with) => Self::of(&with.main),
            _ => Self::default(),
        }
    }

    /// The names of the columns of a query.
    pub fn of_query(query: &Query) -> Self {
        projection(&query.body).map_or_else(Self::default, Self::of_items)
    }

    fn of_returning(items: Option<&[SelectItem]>) -> Self {
        items.map_or_else(Self::default, Self::of_items)
    }

    fn of_items(items: &[SelectItem]) -> Self {
        let is_wildcard = |item: &SelectItem| {
            matches!(
                item,
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
            )
        };
        let names = |items: &[SelectItem]| items.iter().map(name_of_item).collect();
        match items.iter().position(is_wildcard) {
            None => Self {
                first: names(items),
                ..Self::default()
            },
            Some(wildcard) => {
                let last = items.iter().rposition(is_wildcard).unwrap_or(wildcard);
                Self {
                    first: names(&items[..wildcard]),
                    last: names(&items[last + 1..]),
                    ..Self::default()
                }
            }
        }
    }

    /// The same, of the columns of a plan that are those of relations.
    pub fn with_origins(self, plan: &LogicalPlan) -> Self {
        Self {
            origins: origins(plan),
            casts: casts(plan),
            ..self
        }
    }

    /// The columns with these names, and with what they are.
    pub fn apply(&self, schema: &SchemaRef) -> SchemaRef {
        with_origins(&with_casts(&self.named(schema), &self.casts), &self.origins)
    }

    fn named(&self, schema: &SchemaRef) -> SchemaRef {
        let count = schema.fields().len();
        let names_fit = count >= self.first.len() + self.last.len();
        let has_names = names_fit && self.first.iter().chain(&self.last).any(Option::is_some);
        let is_twin = |at| twin_name(schema, at).is_some();
        if !has_names && !(0..count).any(is_twin) {
            return Arc::clone(schema);
        }
        let name = |at: usize| {
            let from_last = count.checked_sub(self.last.len())?;
            match self.first.get(at).filter(|_| names_fit) {
                Some(name) => name.as_ref(),
                None => self.last.get(at.checked_sub(from_last)?)?.as_ref(),
            }
        };
        let fields = schema.fields().iter().enumerate();
        let fields: Vec<Arc<Field>> = fields
            .map(|(at, field)| {
                let given = name(at).filter(|_| has_names).map(|name| name.text(field));
                match given.or_else(|| twin_name(schema, at)) {
                    Some(name) => Arc::new(Field::clone(field).with_name(name)),
                    None => Arc::clone(field),
                }
            })
            .collect();
        Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
    }
}

/// The name of an enum without its schema; of an array that of its elements.
fn enum_name(field: &Field) -> String {
    let of = EnumType::of_field(field).or_else(|| EnumType::of_list(field));
    of.map_or_else(|| NAMELESS.to_string(), |of| of.name.name)
}

impl Name {
    fn text(&self, field: &Field) -> String {
        match self {
            Self::Strong(name) | Self::Weak(name) => name.clone(),
            // Of an array that of its elements.
            Self::OfType if is_enum(field) => enum_name(field),
            Self::OfType => info(type_of(field).oid)
                .map_or(NAMELESS, |t| t.name)
                .to_string(),
            Self::None => NAMELESS.to_string(),
        }
    }

    fn of_cast(self) -> Self {
        match self {
            Self::Strong(_) => self,
            _ => Self::OfType,
        }
    }
}

/// The name of a column of a function in FROM without the blanks that tell it from one before it of the same name;
/// `None` for other columns.
fn twin_name(schema: &Schema, at: usize) -> Option<String> {
    let name = schema.field(at).name();
    let plain = name.trim_end_matches(' ');
    let is_twin = plain.len() < name.len()
        && schema.fields()[..at]
            .iter()
            .any(|before| before.name() == plain);
    is_twin.then(|| plain.to_string())
}

/// What is selected; of set operations, by the first query.
fn projection(body: &SetExpr) -> Option<&[SelectItem]> {
    match body {
        SetExpr::Select(select) => Some(&select.projection),
        SetExpr::SetOperation { left, .. } => projection(left),
        SetExpr::Query(query) => projection(&query.body),
        _ => None,
    }
}

fn first_argument(function: &ast::Function) -> Option<&Expr> {
    let ast::FunctionArguments::List(list) = &function.args else {
        return None;
    };
    match list.args.first()? {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(first)) => Some(first),
        _ => None,
    }
}

/// The name of a column that has none of its own.
fn name_of_item(item: &SelectItem) -> Option<Name> {
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => None,
        SelectItem::UnnamedExpr(expr) => Some(name_of(expr)),
        // A column that came twice, with the name that tells it from the first.
        SelectItem::ExprWithAlias { expr, alias } if alias.quote_style == Some('"') => {
            let name = alias.value.trim_end_matches(' ');
            if name == expr.to_string() {
                return Some(name_of(expr));
            }
            (name.len() < alias.value.len()).then(|| Name::Strong(name.to_string()))
        }
        _ => None,
    }
}

/// The name that does not depend on the column's type, of an expression that has none of its own.
pub(super) fn lasting_name(expr: &Expr) -> Option<String> {
    match name_of(expr) {
        Name::Strong(name) | Name::Weak(name) => Some(name),
        Name::None => Some(NAMELESS.to_string()),
        Name::OfType => None,
    }
}

/// The name of a type as it is written, of an array that of its elements; `None` for types that SQL has words for.
fn own_name(data_type: &ast::DataType) -> Option<String> {
    match data_type {
        ast::DataType::Custom(name, _) => name.0.last()?.as_ident().map(fold),
        ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(inner, _)) => own_name(inner),
        _ => None,
    }
}

fn name_of(expr: &Expr) -> Name {
    let strong = |name: &str| Name::Strong(name.to_string());
    match expr {
        Expr::Identifier(ident) => Name::Strong(fold(ident)),
        Expr::CompoundIdentifier(parts) => {
            parts.last().map_or(Name::None, |p| Name::Strong(fold(p)))
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => name_of(inner),
        Expr::CompoundFieldAccess { root, access_chain } => match access_chain.last() {
            Some(ast::AccessExpr::Dot(Expr::Identifier(field))) => Name::Strong(fold(field)),
            _ => name_of(root),
        },
        Expr::Function(function) => {
            let last = function.name.0.last().and_then(|part| part.as_ident());
            if let Some(cut) = last
                .filter(|n| n.quote_style.is_some() && n.value == CUT_TEXT)
                .and_then(|_| first_argument(function))
            {
                return name_of(cut);
            }
            match last.map(fold) {
                Some(name) if name == ARRAY_OR_EMPTY => strong("coalesce"),
                Some(name) if name == SUBSTRING_SIMILAR => strong("substring"),
                Some(name) if name == ROUND_SECONDS => {
                    first_argument(function).map_or(Name::None, name_of)
                }
                Some(name) => Name::Strong(name),
                None => Name::None,
            }
        }
        Expr::Cast {
            expr, data_type, ..
        } => match (name_of(expr).of_cast(), own_name(data_type)) {
            (Name::OfType, Some(name)) => Name::Weak(name),
            (name, _) => name,
        },
        Expr::TypedString(_) | Expr::Interval(_) => Name::OfType,
        Expr::Case { else_result, .. } => match else_result.as_deref().map(name_of) {
            Some(Name::Strong(name)) => Name::Strong(name),
            _ => Name::Weak("case".to_string()),
        },
        Expr::Exists { negated: false, .. } => strong("exists"),
        Expr::Subquery(query) => match projection(&query.body) {
            Some([SelectItem::ExprWithAlias { alias, .. }]) => Name::Strong(fold(alias)),
            Some([SelectItem::UnnamedExpr(expr)]) => name_of(expr),
            Some([SelectItem::Wildcard(_)]) => {
                only_column(&query.body).map_or(Name::None, Name::Strong)
            }
            _ => Name::None,
        },
        // Without the word it was a literal.
        Expr::Array(array) if !array.named => Name::OfType,
        Expr::Array(_) => strong("array"),
        Expr::Tuple(_) => strong("row"),
        Expr::Extract { .. } => strong("extract"),
        Expr::Substring {
            shorthand: true, ..
        } => strong("substr"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Position { .. } => strong("position"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::BinaryOp {
            op: ast::BinaryOperator::Overlaps,
            ..
        } => strong("overlaps"),
        Expr::IsNormalized { negated: false, .. } => strong("is_normalized"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        _ => Name::None,
    }
}

/// The name of the one column of FROM, where it has an alias.
fn only_column(body: &SetExpr) -> Option<String> {
    let SetExpr::Select(select) = body else {
        return None;
    };
    let [from] = select.from.as_slice() else {
        return None;
    };
    match &from.relation {
        ast::TableFactor::Derived {
            alias: Some(alias), ..
        } if from.joins.is_empty() => match alias.columns.as_slice() {
            [column] => Some(fold(&column.name)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::datatypes::DataType;

    use super::*;
    use crate::sql::parser::parse;

    fn names(sql: &str, columns: usize) -> Vec<String> {
        let field = |i| Field::new(format!("c{i}"), DataType::Int32, true);
        let schema = Arc::new(Schema::new((0..columns).map(field).collect::<Vec<_>>()));
        let named = OutputNames::of(&parse(sql).unwrap()).apply(&schema);
        named.fields().iter().map(|f| f.name().clone()).collect()
    }

    #[test]
    fn names_are_those_of_postgres() {
        for (sql, expected) in [
            ("SELECT 1", "?column?"),
            ("SELECT a + 1 FROM t", "?column?"),
            ("SELECT count(*) FROM t", "count"),
            ("SELECT pg_catalog.Sum(a) FROM t", "sum"),
            ("SELECT sum(a) OVER (ORDER BY b) FROM t", "sum"),
            ("SELECT a::int FROM t", "a"),
            ("SELECT 1::int", "int4"),
            ("SELECT (1 + 1)::int", "int4"),
            ("SELECT count(*)::int FROM t", "count"),
            ("SELECT coalesce(a, 1) FROM t", "coalesce"),
            ("SELECT CASE WHEN a THEN 1 END FROM t", "case"),
            ("SELECT CASE WHEN a THEN 1 ELSE b END FROM t", "b"),
            ("SELECT CASE WHEN a THEN 1 END::int FROM t", "int4"),
            ("SELECT EXISTS (SELECT 1)", "exists"),
            ("SELECT (SELECT max(a) FROM t)", "max"),
            ("SELECT (SELECT a AS x FROM t)", "x"),
            ("SELECT ARRAY[1, 2]", "array"),
            ("SELECT extract(year FROM d) FROM t", "extract"),
            ("SELECT trim(a) FROM t", "btrim"),
            ("SELECT a IS NULL FROM t", "?column?"),
            ("SELECT $1", "?column?"),
            ("SELECT count(*) FROM t UNION ALL SELECT 1", "count"),
            ("INSERT INTO t VALUES (1) RETURNING a + 1", "?column?"),
            ("UPDATE t SET a = 1 RETURNING lower(b)", "lower"),
            ("DELETE FROM t RETURNING a::text", "a"),
        ] {
            assert_eq!(names(sql, 1), [expected], "{sql}");
        }
        assert_eq!(
            names("SELECT 1, 1, count(*), count(*) AS n", 4),
            ["?column?", "?column?", "count", "c3"]
        );
        assert_eq!(
            names("SELECT a, max(b), *, min(c) FROM t", 6),
            ["a", "max", "c2", "c3", "c4", "min"]
        );
        assert_eq!(
            names("SELECT t.*, u.*, 1 FROM t, u", 4),
            ["c0", "c1", "c2", "?column?"]
        );
    }
}
