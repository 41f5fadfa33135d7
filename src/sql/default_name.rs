//! The names that PostgreSQL gives to what is given none: `book_key_idx`, `book_id_seq1`, `book_price_check`.

/// Bytes that a name may have.
const NAME_BYTES_MAX: usize = 63;

/// The first name that is free: `named` makes one of what stands behind it, nothing first, then 1 and so on.
pub(super) fn first_free(
    named: impl Fn(&str) -> String,
    is_free: impl Fn(&String) -> bool,
) -> String {
    let numbers = (1_u64..).map(|n| n.to_string());
    let mut names = std::iter::once(String::new())
        .chain(numbers)
        .map(|n| named(&n));
    names.find(is_free).unwrap_or_else(|| named(""))
}

/// The parts with underscores between them, the longer of the first two cut until they fit.
pub(super) fn joined(table: &str, columns: &str, label: &str) -> String {
    let room = NAME_BYTES_MAX - label.len() - 2;
    let (mut table_bytes, mut column_bytes) = (table.len(), columns.len());
    while table_bytes + column_bytes > room {
        if table_bytes > column_bytes {
            table_bytes -= 1;
        } else {
            column_bytes -= 1;
        }
    }
    let table = &table[..table.floor_char_boundary(table_bytes)];
    let columns = &columns[..columns.floor_char_boundary(column_bytes)];
    format!("{table}_{columns}_{label}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_names_apart() {
        let taken = ["a", "a1"];
        let named = |n: &str| format!("a{n}");
        assert_eq!(first_free(named, |n| !taken.contains(&n.as_str())), "a2");
        assert_eq!(first_free(named, |_| true), "a");
    }

    #[test]
    fn long_names_are_cut_where_they_are_longest() {
        assert_eq!(joined("book", "key", "idx"), "book_key_idx");
        let (table, columns) = ("t".repeat(40), "c".repeat(40));
        let name = joined(&table, &columns, "idx1");
        assert_eq!(name.len(), NAME_BYTES_MAX);
        assert_eq!(name, format!("{}_{}_idx1", "t".repeat(29), "c".repeat(28)));
        assert_eq!(joined(&"\u{e9}".repeat(60), "k", "idx").len(), 62);
    }
}
