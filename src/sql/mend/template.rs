//! Templates of `to_char`, `to_date` and `to_timestamp`, made into formats of DataFusion's functions.

/// PostgreSQL's patterns and what stands for each; longer ones first where one begins another.
const PATTERNS: [(&str, &str); 38] = [
    ("YYYY", "%Y"),
    ("yyyy", "%Y"),
    ("IYYY", "%G"),
    ("YY", "%y"),
    ("yy", "%y"),
    ("Month", "%B"),
    ("month", "%B"),
    ("Mon", "%b"),
    ("mon", "%b"),
    ("MM", "%m"),
    ("mm", "%m"),
    ("MI", "%M"),
    ("mi", "%M"),
    ("MS", "%3f"),
    ("ms", "%3f"),
    ("Day", "%A"),
    ("day", "%A"),
    ("Dy", "%a"),
    ("dy", "%a"),
    ("DDD", "%j"),
    ("ddd", "%j"),
    ("DD", "%d"),
    ("dd", "%d"),
    ("HH24", "%H"),
    ("hh24", "%H"),
    ("HH12", "%I"),
    ("hh12", "%I"),
    ("HH", "%I"),
    ("hh", "%I"),
    ("SS", "%S"),
    ("ss", "%S"),
    ("US", "%6f"),
    ("us", "%6f"),
    ("IW", "%V"),
    ("ID", "%u"),
    ("AM", "%p"),
    ("PM", "%p"),
    ("TZH:TZM", "%:z"),
];

/// The format of a template of dates; `None` for one without any pattern of them, as those of numbers, and for one that
/// is a format already.
pub(super) fn format_of_template(template: &str) -> Option<String> {
    if template.contains('%') {
        return None;
    }
    let mut format = String::new();
    let mut rest = template;
    let mut found = false;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            format.push_str(&quoted[..end]);
            rest = quoted.get(end + 1..).unwrap_or("");
            continue;
        }
        let is_fill_mode = rest.starts_with("FM") || rest.starts_with("fm");
        let after = if is_fill_mode { &rest[2..] } else { rest };
        match PATTERNS
            .iter()
            .find(|(pattern, _)| after.starts_with(pattern))
        {
            Some((pattern, code)) => {
                found = true;
                // Without leading zeros.
                format.push_str(&match is_fill_mode {
                    true => code.replacen('%', "%-", 1),
                    false => (*code).to_string(),
                });
                rest = &after[pattern.len()..];
            }
            None => {
                format.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    found.then_some(format)
}

#[cfg(test)]
mod tests {
    use super::format_of_template;

    #[test]
    fn templates_become_formats() {
        let cases = [
            ("YYYY-MM-DD HH24:MI:SS.US", Some("%Y-%m-%d %H:%M:%S.%6f")),
            ("Dy, DD Mon YYYY", Some("%a, %d %b %Y")),
            ("FMDD.FMMM.YY", Some("%-d.%-m.%y")),
            ("\"Day\" DDD", Some("Day %j")),
            ("9,999.99", None),
            ("%Y", None),
        ];
        for (template, format) in cases {
            assert_eq!(
                format_of_template(template).as_deref(),
                format,
                "{template}"
            );
        }
    }
}
