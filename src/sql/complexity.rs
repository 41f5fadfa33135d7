//! How complex a statement may be: what is above is refused by its tokens, before any parser or planner recurses.
//!
//! The parser, the planner and the destructors of their trees recurse as deep as a statement nests, and not only where
//! it has brackets: `1 + 1 + ..`, `a UNION b UNION ..`, `a JOIN b JOIN ..` and `x::int::int ..` are trees as deep as
//! they are long. The depth of a token is therefore the sum, over the brackets (and CASEs) around it, of what stands
//! there in a row; every recursion below is bounded by it. Commas and the words that begin a clause start a new row.
//!
//! Terms of AND and OR are counted apart: the two are associative, so that [`Expansion`] makes flat trees of them.

mod expansion;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

pub(super) use self::expansion::Expansion;
use super::tokens::is_blank;
use crate::error::{Error, Result, sqlstate};
use crate::settings::Settings;

/// How deep brackets may nest; the parser has the same limit of its own.
pub(super) const BRACKETS_MAX: usize = 128;

/// How deep FILTER clauses may nest, by way of subqueries: DataFusion's planner visits what is in them more than once.
const FILTERS_MAX: usize = 4;
/// How deep rows may nest, as in `(1, (2, (3, 4)))`: DataFusion's planner takes twice as long for each level.
const TUPLES_MAX: usize = 8;
/// How deep subqueries in expressions may nest: DataFusion's checks and its optimizer take twice as long for each level.
/// Queries in FROM do not count.
const SUBQUERIES_MAX: usize = 12;
/// The most relations of a statement once its CTEs and views stand where they are named: each naming is planned by itself.
pub(super) const RELATIONS_MAX: usize = 1_000;

/// The limits of a statement.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of its text.
    pub bytes_max: usize,
    /// What may nest, or stand in a row of operators, joins or set operations.
    pub depth_max: usize,
    /// Terms that AND and OR connect.
    pub terms_max: usize,
}

impl Limits {
    /// Those that the settings say.
    pub fn of(settings: &Settings) -> Self {
        Self {
            bytes_max: settings.statement_max_size.0 as usize,
            depth_max: settings.statement_max_depth as usize,
            terms_max: settings.statement_max_terms as usize,
        }
    }

    /// # Errors
    /// 54000 for a text that is too long.
    pub(super) fn check_text(&self, text: &str) -> Result<()> {
        if text.len() <= self.bytes_max {
            return Ok(());
        }
        let message = format!(
            "the statement has {} bytes, the most are {}",
            text.len(),
            self.bytes_max
        );
        Err(
            Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message).with_hint(
                "Give the values as parameters, or use COPY. The setting is statement.max_size.",
            ),
        )
    }

    /// # Errors
    /// 54001, with the position of the first token that is too deep.
    pub(super) fn check_tokens(&self, tokens: &[TokenWithSpan]) -> Result<()> {
        let mut nesting = Nesting::default();
        for token in tokens.iter().filter(|t| !is_blank(&t.token)) {
            nesting.take(&token.token);
            if let Some(what) = nesting.excess(self) {
                let place = token.span.start;
                return Err(too_complex(what).with_position(place.line, place.column));
            }
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(&Settings::default())
    }
}

/// That the CTEs and views in a plan, each where it is named, do not make it too large or too deep.
///
/// # Errors
/// 54001.
pub(super) fn check_relations(plan: &LogicalPlan) -> Result<()> {
    if !nests_within(plan, SUBQUERIES_MAX)? {
        return Err(too_complex("its subqueries nest too deeply"));
    }
    let mut relations = 0;
    plan.apply_with_subqueries(|node| {
        relations += usize::from(node.inputs().is_empty());
        Ok(match relations > RELATIONS_MAX {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    match relations > RELATIONS_MAX {
        true => Err(too_complex("its views read too many relations")),
        false => Ok(()),
    }
}

/// Whether subqueries in expressions are at most so deep.
fn nests_within(plan: &LogicalPlan, levels: usize) -> Result<bool> {
    let mut fits = true;
    plan.apply(|node| {
        node.apply_subqueries(|subquery| {
            fits = fits && levels > 0 && nests_within(subquery, levels - 1)?;
            Ok(match fits {
                true => TreeNodeRecursion::Continue,
                false => TreeNodeRecursion::Stop,
            })
        })
    })?;
    Ok(fits)
}

/// 54001.
pub(super) fn too_complex(what: &str) -> Error {
    let message = format!("the statement is too complex: {what}");
    Error::limit(sqlstate::STATEMENT_TOO_COMPLEX, message)
        .with_hint("Use arrays, VALUES or a table instead of long chains, or several statements.")
}

/// What stands in a row between two brackets.
#[derive(Debug, Default)]
struct Row {
    /// The depth of the bracket itself.
    below: usize,
    is_case: bool,
    /// Whether a word stands before it, as before the arguments of a call.
    is_call: bool,
    is_query: bool,
    /// Whether commas make a tuple of it.
    is_tuple: bool,
    /// How deep tuples nest in it, as far as they are closed.
    tuples: usize,
    /// How many FILTER clauses are around it.
    filters: usize,
    /// Whether a relation stands in it, as a query in FROM.
    is_relation: bool,
    /// How many subqueries in expressions are around it, itself included.
    subqueries: usize,
    /// Whether commas separate relations.
    in_from: bool,
    operators: usize,
    terms: usize,
    relations: usize,
    set_operations: usize,
}

impl Row {
    fn height(&self) -> usize {
        self.tuples + usize::from(self.is_tuple && !self.is_call && !self.is_query)
    }

    fn depth(&self) -> usize {
        self.below + self.operators + self.relations + self.set_operations
    }

    /// An expression ends here.
    fn next_expression(&mut self) {
        (self.operators, self.terms) = (0, 0);
    }

    fn next_clause(&mut self, in_from: bool) {
        self.next_expression();
        self.in_from = in_from;
    }
}

/// The rows around a token, the innermost last.
struct Nesting {
    rows: Vec<Row>,
    after_distinct: bool,
    after_filter: bool,
    /// Whether a relation may come next.
    before_relation: bool,
    /// The word before, if there was one right before.
    after: Option<Keyword>,
}

impl Default for Nesting {
    fn default() -> Self {
        Self {
            rows: vec![Row::default()],
            after_distinct: false,
            after_filter: false,
            before_relation: false,
            after: None,
        }
    }
}

impl Nesting {
    fn row(&mut self) -> &mut Row {
        self.rows
            .last_mut()
            .expect("invariant: the outermost row is never closed")
    }

    fn open(&mut self, is_case: bool) {
        let around = self.row();
        let (below, filters) = (around.depth() + 1, around.filters);
        let subqueries = around.subqueries;
        let after_filter = std::mem::take(&mut self.after_filter);
        self.rows.push(Row {
            below,
            is_case,
            subqueries,
            filters: filters + usize::from(after_filter),
            ..Row::default()
        });
    }

    /// A CASE that lacks its END ends with the bracket around it.
    fn close(&mut self, is_case: bool) {
        let open = self.rows.iter().rposition(|row| row.is_case == is_case);
        match open {
            Some(at) if at > 0 && (!is_case || at + 1 == self.rows.len()) => {
                let height = self.rows[at..].iter().map(Row::height).max();
                self.rows.truncate(at);
                let row = self.row();
                row.tuples = row.tuples.max(height.unwrap_or(0));
            }
            _ => {}
        }
    }

    fn excess(&self, limits: &Limits) -> Option<&'static str> {
        let row = self.rows.last()?;
        if self.rows.len() > BRACKETS_MAX {
            return Some("brackets or CASEs nest too deeply");
        }
        if row.filters > FILTERS_MAX {
            return Some("FILTER clauses nest too deeply");
        }
        if row.subqueries > SUBQUERIES_MAX {
            return Some("subqueries nest too deeply");
        }
        if row.tuples > TUPLES_MAX {
            return Some("rows of rows nest too deeply");
        }
        if row.depth() > limits.depth_max {
            return Some("too many operators, joins or set operations in a row");
        }
        (row.terms > limits.terms_max).then_some("too many terms of AND and OR")
    }

    fn take(&mut self, token: &Token) {
        let after_distinct = std::mem::take(&mut self.after_distinct);
        let before_relation = std::mem::take(&mut self.before_relation);
        let after = self.after.take();
        match token {
            Token::Word(word) if word.quote_style.is_none() => {
                self.after_distinct = word.keyword == Keyword::DISTINCT;
                self.after_filter = word.keyword == Keyword::FILTER;
                self.after = Some(word.keyword);
                self.take_word(word.keyword, after_distinct);
            }
            Token::LParen | Token::LBrace => {
                self.open(false);
                let row = self.row();
                row.is_tuple = after == Some(Keyword::ROW);
                row.is_call = after.is_some() && !row.is_tuple;
                row.is_relation = before_relation;
                self.before_relation = before_relation;
            }
            Token::LBracket => {
                // a[1][2].. is as deep as it is long.
                self.row().operators += 1;
                self.open(false);
            }
            Token::RParen | Token::RBrace | Token::RBracket => self.close(false),
            Token::Comma => {
                let row = self.row();
                row.next_expression();
                row.is_tuple = true;
                row.relations += usize::from(row.in_from);
                self.before_relation = row.in_from;
            }
            Token::SemiColon => self.rows.truncate(1),
            Token::Word(_) | Token::Number(..) | Token::Placeholder(_) | Token::Period => {}
            token if is_text(token) => {}
            _ => self.row().operators += 1,
        }
    }

    fn take_word(&mut self, word: Keyword, after_distinct: bool) {
        use Keyword as K;
        match word {
            K::CASE => self.open(true),
            K::END => self.close(true),
            K::AND | K::OR => {
                let row = self.row();
                row.terms += 1;
                row.operators = 0;
            }
            K::IS
            | K::NOT
            | K::IN
            | K::LIKE
            | K::ILIKE
            | K::SIMILAR
            | K::BETWEEN
            | K::COLLATE
            | K::AT
            | K::NOTNULL
            | K::OVERLAPS
            | K::XOR
            | K::DIV
            | K::REGEXP
            | K::RLIKE
            | K::OPERATOR
            | K::PRIOR => self.row().operators += 1,
            K::JOIN | K::APPLY => {
                let row = self.row();
                row.next_clause(true);
                row.relations += 1;
                self.before_relation = true;
            }
            K::LATERAL => self.before_relation = true,
            K::UNION | K::INTERSECT | K::EXCEPT | K::MINUS => {
                let row = self.row();
                row.next_clause(false);
                row.set_operations += 1;
                row.relations = 0;
            }
            // x IS DISTINCT FROM y
            K::FROM if after_distinct => {}
            K::FROM => {
                let row = self.row();
                row.next_clause(true);
                // There is also extract(year FROM x).
                self.before_relation = row.is_query;
            }
            K::SELECT => {
                let is_outermost = self.rows.len() == 1;
                let row = self.row();
                let is_subquery = !is_outermost && !row.is_relation && !row.is_query;
                row.subqueries += usize::from(is_subquery);
                row.is_query = true;
                row.next_clause(false);
            }
            K::WHERE
            | K::GROUP
            | K::HAVING
            | K::ORDER
            | K::LIMIT
            | K::OFFSET
            | K::RETURNING
            | K::WINDOW
            | K::VALUES => self.row().next_clause(false),
            K::ON | K::USING | K::WHEN | K::THEN | K::ELSE => self.row().next_expression(),
            _ => {}
        }
    }
}

fn is_text(token: &Token) -> bool {
    matches!(
        token,
        Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::EOF
    )
}

#[cfg(test)]
mod tests;
