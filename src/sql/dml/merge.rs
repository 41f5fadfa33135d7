//! MERGE: a join of a source with the collection, and what the first WHEN that applies does about each of its rows.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{
    self, Join, JoinConstraint, JoinOperator, ObjectName, TableFactor, TableWithJoins,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::assign::{assignments, whole_columns};
use super::choose::{case, choose, named_by_place, number};
use super::{Target, select, targets_of_values};
use crate::catalog::dml::{Action, DmlNode, Merge, Operation};
use crate::error::{Error, Result, sqlstate};
use crate::sql::ddl::qualify;
use crate::sql::parser::Grammar;
use crate::sql::session::Planning;
use crate::sql::updatable::Verb;

/// MERGE INTO.
#[derive(Debug, Clone)]
pub struct MergeStatement {
    target: TableFactor,
    source: TableFactor,
    on: ast::Expr,
    clauses: Vec<Clause>,
}

/// WHEN [NOT] MATCHED [AND ..] THEN ..
#[derive(Debug, Clone)]
struct Clause {
    matched: bool,
    condition: Option<ast::Expr>,
    act: Act,
}

#[derive(Debug, Clone)]
enum Act {
    Nothing,
    Delete,
    Update(Vec<ast::Assignment>),
    /// No values are DEFAULT VALUES.
    Insert(Vec<ObjectName>, Vec<ast::Expr>),
}

impl Act {
    fn stores(&self) -> bool {
        matches!(self, Self::Update(_) | Self::Insert(..))
    }
}

/// Parses MERGE.
pub(in crate::sql) fn parse(grammar: &mut Grammar<'_>) -> Result<MergeStatement> {
    let parser = &mut grammar.parser;
    parser.expect_keywords(&[Keyword::MERGE, Keyword::INTO])?;
    let target = parser.parse_table_factor()?;
    parser.expect_keyword(Keyword::USING)?;
    let source = parser.parse_table_factor()?;
    parser.expect_keyword(Keyword::ON)?;
    let on = parser.parse_expr()?;
    let mut clauses = Vec::new();
    while grammar.parser.parse_keyword(Keyword::WHEN) {
        clauses.push(clause(grammar)?);
    }
    if clauses.is_empty() {
        grammar.parser.expect_keyword(Keyword::WHEN)?;
    }
    Ok(MergeStatement {
        target,
        source,
        on,
        clauses,
    })
}

fn clause(grammar: &mut Grammar<'_>) -> Result<Clause> {
    let parser = &mut grammar.parser;
    let matched = !parser.parse_keyword(Keyword::NOT);
    parser.expect_keyword(Keyword::MATCHED)?;
    let condition = match parser.parse_keyword(Keyword::AND) {
        true => Some(parser.parse_expr()?),
        false => None,
    };
    parser.expect_keyword(Keyword::THEN)?;
    let act = if parser.parse_keywords(&[Keyword::DO, Keyword::NOTHING]) {
        Act::Nothing
    } else if matched && parser.parse_keyword(Keyword::DELETE) {
        Act::Delete
    } else if matched {
        parser.expect_keywords(&[Keyword::UPDATE, Keyword::SET])?;
        Act::Update(parser.parse_comma_separated(|p| p.parse_assignment())?)
    } else {
        parser.expect_keyword(Keyword::INSERT)?;
        insert(grammar)?
    };
    Ok(Clause {
        matched,
        condition,
        act,
    })
}

fn insert(grammar: &mut Grammar<'_>) -> Result<Act> {
    let parser = &mut grammar.parser;
    let mut columns = Vec::new();
    if parser.consume_token(&Token::LParen) {
        columns = parser.parse_comma_separated(|p| p.parse_object_name(false))?;
        parser.expect_token(&Token::RParen)?;
    }
    if parser.parse_keywords(&[Keyword::DEFAULT, Keyword::VALUES]) {
        return Ok(Act::Insert(columns, Vec::new()));
    }
    parser.expect_keyword(Keyword::VALUES)?;
    parser.expect_token(&Token::LParen)?;
    let values = parser.parse_comma_separated(|p| p.parse_expr())?;
    parser.expect_token(&Token::RParen)?;
    Ok(Act::Insert(columns, values))
}

impl MergeStatement {
    /// Shows all SQL of it: tables, and expressions.
    pub(in crate::sql) fn try_for_each(
        &mut self,
        table: &mut dyn FnMut(&mut TableFactor) -> Result<()>,
        expr: &mut dyn FnMut(&mut ast::Expr) -> Result<()>,
    ) -> Result<()> {
        table(&mut self.source)?;
        expr(&mut self.on)?;
        for clause in &mut self.clauses {
            clause.condition.as_mut().map_or(Ok(()), &mut *expr)?;
            match &mut clause.act {
                Act::Update(values) => values.iter_mut().try_for_each(|v| expr(&mut v.value))?,
                Act::Insert(_, values) => values.iter_mut().try_for_each(&mut *expr)?,
                Act::Nothing | Act::Delete => {}
            }
        }
        Ok(())
    }

    /// What it may do.
    fn does(&self) -> Merge {
        let any = |is: fn(&Act) -> bool| self.clauses.iter().any(|clause| is(&clause.act));
        Merge {
            sets: self.clauses.iter().filter(|c| c.act.stores()).count(),
            inserts: any(|act| matches!(act, Act::Insert(..))),
            updates: any(|act| matches!(act, Act::Update(_))),
            deletes: any(|act| matches!(act, Act::Delete)),
            by_key: None,
        }
    }

    /// That each clause can apply.
    fn check_reachable(&self) -> Result<()> {
        for matched in [true, false] {
            let clauses = self.clauses.iter().filter(|c| c.matched == matched);
            let last = clauses.clone().count().saturating_sub(1);
            if clauses.take(last).any(|clause| clause.condition.is_none()) {
                let message = "unreachable WHEN clause specified after unconditional WHEN clause";
                return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
            }
        }
        Ok(())
    }
}

/// MERGE.
pub(in crate::sql) async fn merge(
    planning: &Planning<'_>,
    merge: MergeStatement,
) -> Result<LogicalPlan> {
    merge.check_reachable()?;
    let operation = Operation::Merge(merge.does());
    let mut changed = TableWithJoins {
        relation: merge.target,
        joins: Vec::new(),
    };
    refuse_view(planning, &changed.relation)?;
    let target = planning.target(&mut changed, Verb::Update).await?;
    let on = JoinConstraint::On(merge.on);
    let join = Join {
        relation: changed.relation,
        global: false,
        join_operator: match merge.clauses.iter().all(|clause| clause.matched) {
            true => JoinOperator::Inner(on),
            false => JoinOperator::LeftOuter(on),
        },
    };
    let from = TableWithJoins {
        relation: merge.source,
        joins: vec![join],
    };
    let items = planning.merge_items(&target, merge.clauses)?;
    let query = planning.query(select(named_by_place(items), vec![from], None)?);
    let query = choose(query.await?, target.collection.schema.columns.len())?;
    let engine = Arc::clone(&planning.session.inner.core.engine);
    DmlNode::plan(engine, target.collection, operation, query)
}

/// That MERGE does not name a view.
fn refuse_view(planning: &Planning<'_>, target: &TableFactor) -> Result<()> {
    let TableFactor::Table { name, .. } = target else {
        return Ok(());
    };
    let name = qualify(name, &planning.session.search_path())?;
    let collection = planning.snapshot.collection(&name);
    let kinds = match planning.snapshot.view(&name) {
        Some(view) if view.partition.is_some() => "partitions",
        Some(_) => "views",
        None if collection.is_some_and(|c| c.materialized.is_some()) => "materialized views",
        None => return Ok(()),
    };
    let message = format!("cannot execute MERGE on relation \"{}\"", name.name);
    let detail = format!("This operation is not supported for {kinds}.");
    Err(Error::unsupported(message).with_detail(detail))
}

impl Planning<'_> {
    /// The columns that [`Operation::Merge`] takes.
    fn merge_items(&self, target: &Target, clauses: Vec<Clause>) -> Result<Vec<ast::Expr>> {
        let (mut matched, mut not_matched) = (Vec::new(), Vec::new());
        let (mut sets, mut values) = (0, Vec::new());
        for clause in clauses {
            let action = match &clause.act {
                Act::Nothing => Action::Nothing,
                Act::Delete => Action::Delete,
                Act::Update(_) | Act::Insert(..) => Action::Store(sets),
            };
            sets += usize::from(clause.act.stores());
            let always = || ast::Expr::Value(ast::Value::Boolean(true).into());
            let condition = clause.condition.unwrap_or_else(always);
            let whens = if clause.matched {
                &mut matched
            } else {
                &mut not_matched
            };
            whens.push((condition, number(action)));
            match clause.act {
                Act::Update(set) => values.extend(self.updated(target, set)?),
                Act::Insert(columns, row) => values.extend(self.inserted(target, &columns, row)?),
                Act::Nothing | Act::Delete => {}
            }
        }
        let first = |whens: Vec<_>| match whens.is_empty() {
            true => number(Action::Nothing),
            false => case(whens, number(Action::Nothing)),
        };
        let action = case(
            vec![(target.is_missing(), first(not_matched))],
            first(matched),
        );
        Ok(target.addresses().chain([action]).chain(values).collect())
    }

    /// All columns of a row that is updated.
    fn updated(&self, target: &Target, set: Vec<ast::Assignment>) -> Result<Vec<ast::Expr>> {
        let collection = &target.collection;
        let mut values = assignments(target, set)?;
        let columns = collection.schema.columns.iter();
        let value = columns.map(|column| match values.remove(&column.name) {
            Some(expr) => self.new_value(collection, column, expr),
            None => Ok(target.same_value(column)),
        });
        value.collect()
    }

    /// All columns of a row that is inserted.
    fn inserted(
        &self,
        target: &Target,
        columns: &[ObjectName],
        row: Vec<ast::Expr>,
    ) -> Result<Vec<ast::Expr>> {
        let collection = &target.collection;
        let targets = whole_columns(collection, columns)?;
        let targets = match row.is_empty() {
            true => &[][..],
            false => targets_of_values(&targets, !columns.is_empty(), row.len())?,
        };
        let mut given: Vec<Option<ast::Expr>> = vec![None; collection.schema.columns.len()];
        for (target, expr) in targets.iter().zip(row) {
            given[*target] = Some(expr);
        }
        let columns = collection.schema.columns.iter().zip(given);
        let value = columns.map(|(column, given)| match given {
            Some(expr) => self.inserted_value(collection, column, expr),
            None => self.default_ast(collection, column),
        });
        value.collect()
    }
}
