//! Functions in SQL: queries and statements with parameters that are called by a name.
//!
//! A function is kept as its author wrote it, and planned where it is called. Types are kept resolved: an enum by its
//! definition, whose newest is that of the snapshot; a domain by its id.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::change::QualifiedName;
use super::schema::{CollectionId, ColumnType, FunctionId, TypeId};

/// A function.
///
/// Invariant: no two of a name have the same types of arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// Its identity; a rename and a replacement keep it.
    pub id: FunctionId,
    /// Its name.
    pub name: QualifiedName,
    /// Its parameters, those that are columns of its result among them.
    pub parameters: Vec<Parameter>,
    /// What a call gives.
    pub returns: Returns,
    /// Whether a call gives any number of rows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub returns_set: bool,
    /// What it does.
    pub body: Body,
    /// How its value may change.
    pub volatility: Volatility,
    /// Whether a NULL among its arguments makes its value NULL.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_strict: bool,
    /// Whether it has the rights of its owner: SECURITY DEFINER.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_definer: bool,
    /// LEAKPROOF, COST, ROWS and PARALLEL, which nothing follows and the catalogs tell.
    #[serde(default, skip_serializing_if = "Hints::is_usual")]
    pub hints: Hints,
    /// Where names are looked up that have no SQL schema; `None` is the path of who calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search_path: Option<Vec<String>>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The type of a parameter or a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValueType {
    /// The type of the values; a vector of dimension 0 is one of any.
    pub column_type: ColumnType,
    /// The domain that they are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<TypeId>,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which way its values go.
    pub mode: Mode,
    /// Its type.
    pub value_type: ValueType,
    /// The DEFAULT as its author wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// Which way the values of a parameter go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// IN.
    In,
    /// OUT.
    Out,
    /// INOUT.
    InOut,
    /// VARIADIC: the last, an array of all the arguments that are left.
    Variadic,
    /// A column of RETURNS TABLE.
    Table,
}

/// What a call gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Returns {
    /// A value.
    Value(ValueType),
    /// A row of a collection.
    Row(CollectionId),
    /// The parameters that go out, several of them.
    Record,
}

/// What a function does, as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// `AS '..'`: statements, looked at when the function is called.
    Text(String),
    /// `AS '..'` in PL/pgSQL: a block around a query or an expression, looked at when the function is called.
    Block(String),
    /// `RETURN expression`.
    Return(String),
    /// `BEGIN ATOMIC .. END`: the statements between.
    Atomic(String),
}

impl Body {
    /// The text of the statements, or of the expression.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Block(text) | Self::Return(text) | Self::Atomic(text) => text,
        }
    }

    /// Whether its names are looked up when the function is called, rather than when it is made.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Block(_))
    }
}

/// How the value of a function may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Volatility {
    /// Never.
    Immutable,
    /// From one statement to the next.
    Stable,
    /// At any time.
    Volatile,
}

/// What a planner may be told of a function.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Hints {
    /// LEAKPROOF.
    #[serde(default, skip_serializing_if = "is_false")]
    pub leakproof: bool,
    /// COST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// ROWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<f64>,
    /// PARALLEL.
    #[serde(default)]
    pub parallel: Parallel,
}

/// PARALLEL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parallel {
    /// UNSAFE.
    #[default]
    Unsafe,
    /// RESTRICTED.
    Restricted,
    /// SAFE.
    Safe,
}

impl Hints {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl Parameter {
    /// Whether calls give it a value.
    pub fn is_input(&self) -> bool {
        matches!(self.mode, Mode::In | Mode::InOut | Mode::Variadic)
    }

    /// Whether it is a column of the result.
    pub fn is_output(&self) -> bool {
        matches!(self.mode, Mode::Out | Mode::InOut | Mode::Table)
    }
}

impl Function {
    /// The parameters that calls give values.
    pub fn inputs(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|p| p.is_input())
    }

    /// The parameters that are columns of the result.
    pub fn outputs(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|p| p.is_output())
    }

    /// The types of its parameters and of its value.
    pub fn types(&self) -> impl Iterator<Item = &ValueType> {
        let result = match &self.returns {
            Returns::Value(of) => Some(of),
            _ => None,
        };
        self.parameters.iter().map(|p| &p.value_type).chain(result)
    }

    /// The types, to be changed.
    pub fn types_mut(&mut self) -> impl Iterator<Item = &mut ValueType> {
        let result = match &mut self.returns {
            Returns::Value(of) => Some(of),
            _ => None,
        };
        let parameters = self.parameters.iter_mut().map(|p| &mut p.value_type);
        parameters.chain(result)
    }

    /// Whether another function has the same name for calls: that and the types of the arguments.
    pub fn is_called_as(&self, other: &Self) -> bool {
        let types = |of: &Self| -> Vec<String> {
            let inputs = of.inputs();
            inputs.map(|p| p.value_type.identity()).collect()
        };
        self.name == other.name && types(self) == types(other)
    }
}

impl ValueType {
    /// What tells the type from others: modifiers do not, of which functions know nothing.
    fn identity(&self) -> String {
        match (self.domain, self.column_type.enum_type()) {
            (Some(domain), _) => format!("type {domain}"),
            (None, Some(of)) => format!(
                "type {}{}",
                of.id,
                if matches!(self.column_type, ColumnType::Array(_)) {
                    "[]"
                } else {
                    ""
                }
            ),
            _ => plain_name(&self.column_type),
        }
    }
}

/// The name of a type without modifiers.
fn plain_name(of: &ColumnType) -> String {
    match of {
        ColumnType::Array(element) => format!("{}[]", plain_name(element)),
        other => {
            let text = other.base().to_string();
            let end = text.find('(').unwrap_or(text.len());
            match &text[..end] {
                "character" => "bpchar".to_string(),
                name => name.to_string(),
            }
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {} ({})", self.name, self.id)
    }
}
