//! What PostgreSQL 15 writes, for the same input, types and settings.

use super::*;

/// A line of `golden.tsv`.
struct Case<'a> {
    name: &'a str,
    oid: u32,
    typmod: i32,
    settings: &'a str,
    input: String,
    text: String,
    binary: &'a str,
}

impl<'a> Case<'a> {
    fn of(line: &'a str) -> Self {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, oid, settings, input, text, binary] = columns[..] else {
            panic!("{line}");
        };
        let (oid, typmod) = oid.split_once('/').unwrap();
        let unescape = |text: &str| {
            let tabs = text.replace("\\\\", "\0").replace("\\t", "\t");
            tabs.replace('\0', "\\")
        };
        Self {
            name,
            oid: oid.parse().unwrap(),
            typmod: typmod.parse().unwrap(),
            settings,
            input: unescape(input),
            text: unescape(text),
            binary,
        }
    }

    fn field(&self) -> FieldRef {
        field_of(self.oid, self.typmod, self.name.matches("[]").count())
    }

    fn style(&self) -> Style {
        let mut style = Style::default();
        for setting in self.settings.split(';').filter(|s| !s.is_empty()) {
            let (name, value) = setting.split_once('=').unwrap();
            assert!(style.set(name, value).unwrap());
        }
        style
    }

    /// What differs, if anything.
    fn check(&self) -> Result<(), String> {
        let field = self.field();
        let told = type_of(&field);
        same("type", &(told.oid, told.typmod), &(self.oid, self.typmod))?;
        let decode = |format, bytes: &[u8]| {
            let value = decode_parameter(&field, format, Some(bytes), &Zone::utc());
            value.map_err(|e| format!("{format:?} is refused: {e}"))
        };
        let value = decode(Format::Text, self.input.as_bytes())?;
        let array = value.to_array().unwrap();
        let write = |format| {
            let rows = encode(&array, &field, format, &self.style()).unwrap();
            rows[0].clone().unwrap()
        };
        same(
            "text",
            &String::from_utf8(write(Format::Text)).unwrap(),
            &self.text,
        )?;
        same(
            "binary",
            &hex(&write(Format::Binary)),
            &self.binary.to_string(),
        )?;
        same(
            "value from binary",
            &decode(Format::Binary, &unhex(self.binary))?,
            &value,
        )?;
        if self.settings.is_empty() || self.settings.starts_with("intervalstyle") {
            same(
                "value from text",
                &decode(Format::Text, self.text.as_bytes())?,
                &value,
            )?;
        }
        Ok(())
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, theirs: &T) -> Result<(), String> {
    if ours == theirs {
        return Ok(());
    }
    Err(format!("{what} is {ours:?}, not {theirs:?}"))
}

#[test]
fn every_value_is_what_postgres_writes() {
    let lines = include_str!("golden.tsv").lines();
    let cases: Vec<Case<'_>> = lines
        .filter(|l| !l.starts_with('#'))
        .map(Case::of)
        .collect();
    assert!(cases.len() > 500);
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let what = case.check().err()?;
            Some(format!(
                "{} {:?} ({}): {what}",
                case.name, case.input, case.settings
            ))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}
