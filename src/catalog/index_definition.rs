//! The definition of an index as the statement that would make it, for `pg_indexes` and `shelfmark.indexes`.

use crate::storage::collection::Collection;
use crate::storage::index::{Index, IndexKey, IndexPart};
use crate::storage::schema::FieldId;

/// `CREATE INDEX book_key_idx ON public.book USING btree (key)`.
pub fn definition(collection: &Collection, index: &Index) -> String {
    let unique = if index.is_unique { "UNIQUE " } else { "" };
    let keys = index.keys.iter().map(|key| key_text(collection, key));
    let mut text = format!(
        "CREATE {unique}INDEX {} ON {}.{} USING {} ({})",
        quoted(&index.name),
        quoted(&collection.name.schema),
        quoted(&collection.name.name),
        index.method,
        keys.collect::<Vec<_>>().join(", ")
    );
    if !index.include.is_empty() {
        let names = index.include.iter().map(|f| column_name(collection, *f));
        text += &format!(" INCLUDE ({})", names.collect::<Vec<_>>().join(", "));
    }
    if index.nulls_equal {
        text += " NULLS NOT DISTINCT";
    }
    if !index.options.is_empty() {
        let options = index.options.iter();
        let options =
            options.map(|(name, value)| format!("{name}='{}'", value.replace('\'', "''")));
        text += &format!(" WITH ({})", options.collect::<Vec<_>>().join(", "));
    }
    if let Some(predicate) = &index.predicate {
        text += &format!(" WHERE ({predicate})");
    }
    text
}

/// One part of the key, as `pg_get_indexdef(index, n)` shows it.
pub fn part_text(collection: &Collection, part: &IndexPart) -> String {
    match part {
        IndexPart::Column(field) => column_name(collection, *field),
        // The call of a function needs no brackets.
        IndexPart::Expression(text) if is_call(text) => text.clone(),
        IndexPart::Expression(text) => format!("({text})"),
    }
}

/// Whether a text is the call of a function, and nothing else.
fn is_call(text: &str) -> bool {
    let Some((name, arguments)) = text.split_once('(') else {
        return false;
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let Some(arguments) = arguments.strip_suffix(')') else {
        return false;
    };
    let closes_before_its_end = || {
        let mut depth = 1;
        arguments.chars().any(|c| {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            depth == 0
        })
    };
    !name.is_empty() && name.chars().all(is_name) && !closes_before_its_end()
}

fn key_text(collection: &Collection, key: &IndexKey) -> String {
    let mut text = part_text(collection, &key.part);
    if let Some(class) = &key.operator_class {
        text += &format!(" {}", quoted(class));
    }
    if key.descending {
        text += " DESC";
    }
    // NULLS LAST goes without saying for ASC, NULLS FIRST for DESC.
    match key.nulls_first {
        Some(true) if !key.descending => text += " NULLS FIRST",
        Some(false) if key.descending => text += " NULLS LAST",
        _ => {}
    }
    text
}

fn column_name(collection: &Collection, field: FieldId) -> String {
    let column = collection.schema.column_by_id(field);
    column.map(|c| quoted(&c.name)).unwrap_or_default()
}

/// The name in quotes, where it needs them.
pub(crate) fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let digit_first = name.starts_with(|c: char| c.is_ascii_digit());
    if !name.is_empty() && name.chars().all(plain) && !digit_first {
        return name.to_string();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}
