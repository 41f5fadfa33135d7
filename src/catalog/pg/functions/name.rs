//! Names: quoting them, and the types that stand for names of objects (`regclass`, `regtype`, ..).
//!
//! A value of such a type is the object's OID. [`RegType::read`] makes it of a name, [`RegType::write`] a name of it.

use std::hash::Hash;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::{Call, Definition, Gives, Kind, Value, by_row};
use crate::catalog::pg::context::{PgContext, search_path};
use crate::catalog::pg::definition::{
    format_type, function_arguments, qualified, quote_ident, quote_literal,
};
use crate::catalog::pg::fixed::{self, functions_of_name, named_function, named_type};
use crate::catalog::pg::{oid, roles, routines, types};
use crate::catalog::pg_type;
use crate::catalog::search_path::own_name;
use crate::error::{Error, sqlstate};
use crate::storage::schema::SQL_TYPE_KEY;

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("quote_ident", 1..=1, Gives::Text, |c| {
        Ok(c.text(0).map(|text| quote_ident(&text)).into())
    }),
    Definition::new("quote_literal", 1..=1, Gives::Text, |c| {
        Ok(c.text(0).map(|text| quote_literal(&text)).into())
    }),
    Definition::new("quote_nullable", 1..=1, Gives::Text, |c| {
        Ok(c.text(0)
            .map_or("NULL".to_string(), |text| quote_literal(&text))
            .into())
    })
    .with_nulls(),
    Definition::new("pg_typeof", 1..=1, Gives::Oid("regtype"), |c| {
        Ok(c.fields.first().map(|f| pg_type::type_of(f).oid).into())
    })
    .with_nulls(),
    Definition::new("pg_get_userbyid", 1..=1, Gives::Name, |c| {
        let name = c.oid(0).and_then(|oid| roles::name_of(c.context, oid));
        Ok(name
            .unwrap_or_else(|| format!("unknown (OID={})", c.int(0).unwrap_or(0)))
            .into())
    }),
    Definition::new("to_regclass", 1..=1, Gives::Oid("regclass"), |c| {
        found(c, RegType::Class)
    }),
    Definition::new("to_regtype", 1..=1, Gives::Oid("regtype"), |c| {
        found(c, RegType::Type)
    }),
    Definition::new("to_regproc", 1..=1, Gives::Oid("regproc"), |c| {
        found(c, RegType::Function)
    }),
    Definition::new("to_regnamespace", 1..=1, Gives::Oid("regnamespace"), |c| {
        found(c, RegType::Namespace)
    }),
    Definition::new("to_regrole", 1..=1, Gives::Oid("regrole"), |c| {
        found(c, RegType::Role)
    }),
];

/// The OID of the name, NULL where there is no such object.
fn found(call: &Call<'_>, reg: RegType) -> Result<Value> {
    let text = call.text(0).unwrap_or_default();
    Ok(reg.find(call.context, call.config, &text).into())
}

/// A type whose values are OIDs of one kind of objects and are written as names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegType {
    /// `regclass`: relations.
    Class,
    /// `regtype`: types.
    Type,
    /// `regproc`: functions.
    Function,
    /// `regprocedure`: functions with their arguments.
    Procedure,
    /// `regnamespace`: schemas.
    Namespace,
    /// `regrole`: roles.
    Role,
}

impl RegType {
    const ALL: [Self; 6] = [
        Self::Class,
        Self::Type,
        Self::Function,
        Self::Procedure,
        Self::Namespace,
        Self::Role,
    ];

    /// The type's name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Class => "regclass",
            Self::Type => "regtype",
            Self::Function => "regproc",
            Self::Procedure => "regprocedure",
            Self::Namespace => "regnamespace",
            Self::Role => "regrole",
        }
    }

    /// The type of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reg| reg.name() == name)
    }

    /// The OID of a name or of a number's text; `-` is 0.
    ///
    /// # Errors
    /// 42P01, 42704, 42883 or 3F000 when there is no such object.
    pub(super) fn read(
        self,
        context: &PgContext,
        config: &ConfigOptions,
        text: &str,
    ) -> Result<u32> {
        let found = self.find(context, config, text);
        Ok(found.ok_or_else(|| {
            let (code, what) = match self {
                Self::Class => (sqlstate::UNDEFINED_TABLE, "relation"),
                Self::Type => (sqlstate::UNDEFINED_OBJECT, "type"),
                Self::Function | Self::Procedure => (sqlstate::UNDEFINED_FUNCTION, "function"),
                Self::Namespace => (sqlstate::INVALID_SCHEMA_NAME, "schema"),
                Self::Role => (sqlstate::UNDEFINED_OBJECT, "role"),
            };
            Error::not_found(code, format!("{what} \"{text}\" does not exist"))
        })?)
    }

    fn find(self, context: &PgContext, config: &ConfigOptions, text: &str) -> Option<u32> {
        let text = text.trim();
        if text == "-" {
            return Some(0);
        }
        if let Ok(oid) = text.parse() {
            return Some(oid);
        }
        let (schema, name) = split_name(text);
        match self {
            Self::Class => {
                let relation = match &schema {
                    Some(schema) => context.objects().find(own_name(schema), &name),
                    None => context.resolve(config, &name),
                };
                relation.map(|r| r.oid)
            }
            Self::Type => type_of_sql(text).or_else(|| user_type(context, config, text)),
            Self::Function => {
                let built_in = functions_of_name(&name).first().map(|f| f.oid);
                built_in.or_else(|| routines::find(context, config, schema.as_deref(), &name, None))
            }
            Self::Procedure => procedure(text).or_else(|| user_routine(context, config, text)),
            Self::Namespace => {
                let namespaces = &context.objects().namespaces;
                namespaces
                    .iter()
                    .find(|(_, n)| *n == name)
                    .map(|(oid, _)| *oid)
            }
            Self::Role => roles::oid_of(context, &name),
        }
    }

    /// The name of an OID: its number where there is no such object, `-` for 0.
    pub(super) fn write(self, context: &PgContext, config: &ConfigOptions, oid: u32) -> String {
        if oid == 0 {
            return "-".to_string();
        }
        let name = match self {
            Self::Class => context.objects().relation(oid).map(|relation| {
                match context.is_visible(config, relation) {
                    true => quote_ident(&relation.name),
                    false => qualified(&relation.schema, &relation.name),
                }
            }),
            Self::Type if context.objects().user_type(oid).is_some() => {
                return types::type_name(context, config, oid, None);
            }
            Self::Type => named_type(oid).map(|_| format_type(oid, None)),
            Self::Function if routines::function_of(context, oid).is_some() => {
                routines::written(context, config, oid).map(|(name, _)| name)
            }
            Self::Procedure if routines::function_of(context, oid).is_some() => {
                let written = routines::written(context, config, oid);
                written.map(|(name, types)| format!("{name}({types})"))
            }
            Self::Function => named_function(oid).map(|f| match functions_of_name(f.name).len() {
                1 => quote_ident(f.name),
                _ => qualified(function_schema(context, oid), f.name),
            }),
            Self::Procedure => named_function(oid).map(|f| {
                let arguments = function_arguments(oid).unwrap_or_default();
                format!("{}({})", quote_ident(f.name), arguments.replace(", ", ","))
            }),
            Self::Namespace => context.objects().namespace(oid).map(quote_ident),
            Self::Role => roles::name_of(context, oid).map(|name| quote_ident(&name)),
        };
        // An object that is not in the path of the session is written with its schema; types of ours are in `public`.
        let hidden = self == Self::Type && oid >= oid::FIRST_USER && {
            !search_path(config).iter().any(|schema| schema == "public")
        };
        match name {
            Some(name) if hidden => format!("public.{name}"),
            Some(name) => name,
            None => oid.to_string(),
        }
    }
}

fn function_schema(context: &PgContext, function: u32) -> &str {
    let namespace = fixed::namespace_of(function);
    context
        .objects()
        .namespace(namespace)
        .unwrap_or("pg_catalog")
}

/// The type of that name whose values are read and written by functions of this module, if the field says it is one.
pub fn reg_type_of(field: &Field) -> Option<RegType> {
    let is_number = field.data_type().is_integer();
    let name = field.metadata().get(SQL_TYPE_KEY).filter(|_| is_number)?;
    RegType::of_name(name)
}

/// Schema and name of `schema.name`, without quotes and folded as SQL folds names.
fn split_name(text: &str) -> (Option<String>, String) {
    let mut parts = vec![String::new()];
    let (mut quoted, mut characters) = (false, text.chars().peekable());
    while let Some(c) = characters.next() {
        let last = parts.len() - 1;
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                parts[last].push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c if quoted => parts[last].push(c),
            // Around dots it says nothing; `double precision` is one name.
            c if c.is_whitespace() && (parts[last].is_empty() || at_dot(characters.clone())) => {}
            c => parts[last].extend(c.to_lowercase()),
        }
    }
    let name = parts.pop().unwrap_or_default();
    (parts.pop(), name)
}

fn at_dot(mut rest: impl Iterator<Item = char>) -> bool {
    rest.find(|c| !c.is_whitespace()).is_none_or(|c| c == '.')
}

/// The OID of a type that CREATE TYPE made.
fn user_type(context: &PgContext, config: &ConfigOptions, text: &str) -> Option<u32> {
    let (text, prefix) = match text.trim().strip_suffix("[]") {
        Some(element) => (element, "_"),
        None => (text, ""),
    };
    let (schema, name) = split_name(text);
    let name = format!("{prefix}{name}");
    let path = search_path(config);
    context.objects().find_type(schema.as_deref(), &name, &path)
}

/// The OID of a type as SQL names it.
fn type_of_sql(text: &str) -> Option<u32> {
    let text = text.trim();
    if let Some(element) = text.strip_suffix("[]") {
        let element = named_type(type_of_sql(element)?)?;
        return Some(element.array).filter(|oid| *oid != 0);
    }
    let quoted = text.starts_with('"');
    let (_, name) = split_name(text);
    // `numeric(10,2)` and `timestamp(3) with time zone` are the types without what is in parentheses.
    let name = match (name.find('('), name.find(')')) {
        (Some(from), Some(to)) if from < to && !quoted => {
            format!("{}{}", name[..from].trim_end(), &name[to + 1..])
        }
        _ => name,
    };
    let words: Vec<&str> = name.split_whitespace().collect();
    let name = match words.join(" ").as_str() {
        "char" if !quoted => "bpchar",
        "boolean" => "bool",
        "smallint" => "int2",
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "real" => "float4",
        "float" | "double precision" => "float8",
        "decimal" | "dec" => "numeric",
        "character varying" | "char varying" => "varchar",
        "character" => "bpchar",
        "bit varying" => "varbit",
        "time without time zone" => "time",
        "time with time zone" => "timetz",
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        name => return fixed::type_of_name(name).map(|t| t.oid),
    };
    fixed::type_of_name(name).map(|t| t.oid)
}

/// The OID of `name(type, type)`.
fn procedure(text: &str) -> Option<u32> {
    let (name, arguments) = text.strip_suffix(')')?.split_once('(')?;
    let (_, name) = split_name(name);
    let arguments = arguments.split(',').filter(|a| !a.trim().is_empty());
    let wanted = arguments.map(|a| type_of_sql(a).map(|oid| oid.to_string()));
    let wanted = wanted.collect::<Option<Vec<_>>>()?.join(" ");
    let mut all = functions_of_name(&name).into_iter();
    all.find(|f| f.arguments == wanted).map(|f| f.oid)
}

/// The OID of `name(type, type)` of a function that users made.
fn user_routine(context: &PgContext, config: &ConfigOptions, text: &str) -> Option<u32> {
    let (name, arguments) = text.strip_suffix(')')?.split_once('(')?;
    let (schema, name) = split_name(name);
    let arguments = arguments.split(',').filter(|a| !a.trim().is_empty());
    let wanted = arguments.map(|a| type_of_sql(a).or_else(|| user_type(context, config, a)));
    let wanted = wanted.collect::<Option<Vec<u32>>>()?;
    routines::find(context, config, schema.as_deref(), &name, Some(&wanted))
}

/// What a [`Conversion`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Direction {
    /// Text to OID, as a cast reads it.
    Read,
    /// OID to text.
    Write,
    /// OID to text that says to clients what it stands for.
    Show,
}

/// The functions that casts of these types call.
pub(super) fn conversions() -> impl Iterator<Item = ScalarUDF> {
    let directions = [Direction::Read, Direction::Write, Direction::Show];
    let of = move |reg| directions.into_iter().map(move |d| Conversion::new(reg, d));
    RegType::ALL
        .into_iter()
        .flat_map(of)
        .map(ScalarUDF::new_from_impl)
}

impl RegType {
    /// The function of text that gives the OID.
    pub fn reading(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Conversion::new(
            self,
            Direction::Read,
        )))
    }

    /// The function of an OID that gives the name as text.
    pub fn writing(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Conversion::new(
            self,
            Direction::Write,
        )))
    }

    /// The function of an OID that gives the name, still under the name of this type.
    pub fn showing(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Conversion::new(
            self,
            Direction::Show,
        )))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Conversion {
    reg: RegType,
    direction: Direction,
    name: String,
    signature: Signature,
}

impl Conversion {
    fn new(reg: RegType, direction: Direction) -> Self {
        let suffix = match direction {
            Direction::Read => "in",
            Direction::Write => "out",
            Direction::Show => "_shown",
        };
        Self {
            reg,
            direction,
            name: format!("{}{suffix}", reg.name()),
            signature: Signature::any(1, Volatility::Stable),
        }
    }

    fn kind(&self) -> Kind {
        match self.direction {
            Direction::Read => Kind::Oid(self.reg.name()),
            Direction::Write => Kind::Text("text"),
            Direction::Show => Kind::Text(self.reg.name()),
        }
    }
}

impl ScalarUDFImpl for Conversion {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.kind().data_type())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(self.kind().field(&self.name)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let config = &args.config_options;
        let context = PgContext::of(config)?;
        by_row(&args, &self.kind(), |arguments| {
            let call = Call {
                context,
                config,
                arguments,
                fields: &args.arg_fields,
            };
            let Some(text) = call.text(0) else {
                return Ok(Value::Null);
            };
            Ok(match self.direction {
                Direction::Read => self.reg.read(context, config, &text)?.into(),
                Direction::Write | Direction::Show => {
                    let oid = call.oid(0).unwrap_or(0);
                    self.reg.write(context, config, oid).into()
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::pg_type::oid;

    #[test]
    fn types_are_found_by_all_their_names() {
        for (text, expected) in [
            ("integer", oid::INT4),
            ("int4", oid::INT4),
            ("pg_catalog.int4", oid::INT4),
            ("character varying(20)", oid::VARCHAR),
            ("timestamp(3) with time zone", oid::TIMESTAMPTZ),
            ("\"char\"", oid::CHAR),
            ("char", oid::BPCHAR),
            ("text[]", oid::TEXT_ARRAY),
            ("public.vector", oid::VECTOR),
            ("vector(3)", oid::VECTOR),
            ("VECTOR", oid::VECTOR),
        ] {
            assert_eq!(type_of_sql(text), Some(expected), "{text}");
        }
        assert_eq!(type_of_sql("colour"), None);
        assert_eq!(type_of_sql("hstore"), None);
    }

    #[test]
    fn names_are_split_and_folded() {
        let named = |text: &str| split_name(text);
        assert_eq!(named("Book"), (None, "book".to_string()));
        assert_eq!(
            named("a.\"B.c\""),
            (Some("a".to_string()), "B.c".to_string())
        );
        assert_eq!(named("\"a\"\"b\""), (None, "a\"b".to_string()));
    }
}
