//! The tree of a path.

use super::lexer::{Token, at_end, at_or_near, syntax, tokens};
use super::number::Number;
use super::tree::{Comparison, Method, Node, Operator, Path, Step};
use crate::catalog::json::Value;
use crate::error::{Error, Result, sqlstate};

/// How deep a path may be nested.
const DEPTH_MAX: usize = 128;

/// The tree of a path's text.
///
/// # Errors
/// 42601 for a text that is no path.
pub(super) fn parse(text: &str) -> Result<Path> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
        depth: 0,
        filters: 0,
        subscripts: 0,
    };
    let strict = parser.takes_word("strict");
    if !strict {
        parser.takes_word("lax");
    }
    if parser.tokens.is_empty() {
        let message = format!("invalid input syntax for type jsonpath: \"{text}\"");
        return Err(Error::invalid(
            sqlstate::INVALID_TEXT_REPRESENTATION,
            message,
        ));
    }
    let root = parser.or()?;
    match parser.peek() {
        None => Ok(Path { strict, root }),
        Some(_) => Err(parser.unexpected()),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// How many filters the place is in.
    filters: usize,
    /// How many subscripts the place is in.
    subscripts: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += usize::from(token.is_some());
        token
    }

    fn unexpected(&self) -> Error {
        match self.peek() {
            None => at_end(),
            Some(Token::Word(text) | Token::Text(text) | Token::Number(text)) => at_or_near(text),
            Some(Token::Variable(name)) => at_or_near(&format!("${name}")),
            Some(Token::Sign(sign)) => at_or_near(sign),
        }
    }

    fn takes(&mut self, sign: &str) -> bool {
        let is_there = matches!(self.peek(), Some(Token::Sign(known)) if *known == sign);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, sign: &str) -> Result<()> {
        match self.takes(sign) {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    fn is_word(&self, ahead: usize, word: &str) -> bool {
        let token = self.tokens.get(self.at + ahead);
        matches!(token, Some(Token::Word(known)) if known.eq_ignore_ascii_case(word))
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is_there = self.is_word(0, word);
        self.at += usize::from(is_there);
        is_there
    }

    /// # Errors
    /// 42601 for what gives items where a predicate must stand.
    fn predicate(&self, node: Node) -> Result<Box<Node>> {
        match node.is_predicate() {
            true => Ok(Box::new(node)),
            false => Err(self.unexpected()),
        }
    }

    /// # Errors
    /// 42601 for a predicate where items must stand.
    fn items(&self, node: Node) -> Result<Box<Node>> {
        match node.is_predicate() {
            false => Ok(Box::new(node)),
            true => Err(self.unexpected()),
        }
    }

    fn or(&mut self) -> Result<Node> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(syntax(format!(
                "a jsonpath is nested more than {DEPTH_MAX} levels deep"
            )));
        }
        let mut left = self.and()?;
        while self.takes("||") {
            let right = self.and()?;
            left = Node::Or(self.predicate(left)?, self.predicate(right)?);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Result<Node> {
        let mut left = self.comparison()?;
        while self.takes("&&") {
            let right = self.comparison()?;
            left = Node::And(self.predicate(left)?, self.predicate(right)?);
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Node> {
        if self.takes("!") {
            let inner = match self.peek() {
                Some(Token::Sign("(")) => self.primary()?,
                _ if self.is_word(0, "exists") => self.primary()?,
                _ => return Err(self.unexpected()),
            };
            return Ok(Node::Not(self.predicate(inner)?));
        }
        let left = self.sum()?;
        const SIGNS: [(&str, Comparison); 8] = [
            ("==", Comparison::Equal),
            ("=", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<>", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            ("<", Comparison::Less),
            (">=", Comparison::GreaterOrEqual),
            (">", Comparison::Greater),
        ];
        if let Some((_, comparison)) = SIGNS.iter().find(|(sign, _)| self.takes(sign)) {
            let right = self.sum()?;
            return Ok(Node::Compare(
                *comparison,
                self.items(left)?,
                self.items(right)?,
            ));
        }
        if self.is_word(0, "starts") && self.is_word(1, "with") {
            self.at += 2;
            let initial = match self.next() {
                Some(Token::Text(text)) => Node::Literal(Value::String(text)),
                Some(Token::Variable(name)) => Node::Variable(name),
                _ => {
                    self.at -= 1;
                    return Err(self.unexpected());
                }
            };
            return Ok(Node::StartsWith(self.items(left)?, Box::new(initial)));
        }
        if self.takes_word("like_regex") {
            return self.like_regex(left);
        }
        Ok(left)
    }

    fn like_regex(&mut self, left: Node) -> Result<Node> {
        let Some(Token::Text(pattern)) = self.next() else {
            return Err(at_end());
        };
        let mut flags = String::new();
        if self.takes_word("flag") {
            let Some(Token::Text(letters)) = self.next() else {
                return Err(at_end());
            };
            flags = letters;
        }
        let options = regex_options(&flags)?;
        Ok(Node::LikeRegex(self.items(left)?, pattern, options))
    }

    fn sum(&mut self) -> Result<Node> {
        let mut left = self.product()?;
        loop {
            let operator = match () {
                () if self.takes("+") => Operator::Add,
                () if self.takes("-") => Operator::Subtract,
                () => return Ok(left),
            };
            let right = self.product()?;
            left = Node::Arithmetic(operator, self.items(left)?, self.items(right)?);
        }
    }

    fn product(&mut self) -> Result<Node> {
        let mut left = self.signed()?;
        loop {
            let operator = match () {
                () if self.takes("*") => Operator::Multiply,
                () if self.takes("/") => Operator::Divide,
                () if self.takes("%") => Operator::Modulo,
                () => return Ok(left),
            };
            let right = self.signed()?;
            left = Node::Arithmetic(operator, self.items(left)?, self.items(right)?);
        }
    }

    fn signed(&mut self) -> Result<Node> {
        let mut negatives = Vec::new();
        loop {
            match () {
                () if self.takes("+") => negatives.push(false),
                () if self.takes("-") => negatives.push(true),
                () => break,
            }
            if negatives.len() > DEPTH_MAX {
                return Err(self.unexpected());
            }
        }
        let mut node = self.accessors()?;
        for is_negative in negatives.into_iter().rev() {
            let inner = self.items(node)?;
            node = match (literal(&inner), is_negative) {
                (Some(number), true) => Node::Literal(number.negated().into_value()),
                (Some(_), false) => *inner,
                (None, true) => Node::Negative(inner),
                (None, false) => Node::Positive(inner),
            };
        }
        Ok(node)
    }

    fn accessors(&mut self) -> Result<Node> {
        let primary = self.primary()?;
        let mut steps = Vec::new();
        while let Some(step) = self.step()? {
            steps.push(step);
        }
        Ok(match steps.is_empty() {
            true => primary,
            false => Node::Steps(Box::new(primary), steps),
        })
    }

    fn primary(&mut self) -> Result<Node> {
        if self.is_word(0, "exists")
            && matches!(self.tokens.get(self.at + 1), Some(Token::Sign("(")))
        {
            self.at += 2;
            let inner = self.or()?;
            self.expect(")")?;
            return Ok(Node::Exists(self.items(inner)?));
        }
        if self.takes("(") {
            let inner = self.or()?;
            self.expect(")")?;
            let is_unknown = self.is_word(0, "is") && self.is_word(1, "unknown");
            if is_unknown && inner.is_predicate() {
                self.at += 2;
                return Ok(Node::IsUnknown(Box::new(inner)));
            }
            return Ok(inner);
        }
        let node = match self.peek() {
            Some(Token::Sign("$")) => Node::Root,
            Some(Token::Sign("@")) if self.filters == 0 => {
                return Err(syntax("@ is not allowed in root expressions"));
            }
            Some(Token::Sign("@")) => Node::Current,
            Some(Token::Text(text)) => Node::Literal(Value::String(text.clone())),
            Some(Token::Number(text)) => {
                let number = Number::parse(text).ok_or_else(|| self.unexpected())?;
                Node::Literal(number.into_value())
            }
            Some(Token::Variable(name)) => Node::Variable(name.clone()),
            Some(Token::Word(word)) => match word.as_str() {
                "null" => Node::Literal(Value::Null),
                "true" => Node::Literal(Value::Bool(true)),
                "false" => Node::Literal(Value::Bool(false)),
                word if word.eq_ignore_ascii_case("last") && self.subscripts > 0 => Node::Last,
                word if word.eq_ignore_ascii_case("last") => {
                    return Err(syntax("LAST is allowed only in array subscripts"));
                }
                _ => return Err(self.unexpected()),
            },
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(node)
    }

    fn step(&mut self) -> Result<Option<Step>> {
        if self.takes(".") {
            return self.member().map(Some);
        }
        if self.takes("[") {
            return self.places().map(Some);
        }
        if self.takes("?") {
            self.expect("(")?;
            self.filters += 1;
            let inner = self.or()?;
            self.filters -= 1;
            self.expect(")")?;
            return Ok(Some(Step::Filter(*self.predicate(inner)?)));
        }
        Ok(None)
    }

    /// What stands behind a point.
    fn member(&mut self) -> Result<Step> {
        if self.takes("**") {
            return self.levels();
        }
        if self.takes("*") {
            return Ok(Step::Members);
        }
        match self.next() {
            Some(Token::Text(key)) => Ok(Step::Key(key)),
            Some(Token::Word(word)) => {
                if !self.takes("(") {
                    return Ok(Step::Key(word));
                }
                let mut methods = Method::ALL.into_iter();
                let method = methods.find(|(name, _)| name.eq_ignore_ascii_case(&word));
                match method {
                    Some((_, method)) => {
                        self.expect(")")?;
                        Ok(Step::Method(method))
                    }
                    None if word.eq_ignore_ascii_case("datetime") => {
                        let template = match self.peek() {
                            Some(Token::Text(template)) => Some(template.clone()),
                            _ => None,
                        };
                        self.at += usize::from(template.is_some());
                        self.expect(")")?;
                        Ok(Step::DateTime(template))
                    }
                    None => Err(at_or_near("(")),
                }
            }
            Some(_) => {
                self.at -= 1;
                Err(self.unexpected())
            }
            None => Err(at_end()),
        }
    }

    fn level(&mut self) -> Result<Option<u32>> {
        if self.takes_word("last") {
            return Ok(None);
        }
        let level = match self.next() {
            Some(Token::Number(number)) => number.parse().ok(),
            _ => None,
        };
        level.map(Some).ok_or_else(|| {
            self.at = self.at.saturating_sub(1);
            self.unexpected()
        })
    }

    fn levels(&mut self) -> Result<Step> {
        if !self.takes("{") {
            return Ok(Step::Levels(0, None));
        }
        let first = self.level()?;
        let last = match self.takes_word("to") {
            true => self.level()?,
            false => first,
        };
        self.expect("}")?;
        Ok(Step::Levels(first.unwrap_or(u32::MAX), last))
    }

    fn places(&mut self) -> Result<Step> {
        if self.takes("*") {
            self.expect("]")?;
            return Ok(Step::Elements);
        }
        let mut places = Vec::new();
        self.subscripts += 1;
        loop {
            let first = self.or()?;
            let first = *self.items(first)?;
            let last = match self.takes_word("to") {
                true => {
                    let last = self.or()?;
                    Some(*self.items(last)?)
                }
                false => None,
            };
            places.push((first, last));
            if !self.takes(",") {
                break;
            }
        }
        self.subscripts -= 1;
        self.expect("]")?;
        Ok(Step::Places(places))
    }
}

/// The number that is written.
fn literal(node: &Node) -> Option<Number> {
    match node {
        Node::Literal(value) => Number::of(value),
        _ => None,
    }
}

/// The letters that our regular expressions have for flags of XQuery.
///
/// # Errors
/// 42601 for a letter that is none.
fn regex_options(flags: &str) -> Result<String> {
    let mut has = [false; 4];
    for flag in flags.chars() {
        match flag {
            'i' => has[0] = true,
            's' => has[1] = true,
            'm' => has[2] = true,
            'q' => has[3] = true,
            'x' => {
                let message = "XQuery \"x\" flag (expanded regular expressions) is not implemented";
                return Err(Error::unsupported(message));
            }
            other => {
                let message = "invalid input syntax for type jsonpath";
                let detail =
                    format!("Unrecognized flag character \"{other}\" in LIKE_REGEX predicate.");
                return Err(syntax(message).with_detail(detail));
            }
        }
    }
    let [ignores_case, point_matches_break, lines, is_literal] = has;
    let breaks = match (point_matches_break, lines) {
        (true, true) => 'w',
        (true, false) => 's',
        (false, true) => 'n',
        (false, false) => 'p',
    };
    let letters = [
        Some(breaks),
        ignores_case.then_some('i'),
        is_literal.then_some('q'),
    ];
    Ok(letters.into_iter().flatten().collect())
}
