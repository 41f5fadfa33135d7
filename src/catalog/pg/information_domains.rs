//! The views of `information_schema` about domains.

use super::information::{Information, type_cells, user_type_cells, yes};
use super::objects::Attribute;
use super::rows::{Rows, Value};
use crate::catalog::domains::row_of;
use crate::catalog::pg_type::{enum_oid, type_of};
use crate::storage::domain::{Domain, DomainCheck};

impl<'a> Information<'a> {
    /// Domains with their checks.
    pub(super) fn domain_checks(&self) -> impl Iterator<Item = (&'a Domain, &'a DomainCheck)> {
        let domains = self.objects.domains.iter();
        domains.flat_map(|domain| domain.checks.iter().map(move |check| (&**domain, check)))
    }

    fn domain_cells(&self, domain: &Domain) -> Vec<(&'static str, Value)> {
        vec![
            ("domain_catalog", self.database().into()),
            ("domain_schema", domain.name.schema.as_str().into()),
            ("domain_name", domain.name.name.as_str().into()),
        ]
    }

    /// What `columns` says of the domain of a column.
    pub(super) fn domain_of(&self, column: &Attribute) -> Vec<(&'static str, Value)> {
        let mut domains = self.objects.domains.iter();
        let found = domains.find(|domain| column.domain == enum_oid(domain.id));
        found.map_or_else(Vec::new, |domain| self.domain_cells(domain))
    }

    pub(super) fn domains(&self, rows: &mut Rows) {
        for domain in &self.objects.domains {
            let mut cells = self.domain_cells(domain);
            cells.extend([
                ("domain_default", domain.default.as_deref().into()),
                ("udt_catalog", self.database().into()),
                ("dtd_identifier", "1".into()),
            ]);
            let base = type_of(&row_of(&domain.base).fields()[0]);
            cells.extend(match self.objects.user_type(base.oid) {
                Some(found) => user_type_cells(&found),
                None => type_cells(base),
            });
            rows.push(&cells);
        }
    }

    pub(super) fn domain_constraints(&self, rows: &mut Rows) {
        for (domain, check) in self.domain_checks() {
            let mut cells = self.domain_cells(domain);
            cells.extend([
                ("constraint_catalog", self.database().into()),
                ("constraint_schema", domain.name.schema.as_str().into()),
                ("constraint_name", check.name.as_str().into()),
                ("is_deferrable", yes(false)),
                ("initially_deferred", yes(false)),
            ]);
            rows.push(&cells);
        }
    }

    pub(super) fn column_domain_usage(&self, rows: &mut Rows) {
        for relation in self
            .objects
            .relations
            .iter()
            .filter(|r| r.collection().is_some())
        {
            for column in &relation.columns {
                let mut cells = self.domain_of(column);
                if cells.is_empty() {
                    continue;
                }
                cells.extend([
                    ("table_catalog", self.database().into()),
                    ("table_schema", relation.schema.as_str().into()),
                    ("table_name", relation.name.as_str().into()),
                    ("column_name", column.name.as_str().into()),
                ]);
                rows.push(&cells);
            }
        }
    }
}
