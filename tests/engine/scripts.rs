//! `sql/*.sql`, run by the real program as a user runs them.

use super::{files_below, program, root};

#[test]
fn every_script_runs_to_its_end() {
    for script in files_below(&root().join("sql"), "sql") {
        let output = program().args(["sql", "-f"]).arg(&script).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", script.display());
        assert_eq!(errors, "", "{}", script.display());
    }
}

#[test]
fn the_tour_finds_the_same_books_with_fewer_segments() {
    let output = program()
        .args(["sql", "-f", "sql/tour.sql"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let nearest = [
        "Chapterhouse: Dune",
        "Dune Messiah",
        "The Great Dune Trilogy",
        "Children of Dune",
        "God Emperor",
    ];
    for title in nearest {
        assert!(text.contains(title), "{title} is missing in:\n{text}");
    }
    let distances = ["0.110", "0.120", "0.155", "0.163", "0.175"];
    for distance in distances {
        assert!(text.contains(distance), "{distance} is missing in:\n{text}");
    }
    let searches = tables_with(&text, "distance");
    assert!(
        searches.len() >= 2,
        "the search is shown before and after:\n{text}"
    );
    assert!(
        searches.windows(2).all(|pair| pair[0] == pair[1]),
        "{searches:#?}"
    );
}

/// The rows of every printed table that has such a column.
fn tables_with<'a>(text: &'a str, column: &str) -> Vec<Vec<&'a str>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_header = |i: &usize| {
        lines[*i].contains(column) && lines.get(i + 1).is_some_and(|rule| rule.starts_with("---"))
    };
    let rows = |i: usize| {
        let rows = lines[i + 2..].iter().take_while(|l| !l.starts_with('('));
        rows.copied().collect()
    };
    (0..lines.len()).filter(is_header).map(rows).collect()
}
