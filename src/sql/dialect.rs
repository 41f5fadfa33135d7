//! PostgreSQL's dialect for one parse, which ends when it takes more steps than its text can need.
//!
//! sqlparser tries one reading of some texts, and then another of the same tokens: nested brackets of the wrong kind
//! are then read twice at every level, 2^n times in all. Steps are counted where the dialect is asked, and an
//! exhausted budget is the one error that ends all attempts.

use std::any::TypeId;
use std::cell::Cell;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Ident, ObjectNamePart, UnaryOperator};
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::parser::is_subscript;
use super::tokens::DIALECT;
use super::walk;

/// Steps that any text may take; about 2 microseconds each.
const STEPS_MIN: usize = 50_000;
/// Further steps for each token. Without second attempts an operand and an operator take one each.
const STEPS_PER_TOKEN: usize = 16;

/// PostgreSQL's dialect with a budget.
#[derive(Debug)]
pub(super) struct BoundedDialect {
    steps_left: Cell<usize>,
    /// Whether a relation may be followed by the version that is meant.
    has_versions: bool,
}

impl BoundedDialect {
    /// For a parse of so many tokens.
    pub fn new(tokens: usize) -> Self {
        Self {
            steps_left: Cell::new(STEPS_MIN + STEPS_PER_TOKEN * tokens),
            has_versions: false,
        }
    }

    /// The same for a statement that names versions. Others may call a table `at` or `before`, which sqlparser then
    /// takes for the beginning of a version.
    pub fn with_versions(mut self, has_versions: bool) -> Self {
        self.has_versions = has_versions;
        self
    }

    /// A step for each part of what is about to be written twice: such copies within copies grow without bounds.
    fn copy(&self, expr: &Expr) -> Result<(), ParserError> {
        let mut stepped = Ok(());
        let _ = walk::read_expressions(expr, |_| {
            stepped = self.step();
            match stepped {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        stepped
    }

    /// `x [NOT] BETWEEN {SYMMETRIC | ASYMMETRIC} a AND b`, after `x`; none where something else follows.
    ///
    /// With SYMMETRIC the bounds may stand in any order: `x BETWEEN a AND b OR x BETWEEN b AND a`.
    fn between(&self, parser: &mut Parser, expr: &Expr) -> Result<Option<Expr>, ParserError> {
        let word = |n: usize| match &parser.peek_nth_token_ref(n).token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_uppercase(),
            _ => String::new(),
        };
        let negated = word(0) == "NOT";
        let at = usize::from(negated);
        if word(at) != "BETWEEN" {
            return Ok(None);
        }
        let is_symmetric = match word(at + 1).as_str() {
            "SYMMETRIC" => true,
            "ASYMMETRIC" => false,
            _ => return Ok(None),
        };
        for _ in 0..at + 2 {
            parser.next_token();
        }
        let precedence = DIALECT.prec_value(Precedence::Between);
        let low = parser.parse_subexpr(precedence)?;
        parser.expect_keyword_is(Keyword::AND)?;
        let high = parser.parse_subexpr(precedence)?;
        let within = |low: &Expr, high: &Expr| Expr::Between {
            expr: Box::new(expr.clone()),
            negated,
            low: Box::new(low.clone()),
            high: Box::new(high.clone()),
        };
        if !is_symmetric {
            return Ok(Some(within(&low, &high)));
        }
        for copied in [expr, &low, &high] {
            self.copy(copied)?;
        }
        let op = match negated {
            true => BinaryOperator::And,
            false => BinaryOperator::Or,
        };
        Ok(Some(Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(within(&low, &high)),
            op,
            right: Box::new(within(&high, &low)),
        }))))
    }

    /// An operator before its only operand, which binds as PostgreSQL has it: a sign before `^`, others after `+`.
    fn prefix_operator(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let (op, binds) = match &parser.peek_token_ref().token {
            Token::Minus => (UnaryOperator::Minus, Precedence::AtTz),
            Token::Plus => (UnaryOperator::Plus, Precedence::AtTz),
            Token::Tilde => (UnaryOperator::BitwiseNot, Precedence::PgOther),
            Token::PGSquareRoot => (UnaryOperator::PGSquareRoot, Precedence::PgOther),
            Token::PGCubeRoot => (UnaryOperator::PGCubeRoot, Precedence::PgOther),
            Token::AtSign => (UnaryOperator::PGAbs, Precedence::PgOther),
            _ => return None,
        };
        parser.next_token();
        let operand = parser.parse_subexpr(DIALECT.prec_value(binds));
        let signed = |expr: Expr| Expr::UnaryOp {
            op,
            expr: Box::new(expr),
        };
        Some(operand.map(signed))
    }

    fn step(&self) -> Result<(), ParserError> {
        let left = self.steps_left.get();
        self.steps_left.set(left.saturating_sub(1));
        match left {
            0 => Err(ParserError::RecursionLimitExceeded),
            _ => Ok(()),
        }
    }
}

/// Answers as PostgreSQL's dialect does.
macro_rules! as_postgres {
    ($($method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {
        $( fn $method(&self, $($argument: $type),*) -> $answer {
            DIALECT.$method($($argument),*)
        } )+
    };
}

impl Dialect for BoundedDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        match self.step() {
            Ok(()) => self
                .prefix_operator(parser)
                .or_else(|| DIALECT.parse_prefix(parser)),
            Err(exhausted) => Some(Err(exhausted)),
        }
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match self.step() {
            Ok(()) => DIALECT.get_next_precedence(parser),
            Err(exhausted) => Some(Err(exhausted)),
        }
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        self.between(parser, expr).transpose()
    }

    /// `f(name => value)` has a word before the arrow, never an expression; to look for one reads every argument twice.
    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn supports_table_versioning(&self) -> bool {
        self.has_versions
    }

    /// Subscripts of what is assigned to are read as such.
    fn is_identifier_generating_function_name(
        &self,
        ident: &Ident,
        _name_parts: &[ObjectNamePart],
    ) -> bool {
        is_subscript(ident)
    }

    as_postgres! {
        identifier_quote_style(identifier: &str) -> Option<char>;
        is_delimited_identifier_start(ch: char) -> bool;
        is_identifier_start(ch: char) -> bool;
        is_identifier_part(ch: char) -> bool;
        supports_unicode_string_literal() -> bool;
        is_reserved_for_identifier(keyword: Keyword) -> bool;
        is_custom_operator_part(ch: char) -> bool;
        supports_filter_during_aggregation() -> bool;
        supports_group_by_expr() -> bool;
        prec_value(precedence: Precedence) -> u8;
        allow_extract_custom() -> bool;
        allow_extract_single_quotes() -> bool;
        supports_create_index_with_clause() -> bool;
        supports_explain_with_utility_options() -> bool;
        supports_listen_notify() -> bool;
        supports_factorial_operator() -> bool;
        supports_bitwise_shift_operators() -> bool;
        supports_comment_on() -> bool;
        supports_load_extension() -> bool;
        supports_named_fn_args_with_colon_operator() -> bool;
        supports_empty_projections() -> bool;
        supports_nested_comments() -> bool;
        supports_string_escape_constant() -> bool;
        supports_numeric_literal_underscores() -> bool;
        supports_array_typedef_with_brackets() -> bool;
        supports_geometric_types() -> bool;
        supports_set_names() -> bool;
        supports_alter_column_type_using() -> bool;
        supports_notnull_operator() -> bool;
        supports_interval_options() -> bool;
        supports_insert_table_alias() -> bool;
        supports_create_table_like_parenthesized() -> bool;
        supports_select_wildcard_with_alias() -> bool;
        supports_comma_separated_trim() -> bool;
        supports_xml_expressions() -> bool;
        supports_comment_optimizer_hint() -> bool;
    }
}
