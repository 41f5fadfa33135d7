//! `x op ANY (..)` and `x op ALL (..)`.
//!
//! Of a subquery, `= ANY` is IN and `<> ALL` is NOT IN; of others, the array of its values is asked. Of elements that are
//! written out, it is the chain of the comparisons, by which a filter is pruned. Of any other array, `array_has` tells
//! whether it has the value; with other operators a lambda compares each element: `ANY` is `array_any_match(array, e -> x op e)`, `ALL` is that no element fails. Where no comparison decides
//! and one is NULL, both are NULL.

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Ident, LambdaFunction, LambdaFunctionParameter, LambdaSyntax,
    OneOrManyWithParens, Query, UnaryOperator, Value,
};

use super::build::{binary, call, cast_as, nested};
use super::gather::{gather, gather_rows};
use super::rows::{balanced, compare_rows};
use crate::catalog::pg::functions::ARRAY_OR_EMPTY;
use crate::sql::any_element::ARRAY_HAS;

/// The name of an element in a lambda; no user's name has a blank at its end by chance.
const ELEMENT: &str = "element ";
/// The most elements that a chain is made of.
const CHAIN_MAX: usize = 1_000;

/// The comparison as DataFusion answers it; `None` of one that it answers right as it is.
pub(super) fn compare_quantified(expr: &Expr) -> Option<Expr> {
    let (left, op, right, all) = match expr {
        Expr::AnyOp {
            left,
            compare_op,
            right,
            ..
        } => (left, compare_op, right, false),
        Expr::AllOp {
            left,
            compare_op,
            right,
        } => (left, compare_op, right, true),
        _ => return None,
    };
    let quantified = Quantified {
        left,
        op,
        right,
        all,
    };
    quantified.compared()
}

struct Quantified<'a> {
    left: &'a Expr,
    op: &'a BinaryOperator,
    right: &'a Expr,
    all: bool,
}

impl Quantified<'_> {
    fn compared(&self) -> Option<Expr> {
        match without_brackets(self.right) {
            Expr::Subquery(query) if self.is_in() => Some(nested(Expr::InSubquery {
                expr: Box::new(operand(self.left)),
                subquery: query.clone(),
                negated: self.all,
            })),
            Expr::Subquery(query) => self.each(array_of(query)?),
            Expr::Array(array) => {
                let elements = array.elem.as_slice();
                let is_answered = elements.iter().all(is_null) || elements.iter().all(is_known);
                if self.is_in() && is_answered {
                    return None;
                }
                self.chained(elements)
                    .or_else(|| self.each(self.right.clone()))
            }
            _ if self.is_in() => Some(self.among()),
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => {
                let text = ast::DataType::Text;
                let texts = ast::ArrayElemTypeDef::SquareBracket(Box::new(text), None);
                let texts = ast::DataType::Array(texts);
                is_pattern(self.op).then(|| self.each(cast_as(self.right.clone(), texts)))?
            }
            _ => self.each(self.right.clone()),
        }
    }

    /// Whether it says the same as IN or NOT IN.
    fn is_in(&self) -> bool {
        match self.op {
            BinaryOperator::Eq => !self.all,
            BinaryOperator::NotEq => self.all,
            _ => false,
        }
    }

    /// Whether an array has the value, or has it not.
    fn among(&self) -> Expr {
        let among = call(ARRAY_HAS, vec![self.right.clone(), self.left.clone()]);
        match self.all {
            true => nested(not(among)),
            false => among,
        }
    }

    /// The comparisons with elements, one after the other.
    fn chained(&self, elements: &[Expr]) -> Option<Expr> {
        let is_cheap = matches!(
            without_brackets(self.left),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_)
        );
        let is_nested = elements.iter().any(|e| matches!(e, Expr::Array(_)));
        if !is_cheap || is_nested || elements.len() > CHAIN_MAX {
            return None;
        }
        let terms: Vec<Expr> = elements.iter().map(|e| self.compare(e.clone())).collect();
        let op = match self.all {
            true => BinaryOperator::And,
            false => BinaryOperator::Or,
        };
        balanced(&terms, &op).map(nested)
    }

    /// The comparisons with whatever elements an array has.
    fn each(&self, array: Expr) -> Option<Expr> {
        let element = Ident::with_quote('"', ELEMENT);
        let compared = self.compare(Expr::Identifier(element.clone()));
        let body = match self.all {
            true => not(compared),
            false => compared,
        };
        let lambda = Expr::Lambda(LambdaFunction {
            params: OneOrManyWithParens::One(LambdaFunctionParameter {
                name: element,
                data_type: None,
            }),
            body: Box::new(body),
            syntax: LambdaSyntax::Arrow,
        });
        let any = call("array_any_match", vec![array, lambda]);
        Some(match self.all {
            true => nested(not(any)),
            false => any,
        })
    }

    fn compare(&self, element: Expr) -> Expr {
        let (left, element) = (operand(self.left), operand(&element));
        if let Some(rows) = compare_rows(&left, self.op, &element) {
            return rows;
        }
        use BinaryOperator::{PGILikeMatch, PGLikeMatch, PGNotILikeMatch, PGNotLikeMatch};
        let (negated, any, escape_char) = (
            matches!(self.op, PGNotLikeMatch | PGNotILikeMatch),
            false,
            None,
        );
        let (expr, pattern) = (Box::new(left), Box::new(element));
        match self.op {
            PGLikeMatch | PGNotLikeMatch => Expr::Like {
                negated,
                any,
                expr,
                pattern,
                escape_char,
            },
            PGILikeMatch | PGNotILikeMatch => Expr::ILike {
                negated,
                any,
                expr,
                pattern,
                escape_char,
            },
            op => binary(*expr, op.clone(), *pattern),
        }
    }
}

/// Whether the right side is the pattern of a text.
fn is_pattern(op: &BinaryOperator) -> bool {
    !matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
    )
}

/// The array of the values that a query of one column gives.
fn array_of(query: &Query) -> Option<Expr> {
    let mut gathered = query.clone();
    if gather(&mut gathered).is_none() {
        gathered = gather_rows(query.clone())?;
    }
    let array = Expr::Subquery(Box::new(gathered));
    Some(call(ARRAY_OR_EMPTY, vec![array]))
}

fn without_brackets(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => without_brackets(inner),
        expr => expr,
    }
}

/// A side of an operator, in brackets where it might be read otherwise.
fn operand(expr: &Expr) -> Expr {
    match expr {
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::Value(_)
        | Expr::Function(_)
        | Expr::Nested(_)
        | Expr::Tuple(_)
        | Expr::Cast { .. } => expr.clone(),
        expr => nested(expr.clone()),
    }
}

/// Whether it is a literal, and not NULL.
fn is_known(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if value.value != Value::Null)
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if value.value == Value::Null)
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp {
        op: UnaryOperator::Not,
        expr: Box::new(nested(expr)),
    }
}
