//! The views of `information_schema`.

use super::access::{self, Granted};
use super::class::number_type;
use super::context::PgContext;
use super::definition::format_type;
use super::fixed::{self, NamedType, named_function, named_type};
use super::objects::{Attribute, Objects, Relation, Source};
use super::roles;
use super::rows::{Rows, Value};
use super::types::UserType;
use super::views::definition;
use crate::catalog::pg_type::{PgType, numeric_precision_and_scale, oid, seconds_digits};
use crate::storage::access::{Object, Privilege, Privileges};
use crate::storage::collection::Collection;
use crate::storage::schema::{Check, ColumnType, FieldId};
use crate::storage::sequence::Generates;
use crate::storage::snapshot::TEMPORARY_SCHEMA;
use crate::storage::unique::{KeyId, UniqueKey};
use crate::storage::view::CheckOption;

/// What views of one statement are made of.
pub(super) struct Information<'a> {
    pub context: &'a PgContext,
    pub objects: &'a Objects,
}

pub(super) fn yes(value: bool) -> Value {
    Value::from(if value { "YES" } else { "NO" })
}

/// Schema and name of a relation under the names of the columns for them.
fn table_of(relation: &Relation, database: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("table_catalog", database.into()),
        ("table_schema", relation.schema.as_str().into()),
        ("table_name", relation.name.as_str().into()),
    ]
}

/// Whether a column of it gets values.
fn is_updatable(relation: &Relation) -> bool {
    relation.columns.iter().any(|column| column.is_updatable)
}

fn check_option(relation: &Relation) -> &'static str {
    let option = match &relation.source {
        Source::View(view) => view.check_option(),
        _ => None,
    };
    match option {
        None => "NONE",
        Some(CheckOption::Local) => "LOCAL",
        Some(CheckOption::Cascaded) => "CASCADED",
    }
}

impl<'a> Information<'a> {
    pub(super) fn database(&self) -> &'a str {
        &self.context.facts.database
    }

    /// Tables and views, without indexes.
    fn tables_and_views(&self) -> impl Iterator<Item = &'a Relation> {
        let relations = self.objects.relations.iter();
        relations.filter(|r| matches!(r.kind(), "r" | "p" | "v"))
    }

    pub fn catalog_name(&self, rows: &mut Rows) {
        rows.push(&[("catalog_name", self.database().into())]);
    }

    pub fn schemata(&self, rows: &mut Rows) {
        for (_, name) in &self.objects.namespaces {
            let object = Object::Schema(name.clone());
            let owner = access::owner(self.context, Some(&object));
            rows.push(&[
                ("catalog_name", self.database().into()),
                ("schema_name", name.as_str().into()),
                ("schema_owner", roles::name_of(self.context, owner).into()),
            ]);
        }
    }

    pub fn tables(&self, rows: &mut Rows) {
        for relation in self.tables_and_views() {
            let kind = match relation.kind() {
                _ if relation.schema == TEMPORARY_SCHEMA => "LOCAL TEMPORARY",
                "r" | "p" => "BASE TABLE",
                _ => "VIEW",
            };
            let mut cells = table_of(relation, self.database());
            cells.extend([
                ("table_type", kind.into()),
                ("is_insertable_into", yes(is_updatable(relation))),
                ("is_typed", yes(false)),
            ]);
            rows.push(&cells);
        }
    }

    pub fn views(&self, rows: &mut Rows) {
        for relation in self.tables_and_views().filter(|r| r.kind() == "v") {
            let mut cells = table_of(relation, self.database());
            cells.extend([
                ("view_definition", definition(relation).into()),
                ("check_option", check_option(relation).into()),
                ("is_updatable", yes(is_updatable(relation))),
                ("is_insertable_into", yes(is_updatable(relation))),
            ]);
            let flags = [
                "is_trigger_updatable",
                "is_trigger_deletable",
                "is_trigger_insertable_into",
            ];
            cells.extend(flags.map(|name| (name, yes(false))));
            rows.push(&cells);
        }
    }

    pub fn columns(&self, rows: &mut Rows) {
        for relation in self.tables_and_views() {
            for column in &relation.columns {
                rows.push(&self.column(relation, column));
            }
        }
    }

    fn column(&self, relation: &Relation, column: &Attribute) -> Vec<(&'static str, Value)> {
        let expression = column.default.as_ref().map(|(_, text)| text.as_str());
        let (default, generated, generates) = match column.is_generated {
            true => (None, expression.map(|text| format!("({text})")), "ALWAYS"),
            false => (expression, None, "NEVER"),
        };
        let mut cells = table_of(relation, self.database());
        cells.extend([
            ("column_name", column.name.as_str().into()),
            ("ordinal_position", column.number.into()),
            ("column_default", default.into()),
            ("is_nullable", yes(!column.not_null)),
            ("udt_catalog", self.database().into()),
            ("dtd_identifier", column.number.to_string().into()),
            ("is_self_referencing", yes(false)),
            ("is_generated", generates.into()),
            ("generation_expression", generated.into()),
            ("is_updatable", yes(column.is_updatable)),
        ]);
        cells.extend(self.identity_cells(relation, column));
        cells.extend(match self.objects.user_type(column.pg_type.oid) {
            Some(found) => user_type_cells(&found),
            None => type_cells(column.pg_type),
        });
        cells.extend(self.domain_of(column));
        cells
    }

    /// What `columns` says of the sequence of an identity column.
    fn identity_cells(
        &self,
        relation: &Relation,
        column: &Attribute,
    ) -> Vec<(&'static str, Value)> {
        let generation = match column.identity {
            "a" => "ALWAYS",
            "d" => "BY DEFAULT",
            _ => return vec![("is_identity", yes(false)), ("identity_cycle", yes(false))],
        };
        let mut cells = vec![
            ("is_identity", yes(true)),
            ("identity_generation", generation.into()),
        ];
        let snapshot = self.context.snapshot();
        let field = FieldId(u32::try_from(column.number).unwrap_or_default());
        let collection = relation.collection();
        let sequence = collection.and_then(|c| snapshot.owned_sequence(c.id, field));
        if let Some(sequence) = sequence {
            cells.extend([
                ("identity_start", sequence.start.to_string().into()),
                ("identity_increment", sequence.increment.to_string().into()),
                ("identity_maximum", sequence.max.to_string().into()),
                ("identity_minimum", sequence.min.to_string().into()),
                ("identity_cycle", yes(sequence.cycle)),
            ]);
        }
        cells
    }

    /// Sequences, without those of identity columns.
    pub fn sequences(&self, rows: &mut Rows) {
        for relation in &self.objects.relations {
            let Source::Sequence(sequence) = &relation.source else {
                continue;
            };
            let generates = sequence.owner.and_then(|o| o.generates);
            if generates.is_some_and(|g| g != Generates::Default) {
                continue;
            }
            let bits = match sequence.data_type {
                ColumnType::SmallInt => 16,
                ColumnType::Integer => 32,
                _ => 64,
            };
            rows.push(&[
                ("sequence_catalog", self.database().into()),
                ("sequence_schema", relation.schema.as_str().into()),
                ("sequence_name", relation.name.as_str().into()),
                (
                    "data_type",
                    format_type(number_type(&sequence.data_type), None).into(),
                ),
                ("numeric_precision", Value::Int(bits)),
                ("numeric_precision_radix", Value::Int(2)),
                ("numeric_scale", Value::Int(0)),
                ("start_value", sequence.start.to_string().into()),
                ("minimum_value", sequence.min.to_string().into()),
                ("maximum_value", sequence.max.to_string().into()),
                ("increment", sequence.increment.to_string().into()),
                ("cycle_option", yes(sequence.cycle)),
            ]);
        }
    }

    /// Collections with the keys that are constraints of theirs.
    fn keys(&self) -> impl Iterator<Item = (&'a Relation, &'a Collection, UniqueKey)> {
        let relations = self.objects.relations.iter();
        let collections = relations.filter_map(|relation| Some((relation, relation.collection()?)));
        collections.flat_map(|(relation, collection)| {
            let keys = collection.unique_keys().into_iter();
            let keys = keys.filter(|key| key.is_constraint);
            keys.map(move |key| (relation, collection.as_ref(), key))
        })
    }

    pub(super) fn constraint_of(
        &self,
        relation: &Relation,
        name: &str,
    ) -> Vec<(&'static str, Value)> {
        let mut cells = table_of(relation, self.database());
        cells.extend([
            ("constraint_catalog", self.database().into()),
            ("constraint_schema", relation.schema.as_str().into()),
            ("constraint_name", name.into()),
        ]);
        cells
    }

    pub fn table_constraints(&self, rows: &mut Rows) {
        self.keys_and_checks(rows);
        self.foreign_keys(rows);
    }

    pub fn constraint_table_usage(&self, rows: &mut Rows) {
        self.keys_and_checks(rows);
        self.referred_tables(rows);
    }

    fn keys_and_checks(&self, rows: &mut Rows) {
        let keys = self.keys().map(|(relation, _, key)| match key.id {
            KeyId::Primary => (relation, key.name, "PRIMARY KEY"),
            KeyId::Index(_) => (relation, key.name, "UNIQUE"),
        });
        let checks = self
            .checks()
            .map(|(r, check)| (r, check.name.clone(), "CHECK"));
        for (relation, name, kind) in keys.chain(checks) {
            let mut cells = self.constraint_of(relation, &name);
            cells.extend([
                ("constraint_type", kind.into()),
                ("is_deferrable", yes(false)),
                ("initially_deferred", yes(false)),
                ("enforced", yes(true)),
            ]);
            rows.push(&cells);
        }
    }

    /// Collections with their checks.
    fn checks(&self) -> impl Iterator<Item = (&'a Relation, &'a Check)> {
        let relations = self.objects.relations.iter();
        relations.flat_map(|relation| {
            let collection = relation.collection();
            let checks = collection.into_iter().flat_map(|c| &c.schema.checks);
            checks.map(move |check| (relation, check))
        })
    }

    pub fn check_constraints(&self, rows: &mut Rows) {
        for (domain, check) in self.domain_checks() {
            rows.push(&[
                ("constraint_catalog", self.database().into()),
                ("constraint_schema", domain.name.schema.as_str().into()),
                ("constraint_name", check.name.as_str().into()),
                ("check_clause", format!("({})", check.condition).into()),
            ]);
        }
        for (relation, check) in self.checks() {
            rows.push(&[
                ("constraint_catalog", self.database().into()),
                ("constraint_schema", relation.schema.as_str().into()),
                ("constraint_name", check.name.as_str().into()),
                ("check_clause", format!("({})", check.condition).into()),
            ]);
        }
    }

    pub fn key_column_usage(&self, rows: &mut Rows) {
        self.key_columns(rows);
        self.referring_columns(rows);
    }

    pub fn constraint_column_usage(&self, rows: &mut Rows) {
        self.key_columns(rows);
        self.referred_columns(rows);
    }

    fn key_columns(&self, rows: &mut Rows) {
        for (relation, collection, key) in self.keys() {
            let fields = key.fields.iter();
            let columns = fields.filter_map(|id| collection.schema.column_by_id(*id));
            for (place, column) in columns.enumerate() {
                let mut cells = self.constraint_of(relation, &key.name);
                cells.extend([
                    ("column_name", column.name.as_str().into()),
                    ("ordinal_position", Value::Int(place as i64 + 1)),
                ]);
                rows.push(&cells);
            }
        }
    }

    /// `table_privileges`, and `role_table_grants` without what others gave to everybody.
    pub fn table_privileges(&self, rows: &mut Rows, of_everybody: bool) {
        for (relation, object) in self.granted_on() {
            for granted in access::granted(self.context, &object, of_everybody) {
                let mut cells = self.privilege(relation, &granted);
                let reads = granted.privilege == Privilege::Select;
                cells.push(("with_hierarchy", yes(reads)));
                rows.push(&cells);
            }
        }
    }

    /// Tables and views of users, and what grants are made on.
    fn granted_on(&self) -> impl Iterator<Item = (&'a Relation, Object)> {
        let relations = self.tables_and_views().filter(|r| r.is_user());
        relations.filter_map(|relation| Some((relation, relation.object()?)))
    }

    fn privilege(&self, relation: &Relation, granted: &Granted) -> Vec<(&'static str, Value)> {
        let mut cells = table_of(relation, self.database());
        cells.extend([
            ("grantor", granted.grantor.clone().into()),
            ("grantee", granted.grantee.clone().into()),
            ("privilege_type", granted.privilege.name().into()),
            ("is_grantable", yes(granted.grantable)),
        ]);
        cells
    }

    /// `column_privileges`, and `role_column_grants` without what others gave to everybody: grants are of whole tables.
    pub fn column_privileges(&self, rows: &mut Rows, of_everybody: bool) {
        use Privilege::{Insert, References, Select, Update};
        let of_columns = Privileges::from_iter([Insert, Select, Update, References]);
        for (relation, object) in self.granted_on() {
            let granted = access::granted(self.context, &object, of_everybody);
            let granted = granted.iter().filter(|g| of_columns.has(g.privilege));
            for granted in granted {
                for column in &relation.columns {
                    let mut cells = self.privilege(relation, granted);
                    cells.push(("column_name", column.name.as_str().into()));
                    rows.push(&cells);
                }
            }
        }
    }

    pub fn character_sets(&self, rows: &mut Rows) {
        rows.push(&[
            ("character_set_name", "UTF8".into()),
            ("character_repertoire", "UCS".into()),
            ("form_of_use", "UTF8".into()),
            ("default_collate_catalog", self.database().into()),
            ("default_collate_schema", "pg_catalog".into()),
            ("default_collate_name", "default".into()),
        ]);
    }

    pub fn collations(&self, rows: &mut Rows) {
        for name in ["default", "C", "POSIX"] {
            rows.push(&[
                ("collation_catalog", self.database().into()),
                ("collation_schema", "pg_catalog".into()),
                ("collation_name", name.into()),
                ("pad_attribute", "NO PAD".into()),
            ]);
        }
    }

    pub fn enabled_roles(&self, rows: &mut Rows) {
        for role in self.context.snapshot().roles() {
            rows.push(&[("role_name", role.name.as_str().into())]);
        }
    }

    /// The functions that the session has, each signature a row.
    pub fn routines(&self, rows: &mut Rows, functions: &[(String, u32)]) {
        for (name, oid) in functions {
            let schema = self
                .objects
                .namespace(fixed::namespace_of(*oid))
                .unwrap_or("pg_catalog");
            let schema = if named_function(*oid).is_some() {
                schema
            } else {
                "pg_catalog"
            };
            let result = named_function(*oid).map(|f| f.result);
            let mut cells = vec![
                ("specific_catalog", self.database().into()),
                ("specific_schema", schema.into()),
                ("specific_name", format!("{name}_{oid}").into()),
                ("routine_catalog", self.database().into()),
                ("routine_schema", schema.into()),
                ("routine_name", name.as_str().into()),
                ("routine_type", "FUNCTION".into()),
                ("routine_body", "EXTERNAL".into()),
                ("external_language", "INTERNAL".into()),
                ("parameter_style", "GENERAL".into()),
                ("security_type", "INVOKER".into()),
            ];
            if let Some(named) = result.and_then(named_type) {
                cells.push(("data_type", format_type(named.oid, None).into()));
                cells.push(("type_udt_catalog", self.database().into()));
                cells.push(("type_udt_schema", "pg_catalog".into()));
                cells.push(("type_udt_name", named.name.into()));
            }
            rows.push(&cells);
        }
    }

    pub fn parameters(&self, rows: &mut Rows, functions: &[(String, u32)]) {
        for (name, function) in functions {
            let Some(named) = named_function(*function) else {
                continue;
            };
            for (place, argument) in named.arguments.split_whitespace().enumerate() {
                let argument: u32 = argument.parse().unwrap_or(0);
                rows.push(&[
                    ("specific_catalog", self.database().into()),
                    ("specific_schema", "pg_catalog".into()),
                    ("specific_name", format!("{name}_{function}").into()),
                    ("ordinal_position", Value::Int(place as i64 + 1)),
                    ("parameter_mode", "IN".into()),
                    ("is_result", yes(false)),
                    ("as_locator", yes(false)),
                    ("data_type", format_type(argument, None).into()),
                    ("udt_catalog", self.database().into()),
                    ("udt_schema", "pg_catalog".into()),
                    ("udt_name", named_type(argument).map(|t| t.name).into()),
                    ("dtd_identifier", (place + 1).to_string().into()),
                ]);
            }
        }
    }
}

/// What `columns` says of a type that CREATE TYPE made.
pub(super) fn user_type_cells(found: &UserType<'_>) -> Vec<(&'static str, Value)> {
    let data_type = match found.is_array() {
        true => "ARRAY",
        false => "USER-DEFINED",
    };
    vec![
        ("data_type", data_type.into()),
        ("udt_schema", found.qualified.schema.as_str().into()),
        ("udt_name", found.name().into()),
    ]
}

/// What `columns` says of a type.
pub(super) fn type_cells(pg_type: PgType) -> Vec<(&'static str, Value)> {
    let named: Option<&NamedType> = named_type(pg_type.oid);
    let is_array = named.is_some_and(|t| t.element != 0);
    let schema = match fixed::namespace_of(pg_type.oid) {
        super::oid::NAMESPACE_PG_CATALOG => "pg_catalog",
        _ => "public",
    };
    let data_type = match is_array {
        true => "ARRAY".to_string(),
        false if schema != "pg_catalog" => "USER-DEFINED".to_string(),
        false => format_type(pg_type.oid, None),
    };
    let mut cells = vec![
        ("data_type", data_type.into()),
        ("udt_schema", schema.into()),
        ("udt_name", named.map(|t| t.name).into()),
    ];
    let number = |bits: i64| {
        [
            ("numeric_precision", Value::Int(bits)),
            ("numeric_precision_radix", Value::Int(2)),
        ]
    };
    match pg_type.oid {
        oid::INT2 => cells.extend(number(16)),
        oid::INT4 => cells.extend(number(32)),
        oid::INT8 => cells.extend(number(64)),
        oid::FLOAT4 => cells.extend(number(24)),
        oid::FLOAT8 => cells.extend(number(53)),
        oid::NUMERIC => {
            let sized = numeric_precision_and_scale(pg_type.typmod);
            cells.push(("numeric_precision", sized.map(|(p, _)| p).into()));
            cells.push(("numeric_precision_radix", Value::Int(10)));
            cells.push(("numeric_scale", sized.map(|(_, s)| s).into()));
        }
        oid::VARCHAR | oid::BPCHAR if pg_type.typmod >= 4 => {
            let characters = i64::from(pg_type.typmod - 4);
            cells.push(("character_maximum_length", Value::Int(characters)));
            cells.push(("character_octet_length", Value::Int(characters * 4)));
        }
        oid::TEXT | oid::VARCHAR | oid::BPCHAR => {
            cells.push(("character_octet_length", Value::Int(1 << 30)));
        }
        oid::DATE => cells.push(("datetime_precision", Value::Int(0))),
        oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::INTERVAL => {
            let digits = seconds_digits(pg_type).unwrap_or(6);
            cells.push(("datetime_precision", Value::Int(digits.into())));
        }
        _ => {}
    }
    if matches!(pg_type.oid, oid::INT2 | oid::INT4 | oid::INT8) {
        cells.push(("numeric_scale", Value::Int(0)));
    }
    cells
}
