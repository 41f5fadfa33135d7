//! What Tab offers: words of SQL, and the names that the database knows now.

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use rustyline::Context;
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use shelfmark::sql::Session;
use tokio::runtime::Handle;

use super::meta;

/// Words that begin or join statements.
const KEYWORDS: &str = "ALTER ANALYZE AND AS ASC BETWEEN BIGINT BOOLEAN BY BYTEA CANCEL CASE CAST CLUSTER CLUSTERING \
    COLLECTION COLUMN COMPACT COMPACTION COMPACTIONS COPY CREATE CROSS DATE DEFAULT DELETE DESC DISTINCT DOUBLE DROP \
    ELSE END EXCEPT EXISTS EXPLAIN FALSE FOR FROM FULL GROUP HALFVEC HAVING IF IN INNER INSERT INTEGER INTERSECT INTO \
    IS JOIN JSON KEY LEFT LIKE LIMIT NOT NULL NUMERIC OFFSET ON OR ORDER OUTER PARTITION PRECISION PRIMARY REAL RENAME \
    RESET RIGHT SCHEMA SELECT SET SHOW SMALLINT STATE TABLE TEXT THEN TIME TIMEOUT TIMESTAMP TIMESTAMPTZ TO TRUE \
    TRUNCATE UNION UPDATE USING UUID VACUUM VALUES VARCHAR VECTOR VIEW WAIT WHEN WHERE WITH";

const NAMES: [&str; 4] = [
    "SELECT DISTINCT table_name FROM information_schema.tables \
     WHERE table_schema NOT IN ('information_schema', 'pg_catalog')",
    "SELECT DISTINCT table_schema || '.' || table_name FROM information_schema.tables",
    "SELECT DISTINCT column_name FROM information_schema.columns \
     WHERE table_schema NOT IN ('information_schema', 'pg_catalog')",
    "SELECT DISTINCT routine_name FROM information_schema.routines",
];

/// Names are asked for when Tab is pressed, so they are those of now.
pub struct Names {
    runtime: Handle,
    session: Session,
    files: FilenameCompleter,
}

impl Names {
    pub fn new(runtime: Handle, session: Session) -> Self {
        Self {
            runtime,
            session,
            files: FilenameCompleter::new(),
        }
    }

    fn known(&self) -> Vec<String> {
        let lists = NAMES
            .iter()
            .map(|query| self.runtime.block_on(names(&self.session, query)));
        // A list that cannot be had now is no reason to disturb who is typing.
        lists.flat_map(|list| list.unwrap_or_default()).collect()
    }
}

async fn names(session: &Session, query: &str) -> shelfmark::Result<Vec<String>> {
    let mut names = Vec::new();
    for batch in session.sql(query).await?.collect().await? {
        let column = cast(batch.column(0), &DataType::Utf8)?;
        names.extend(
            column
                .as_string::<i32>()
                .iter()
                .flatten()
                .map(str::to_string),
        );
    }
    Ok(names)
}

impl Completer for Names {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &line[..position];
        let in_string = before.matches('\'').count() % 2 == 1;
        if in_string || before.trim_start().starts_with("\\i ") {
            return self.files.complete(line, position, context);
        }
        let start = word_start(before);
        let word = &before[start..];
        if word.is_empty() {
            return Ok((position, Vec::new()));
        }
        let known = if word.starts_with('\\') {
            Vec::new()
        } else {
            self.known()
        };
        Ok((start, candidates(word, &known)))
    }
}

fn word_start(before: &str) -> usize {
    let part_of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '\\');
    before.trim_end_matches(part_of_word).len()
}

/// Everything that begins with the word, in order, each once.
fn candidates(word: &str, known: &[String]) -> Vec<Pair> {
    let folded = word.to_lowercase();
    let mut found: Vec<String> = if let Some(meta) = word.strip_prefix('\\') {
        let names = meta::COMMANDS.iter().map(|(name, ..)| *name);
        names
            .filter(|name| name.starts_with(meta))
            .map(|name| format!("\\{name}"))
            .collect()
    } else {
        let begins = |name: &&String| name.to_lowercase().starts_with(&folded);
        let upper = word.chars().any(char::is_uppercase);
        let keyword = |k: &str| {
            if upper {
                k.to_string()
            } else {
                k.to_lowercase()
            }
        };
        let keywords = KEYWORDS
            .split_whitespace()
            .filter(|k| k.to_lowercase().starts_with(&folded));
        known
            .iter()
            .filter(begins)
            .cloned()
            .chain(keywords.map(keyword))
            .collect()
    };
    found.sort();
    found.dedup();
    found
        .into_iter()
        .map(|text| Pair {
            display: text.clone(),
            replacement: text,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(word: &str) -> Vec<String> {
        let known = [
            "book".to_string(),
            "shelfmark.book".to_string(),
            "clustering_information".to_string(),
        ];
        candidates(word, &known)
            .into_iter()
            .map(|p| p.replacement)
            .collect()
    }

    #[test]
    fn keywords_take_the_case_of_the_word() {
        assert_eq!(offered("SEL"), ["SELECT"]);
        assert_eq!(offered("sel"), ["select"]);
        assert_eq!(
            offered("clustering"),
            ["clustering", "clustering_information"]
        );
    }

    #[test]
    fn names_and_commands_are_offered() {
        assert_eq!(offered("shelfmark.b"), ["shelfmark.book"]);
        assert_eq!(offered("\\d"), ["\\d", "\\dt"]);
        assert_eq!(word_start("SELECT a.b"), 7);
    }
}
