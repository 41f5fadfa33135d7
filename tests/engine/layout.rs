//! The shape of the sources: who may call whom, and what lies at the top.

use std::path::Path;

use super::{files_below, root};

/// From the top: a layer uses itself and those after it, never those before. Names in one row are one layer.
const LAYERS: [&[&str]; 8] = [
    &["main", "cli"],
    &["server"],
    &["sql", "database"],
    &["search"],
    &["catalog"],
    &["compaction"],
    &["storage"],
    &["settings", "error", "metrics"],
];

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|names| names.contains(&module));
    found.unwrap_or_else(|| panic!("module \"{module}\" belongs to no layer"))
}

#[test]
fn no_layer_uses_one_above_it() {
    let mut wrong = Vec::new();
    for file in files_below(&root().join("src"), "rs") {
        let module = module_of(&file);
        if module == "lib" {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for used in used_modules(&text) {
            if layer(&used) < layer(&module) {
                wrong.push(format!("{} ({module}) uses {used}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The top module that a file of `src` belongs to.
fn module_of(file: &Path) -> String {
    let below = file.strip_prefix(root().join("src")).unwrap();
    let first = below.components().next().unwrap();
    Path::new(&first)
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .to_string()
}

/// The modules that `crate::module` and `crate::{module, ..}` name, outside comments.
fn used_modules(text: &str) -> Vec<String> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code: Vec<&str> = text.lines().filter(is_code).collect();
    let code = code.join("\n");
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => used.extend(group_members(group)),
            None => used.push(first_name(rest)),
        }
    }
    // `crate::Error` and its like are names that the crate's root takes from below.
    used.retain(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    used
}

/// The first names of `a::b, c::{d, e}}`, up to the closing brace of the group.
fn group_members(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut members = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => members.push(String::new()),
            c if depth == 0 => members.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    members
        .iter()
        .map(|m| first_name(m.trim()))
        .filter(|m| !m.is_empty())
        .collect()
}

fn first_name(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn uses_are_read_from_code_alone() {
    let text = "//! [`crate::server`]\nuse crate::{storage::{a, b}, error::Error};\nfn f() -> crate::sql::X {}";
    assert_eq!(used_modules(text), ["storage", "error", "sql"]);
}

#[test]
fn the_top_level_is_what_the_design_says() {
    const ALLOWED: [&str; 9] = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "src",
        "sql",
        "udfs",
        "benches",
        "tests",
        "examples",
    ];
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // What building and a failed property leave behind.
        let built = ["target", "proptest-regressions"].contains(&name.as_str());
        assert!(
            built || name.starts_with('.') || ALLOWED.contains(&name.as_str()),
            "{name}"
        );
    }
}
