//! Variables of the shell: `:name` in a statement stands for a value that `\gset` kept.

use std::collections::HashMap;

/// Values by name.
#[derive(Debug, Default)]
pub struct Variables {
    values: HashMap<String, String>,
}

impl Variables {
    /// Keeps a value; `None` (NULL) forgets the name.
    pub fn set(&mut self, name: String, value: Option<String>) {
        match value {
            Some(value) => self.values.insert(name, value),
            None => self.values.remove(&name),
        };
    }

    /// The statement with the values in place of their names. Strings, quoted names, casts (`::`) and names without a
    /// value stay as they are.
    pub fn put_into(&self, statement: &str) -> String {
        if self.values.is_empty() {
            return statement.to_string();
        }
        let mut text = String::with_capacity(statement.len());
        let mut rest = statement;
        while let Some(at) = rest.find([':', '\'', '"']) {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            let (kept, after) = self.take(rest);
            text.push_str(&kept);
            rest = after;
        }
        text + rest
    }

    /// What stands for the beginning of `rest`, and what follows it.
    fn take<'a>(&self, rest: &'a str) -> (String, &'a str) {
        let as_is = |length: usize| (rest[..length].to_string(), &rest[length..]);
        if let Some(quote @ ('\'' | '"')) = rest.chars().next() {
            return as_is(rest[1..].find(quote).map_or(rest.len(), |end| end + 2));
        }
        if rest.starts_with("::") {
            return as_is(2);
        }
        let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
        let end = rest[1..]
            .find(|c| !part_of_name(c))
            .map_or(rest.len(), |end| end + 1);
        match self.values.get(&rest[1..end]) {
            Some(value) => (value.clone(), &rest[end..]),
            None => as_is(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_quotes_are_replaced() {
        let mut variables = Variables::default();
        variables.set("id".to_string(), Some("7".to_string()));
        let cases = [
            ("WAIT FOR COMPACTION :id", "WAIT FOR COMPACTION 7"),
            (
                "SELECT ':id', \":id\", x::id, a[1:2], :idle, ':'",
                "SELECT ':id', \":id\", x::id, a[1:2], :idle, ':'",
            ),
            ("SELECT 'it''s :id' || :id;", "SELECT 'it''s :id' || 7;"),
            ("SELECT 'open :id", "SELECT 'open :id"),
        ];
        for (statement, expected) in cases {
            assert_eq!(variables.put_into(statement), expected);
        }
        variables.set("id".to_string(), None);
        assert_eq!(variables.put_into(":id"), ":id");
    }
}
