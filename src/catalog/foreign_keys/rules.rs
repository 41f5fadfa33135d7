//! What rows must pass that foreign keys change, and what their columns get: planned with the statement that begins it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::physical_expr::PhysicalExpr;

use crate::catalog::expressions::ONE_ROW;
use crate::catalog::row_rules::RowRules;
use crate::error::{Error, Result};
use crate::storage::collection::Collection;
use crate::storage::foreign_key::{ForeignKey, ReferentialAction};
use crate::storage::schema::{CollectionId, FieldId};
use crate::storage::snapshot::Snapshot;

/// CHECK constraints and defaults of collections whose rows may change because those that they refer to go.
#[derive(Debug, Default)]
pub struct ChildRules(HashMap<CollectionId, Rule>);

#[derive(Debug)]
struct Rule {
    child: Arc<Collection>,
    rows: RowRules,
    /// Of columns of ON .. SET DEFAULT.
    defaults: HashMap<FieldId, Arc<dyn PhysicalExpr>>,
}

impl ChildRules {
    /// Those of all that changes because rows of `parent` go or change, planned by `state`.
    ///
    /// # Errors
    /// Whatever is wrong with a condition or a default by now.
    pub fn of(snapshot: &Snapshot, parent: CollectionId, state: &SessionState) -> Result<Self> {
        let mut rules = Self::default();
        let mut waiting = vec![parent];
        while let Some(parent) = waiting.pop() {
            for (child, key) in snapshot.references_to(parent).filter(|(_, key)| key.acts()) {
                let rule = match rules.0.entry(child.id) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        waiting.push(child.id);
                        new.insert(Rule::of(child, state)?)
                    }
                };
                rule.add_defaults(key, snapshot, state)?;
            }
        }
        Ok(rules)
    }

    /// Whether rows that change pass the same at any time and in any session.
    pub fn are_immutable(&self) -> bool {
        let is_immutable = |rule: &Rule| rule.defaults.is_empty() && rule.rows.are_immutable();
        self.0.values().all(is_immutable)
    }

    /// What rows of the collection get and must pass.
    ///
    /// # Errors
    /// 0A000 when it is another than was planned for.
    pub(super) fn rows(&self, child: &Collection) -> Result<RowRules> {
        match RowRules::has_some(child) {
            true => Ok(self.rule(child)?.rows.clone()),
            false => Ok(RowRules::default()),
        }
    }

    /// The default of a column, as an array of one.
    ///
    /// # Errors
    /// 0A000 when it is another than was planned for, or whatever the expression fails with.
    pub(super) fn default_of(&self, child: &Collection, id: FieldId) -> Result<ArrayRef> {
        let Some(default) = self.rule(child)?.defaults.get(&id) else {
            let column = child.schema.column_by_id(id);
            let column = column.ok_or_else(|| Error::internal("a default of no column"))?;
            return Ok(new_null_array(&column.column_type.arrow_type(), 1));
        };
        Ok(default.evaluate(&ONE_ROW)?.into_array(1)?)
    }

    fn rule(&self, child: &Collection) -> Result<&Rule> {
        let rule = self.0.get(&child.id);
        let is_planned = |rule: &&Rule| RowRules::are_same(&rule.child, child);
        rule.filter(is_planned).ok_or_else(|| {
            let message = format!("cached plan is out of date: \"{}\" was altered", child.name);
            Error::unsupported(message).with_hint("Run the statement again.")
        })
    }
}

impl Rule {
    fn of(child: &Arc<Collection>, state: &SessionState) -> Result<Self> {
        Ok(Self {
            child: Arc::clone(child),
            rows: RowRules::of(child, state)?,
            defaults: HashMap::new(),
        })
    }

    fn add_defaults(
        &mut self,
        key: &ForeignKey,
        snapshot: &Snapshot,
        state: &SessionState,
    ) -> Result<()> {
        let sets = [key.on_delete, key.on_update].contains(&ReferentialAction::SetDefault);
        for id in key.columns.iter().filter(|_| sets) {
            let column = self.child.schema.column_by_id(*id);
            if let Some(text) = column.and_then(|column| snapshot.default_of(column)) {
                let none = DFSchema::empty();
                let expr = state.create_logical_expr(text, &none)?;
                let expr = state.create_physical_expr(expr, &none)?;
                self.defaults.insert(*id, expr);
            }
        }
        Ok(())
    }
}
