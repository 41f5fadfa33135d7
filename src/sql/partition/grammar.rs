//! The grammar of partitions.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Bound, CreatePartition, End, PartitionBy};
use crate::error::{Error, Result, sqlstate};
use crate::sql::parser::Grammar;
use crate::sql::statement::{AlterAction, CreateCollection, Persistence, Statement};

/// `strategy (column, ..)`, behind PARTITION BY.
pub(in crate::sql) fn partition_by(grammar: &mut Grammar<'_>) -> Result<PartitionBy> {
    let strategy = grammar.parser.parse_identifier()?;
    grammar.parser.expect_token(&Token::LParen)?;
    let columns = grammar.comma_separated(key_column)?;
    grammar.parser.expect_token(&Token::RParen)?;
    Ok(PartitionBy { strategy, columns })
}

fn key_column(grammar: &mut Grammar<'_>) -> Result<Ident> {
    let next = |g: &Grammar<'_>, n| g.parser.peek_nth_token_ref(n).token.clone();
    if next(grammar, 0) == Token::LParen || next(grammar, 1) == Token::LParen {
        let message = "expressions in partition keys are not supported";
        return Err(Error::unsupported(message).with_hint(
            "Divide the table by a column, which may have the value of the expression.",
        ));
    }
    let name = grammar.parser.parse_identifier()?;
    if !matches!(next(grammar, 0), Token::Comma | Token::RParen) {
        let message = "collations and operator classes in partition keys are not supported";
        return Err(Error::unsupported(message));
    }
    Ok(name)
}

/// `parent {FOR VALUES .. | DEFAULT}`, behind the name of the table and PARTITION OF.
pub(in crate::sql) fn partition_of(
    grammar: &mut Grammar<'_>,
    create: CreateCollection,
) -> Result<Statement> {
    let parent = grammar.name()?;
    if grammar.parser.peek_token_ref().token == Token::LParen {
        let message = "columns and constraints of a partition of its own are not supported";
        return Err(Error::unsupported(message)
            .with_hint("A partition has the columns and constraints of its table."));
    }
    let bound = bound(grammar)?;
    if grammar.accept(&["PARTITION", "BY"]) {
        return Err(subpartitions());
    }
    if grammar.accept(&["WITH"]) {
        // They are about pages, which there are none of.
        grammar.options()?;
    }
    if grammar.accept(&["TABLESPACE"]) {
        grammar.parser.parse_identifier()?;
    }
    Ok(Statement::CreatePartition(Box::new(CreatePartition {
        name: create.name,
        if_not_exists: create.if_not_exists,
        temporary: matches!(create.persistence, Persistence::Temporary(_)),
        parent,
        bound,
    })))
}

/// 0A000: a partition is not partitioned.
pub(super) fn subpartitions() -> Error {
    Error::unsupported("partitions of partitions are not supported")
        .with_hint("A key of several columns divides as finely: PARTITION BY RANGE (a, b).")
}

/// ATTACH and DETACH PARTITION; none for another action.
pub(in crate::sql) fn partitions_of_table(
    grammar: &mut Grammar<'_>,
) -> Result<Option<AlterAction>> {
    if grammar.accept(&["ATTACH", "PARTITION"]) {
        let name = grammar.name()?;
        let bound = Box::new(bound(grammar)?);
        return Ok(Some(AlterAction::AttachPartition { name, bound }));
    }
    if grammar.accept(&["DETACH", "PARTITION"]) {
        let name = grammar.name()?;
        // It takes one commit in any case.
        let _ = grammar.accept(&["CONCURRENTLY"]) || grammar.accept(&["FINALIZE"]);
        return Ok(Some(AlterAction::DetachPartition { name }));
    }
    Ok(None)
}

fn bound(grammar: &mut Grammar<'_>) -> Result<Bound> {
    if grammar.accept(&["DEFAULT"]) {
        return Ok(Bound::Default);
    }
    grammar.expect(&["FOR", "VALUES"])?;
    if grammar.accept(&["IN"]) {
        grammar.parser.expect_token(&Token::LParen)?;
        let values = grammar.comma_separated(|g| Ok(g.parser.parse_expr()?))?;
        grammar.parser.expect_token(&Token::RParen)?;
        return Ok(Bound::List(values));
    }
    if grammar.accept(&["FROM"]) {
        let from = ends(grammar)?;
        grammar.expect(&["TO"])?;
        return Ok(Bound::Range(from, ends(grammar)?));
    }
    if grammar.accept(&["WITH"]) {
        return hash(grammar);
    }
    Err(grammar.unexpected("IN, FROM or WITH"))
}

fn ends(grammar: &mut Grammar<'_>) -> Result<Vec<End>> {
    grammar.parser.expect_token(&Token::LParen)?;
    let ends = grammar.comma_separated(|g| {
        if g.accept(&["MINVALUE"]) {
            return Ok(End::Min);
        }
        if g.accept(&["MAXVALUE"]) {
            return Ok(End::Max);
        }
        Ok(End::Value(Box::new(g.parser.parse_expr()?)))
    })?;
    grammar.parser.expect_token(&Token::RParen)?;
    Ok(ends)
}

fn hash(grammar: &mut Grammar<'_>) -> Result<Bound> {
    let (mut modulus, mut remainder) = (None, None);
    grammar.parser.expect_token(&Token::LParen)?;
    grammar.comma_separated(|g| {
        let (slot, name) = match g.word(0).as_str() {
            "MODULUS" => (&mut modulus, "modulus"),
            "REMAINDER" => (&mut remainder, "remainder"),
            other => {
                let other = other.to_lowercase();
                let message =
                    format!("unrecognized hash partition bound specification \"{other}\"");
                return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
            }
        };
        g.skip(1);
        let number = i64::try_from(g.parser.parse_literal_uint()?).unwrap_or(i64::MAX);
        if slot.replace(number).is_some() {
            let message = format!("{name} for hash partition provided more than once");
            return Err(Error::invalid(sqlstate::DUPLICATE_OBJECT, message));
        }
        Ok(())
    })?;
    grammar.parser.expect_token(&Token::RParen)?;
    let missing = |name: &str| {
        let message = format!("{name} for hash partition must be specified");
        Error::invalid(sqlstate::SYNTAX_ERROR, message)
    };
    let modulus = modulus.ok_or_else(|| missing("modulus"))?;
    let remainder = remainder.ok_or_else(|| missing("remainder"))?;
    Ok(Bound::Hash(modulus, remainder))
}
