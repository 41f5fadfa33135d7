//! The relations of a function under names that no relation around its call has: its arguments may be columns of those.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Ident, Select, SelectItem, SelectItemQualifiedWildcardKind, TableAlias, TableFactor,
    VisitorMut,
};

use crate::error::{Error, Result};
use crate::sql::mend::last_part;
use crate::sql::parser::fold;
use crate::sql::walk;

/// Calls the relations of a query apart from those around it.
pub(super) struct Apart {
    suffix: String,
    /// The names by which relations are called.
    names: BTreeMap<String, String>,
}

impl Apart {
    /// Those of a statement, each with the suffix behind its name.
    pub fn of(statement: &mut ast::Statement, suffix: String) -> Result<Self> {
        let mut names = Names(Vec::new());
        walk::change(statement, &mut names)?;
        let apart = |name: String| (name.clone(), format!("{name}{suffix}"));
        Ok(Self {
            names: names.0.into_iter().map(apart).collect(),
            suffix,
        })
    }

    fn rename(&self, ident: &mut Ident) {
        if let Some(name) = self.names.get(&fold(ident)) {
            *ident = Ident::with_quote('"', name);
        }
    }
}

/// The names by which relations are called.
struct Names(Vec<String>);

fn alias_of(factor: &mut TableFactor) -> Option<&mut Option<TableAlias>> {
    match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => Some(alias),
        _ => None,
    }
}

fn called(factor: &mut TableFactor) -> Option<String> {
    if let Some(Some(alias)) = alias_of(factor) {
        return Some(fold(&alias.name));
    }
    match factor {
        TableFactor::Table { name, .. } | TableFactor::Function { name, .. } => {
            last_part(name).map(fold)
        }
        _ => None,
    }
}

impl VisitorMut for Names {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        self.0.extend(called(factor));
        ControlFlow::Continue(())
    }
}

impl VisitorMut for Apart {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let Some(name) = called(factor) else {
            return ControlFlow::Continue(());
        };
        let apart = Ident::with_quote('"', format!("{name}{}", self.suffix));
        match alias_of(factor) {
            Some(Some(alias)) => alias.name = apart,
            Some(alias) => {
                *alias = Some(TableAlias {
                    explicit: true,
                    name: apart,
                    columns: Vec::new(),
                    at: None,
                });
            }
            None => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<Error> {
        if let ast::Expr::CompoundIdentifier(parts) = expr {
            // Behind a schema the relation comes second.
            if parts.len() > 2 {
                parts.drain(..parts.len() - 2);
            }
            if let Some(first) = parts.first_mut() {
                self.rename(first);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(
                SelectItemQualifiedWildcardKind::ObjectName(name),
                _,
            ) = item
                && let Some(last) = last_part(name).cloned()
            {
                let mut last = last;
                self.rename(&mut last);
                *name = ast::ObjectName::from(vec![last]);
            }
        }
        ControlFlow::Continue(())
    }
}
