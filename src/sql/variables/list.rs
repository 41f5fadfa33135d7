//! Lists of names as one text, as `search_path` has them: `"$user", public`.

/// The names of a list: quoted ones as they are, others in lower case. `None` where the text is no list.
pub fn split(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text.trim_start();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_name(quoted)?,
            None => bare_name(rest)?,
        };
        names.push(name);
        let after = after.trim_start();
        if after.is_empty() {
            return Some(names);
        }
        rest = after.strip_prefix(',')?.trim_start();
    }
}

/// A name that ends with a quote, whose doubled quotes are one.
fn quoted_name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, rest)),
        }
    }
}

fn bare_name(text: &str) -> Option<(String, &str)> {
    let end = text.find(|c: char| c == ',' || c.is_whitespace());
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    (!name.is_empty()).then(|| (name.to_lowercase(), rest))
}

/// A name as it is written in a list.
pub fn quote(name: &str) -> String {
    let simple = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$';
    let begins_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    match begins_well && name.chars().all(simple) {
        true => name.to_string(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_names() {
        let names = split("\"$user\", Public , \"a\"\"b, c\"").unwrap_or_default();
        assert_eq!(names, ["$user", "public", "a\"b, c"]);
        assert_eq!(split(" "), Some(vec![]));
        assert_eq!(split("\"\""), Some(vec![String::new()]));
        for wrong in ["a,,b", "a b", ",", "\"a", "a,"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        assert_eq!(quote("public"), "public");
        assert_eq!(quote("$user"), "\"$user\"");
        assert_eq!(quote("a, \"b\""), "\"a, \"\"b\"\"\"");
    }
}
