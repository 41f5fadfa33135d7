//! The columns of what stands in FROM, as far as the text and the catalog tell them.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{
    Cte, Expr, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins,
    WildcardAdditionalOptions,
};

use super::parser::fold;

/// The columns of relations by their names.
#[derive(Clone)]
pub(super) struct Shapes<'a> {
    /// Those of the catalog.
    tables: &'a dyn Fn(&ObjectName) -> Option<Vec<String>>,
    /// Those of WITH, where they are known.
    common: HashMap<String, Option<Vec<String>>>,
}

impl<'a> Shapes<'a> {
    /// The columns where `tables` knows those of tables.
    pub(super) fn new(tables: &'a dyn Fn(&ObjectName) -> Option<Vec<String>>) -> Self {
        Self {
            tables,
            common: HashMap::new(),
        }
    }

    /// Makes a name of WITH known.
    pub(super) fn add(&mut self, cte: &Cte) {
        let columns = self.query(&cte.query, Some(&cte.alias));
        self.common.insert(fold(&cte.alias.name), columns);
    }

    /// The columns of a table, or of a query of WITH.
    pub(super) fn table(&self, name: &ObjectName) -> Option<Vec<String>> {
        if let [only] = name.0.as_slice()
            && let Some(common) = self.common.get(&only.as_ident().map(fold)?)
        {
            return common.clone();
        }
        (self.tables)(name)
    }

    /// The columns of a query under an alias.
    pub(super) fn query(&self, query: &Query, alias: Option<&TableAlias>) -> Option<Vec<String>> {
        let Some(with) = &query.with else {
            return self.body(&query.body, alias);
        };
        let mut inside = self.clone();
        with.cte_tables.iter().for_each(|cte| inside.add(cte));
        inside.body(&query.body, alias)
    }

    fn body(&self, body: &SetExpr, alias: Option<&TableAlias>) -> Option<Vec<String>> {
        let own: Vec<Option<String>> = match body {
            SetExpr::Select(select) => self.items(select)?,
            SetExpr::Values(values) => {
                let places = 1..=values.rows.first()?.len();
                places.map(|place| Some(format!("column{place}"))).collect()
            }
            SetExpr::SetOperation { left, .. } => return self.body(left, alias),
            SetExpr::Query(query) => return self.query(query, alias),
            _ => return None,
        };
        let mut given = alias.iter().flat_map(|alias| &alias.columns);
        let named = own.into_iter().map(|own| {
            let given = given.next().map(|column| fold(&column.name));
            given.or(own)
        });
        named.collect()
    }

    /// The names of the columns of a SELECT; `None` for one that has none of its own.
    fn items(&self, select: &Select) -> Option<Vec<Option<String>>> {
        let mut names = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => names.push(Some(fold(alias))),
                SelectItem::UnnamedExpr(Expr::Identifier(name)) => names.push(Some(fold(name))),
                SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
                    names.push(parts.last().map(fold));
                }
                SelectItem::UnnamedExpr(_) => names.push(None),
                SelectItem::Wildcard(options) if is_plain(options) => {
                    for from in &select.from {
                        names.extend(self.from(from)?.into_iter().map(Some));
                    }
                }
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    options,
                ) if is_plain(options) => {
                    let name = name.0.last()?.as_ident().map(fold)?;
                    let columns = factors(&select.from).find_map(|factor| {
                        let is_it = name_of(factor).as_deref() == Some(name.as_str());
                        is_it.then(|| self.factor(factor))
                    });
                    names.extend(columns??.into_iter().map(Some));
                }
                _ => return None,
            }
        }
        Some(names)
    }

    /// The columns of joined relations, in the order of `*`.
    fn from(&self, from: &TableWithJoins) -> Option<Vec<String>> {
        let mut left = self.factor(&from.relation)?;
        for join in &from.joins {
            let right = self.factor(&join.relation)?;
            let common = common_columns(&join.join_operator, &left, &right);
            left = in_order(common, left, right);
        }
        Some(left)
    }

    /// The columns of a relation under its alias.
    pub(super) fn factor(&self, factor: &TableFactor) -> Option<Vec<String>> {
        match factor {
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => Some(named(self.from(table_with_joins)?, alias.as_ref())),
            TableFactor::Table {
                name,
                alias,
                args: None,
                ..
            } => Some(named(self.table(name)?, alias.as_ref())),
            TableFactor::Derived {
                subquery, alias, ..
            } => self.query(subquery, alias.as_ref()),
            _ => None,
        }
    }
}

/// The relations that are joined.
pub(super) fn factors(from: &[TableWithJoins]) -> impl Iterator<Item = &TableFactor> {
    from.iter().flat_map(|from| {
        let joined = from.joins.iter().map(|join| &join.relation);
        std::iter::once(&from.relation).chain(joined)
    })
}

/// What a relation is called.
pub(super) fn name_of(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { name, alias, .. } => match alias {
            Some(alias) => Some(fold(&alias.name)),
            None => name.0.last().and_then(|part| part.as_ident()).map(fold),
        },
        TableFactor::Derived { alias, .. } => alias.as_ref().map(|a| fold(&a.name)),
        _ => None,
    }
}

fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    *options == WildcardAdditionalOptions::default()
}

/// The constraint of a join, if it can have one.
fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    use JoinOperator as J;
    match operator {
        J::Join(on) | J::Inner(on) | J::Left(on) | J::LeftOuter(on) => Some(on),
        J::Right(on) | J::RightOuter(on) | J::FullOuter(on) => Some(on),
        _ => None,
    }
}

/// [`constraint`], to be changed.
pub(super) fn constraint_mut(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    use JoinOperator as J;
    match operator {
        J::Join(on) | J::Inner(on) | J::Left(on) | J::LeftOuter(on) => Some(on),
        J::Right(on) | J::RightOuter(on) | J::FullOuter(on) => Some(on),
        _ => None,
    }
}

/// The columns that a join by names has once.
pub(super) fn common_columns(
    operator: &JoinOperator,
    left: &[String],
    right: &[String],
) -> Vec<String> {
    match constraint(operator) {
        Some(JoinConstraint::Natural) => {
            let common = left.iter().filter(|name| right.contains(name));
            common.cloned().collect()
        }
        Some(JoinConstraint::Using(names)) => {
            let names = names.iter().filter_map(|name| name.0.last()?.as_ident());
            names.map(fold).collect()
        }
        _ => Vec::new(),
    }
}

/// The columns of a join in the order of `*`.
pub(super) fn in_order(common: Vec<String>, left: Vec<String>, right: Vec<String>) -> Vec<String> {
    let rest = left.into_iter().chain(right);
    let rest: Vec<String> = rest.filter(|name| !common.contains(name)).collect();
    common.into_iter().chain(rest).collect()
}

/// The columns with the names of an alias.
pub(super) fn named(mut columns: Vec<String>, alias: Option<&TableAlias>) -> Vec<String> {
    let names = alias.iter().flat_map(|alias| &alias.columns);
    for (column, named) in columns.iter_mut().zip(names) {
        *column = fold(&named.name);
    }
    columns
}
