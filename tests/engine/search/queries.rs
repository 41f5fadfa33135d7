//! Random rows, changes of them, and queries of a table.

use proptest::prelude::*;
use proptest::sample::select;

/// A row as SQL: key, group, text, vector and half vector.
pub type Row = [String; 5];

#[derive(Debug, Clone)]
pub enum Step {
    Insert(Vec<Row>),
    Delete(String),
    Update(String, String),
    Compact(&'static str),
    Queries(Vec<Query>),
}

#[derive(Debug, Clone)]
pub struct Query {
    pub distance: String,
    /// What is sorted by, over `{}`, the distance.
    pub score: &'static str,
    /// The same with the query as a parameter, and its value.
    pub prepared: (String, String),
    pub columns: &'static str,
    pub filter: String,
    pub direction: &'static str,
    pub ties: &'static str,
    pub limit: usize,
    pub offset: usize,
    pub prune: bool,
}

impl Query {
    pub fn text_with(&self, distance: &str, limited: bool) -> String {
        let Self {
            score,
            columns,
            filter,
            direction,
            ties,
            limit,
            offset,
            ..
        } = self;
        let score = score.replace("{}", distance);
        let filter = filter.replace("DISTANCE", &score).replace("RAW", distance);
        let mut text = format!("SELECT id, {score} AS d{columns} FROM t");
        if !filter.is_empty() {
            text = format!("{text} WHERE {filter}");
        }
        text = format!("{text} ORDER BY {score}{direction}{ties}");
        if limited {
            text = format!("{text} LIMIT {limit} OFFSET {offset}");
        }
        text
    }

    pub fn text(&self) -> String {
        self.text_with(&self.distance, true)
    }
}

pub fn or_null(values: BoxedStrategy<String>) -> BoxedStrategy<String> {
    prop_oneof![8 => values, 1 => Just("NULL".to_string())].boxed()
}

pub fn vector(dimensions: usize) -> BoxedStrategy<String> {
    // Few values: rows of equal distance, zero vectors (whose cosine distance is NaN), and huge ones (infinite).
    let element =
        prop_oneof![20 => (-2i32..3).prop_map(|v| v.to_string()), 1 => Just("3e4".to_string())];
    let elements = prop::collection::vec(element, dimensions);
    elements
        .prop_map(|e| format!("'[{}]'", e.join(",")))
        .boxed()
}

pub fn row() -> impl Strategy<Value = Row> {
    let number = || or_null((0i32..12).prop_map(|v| v.to_string()).boxed());
    let text = or_null(
        select(vec!["'a'", "'b'", "''"])
            .prop_map(String::from)
            .boxed(),
    );
    let vectors = (or_null(vector(3)), or_null(vector(2)));
    (number(), number(), text, vectors).prop_map(|(key, grp, text, (e, h))| [key, grp, text, e, h])
}

fn scalar_filter() -> BoxedStrategy<String> {
    let compared = (
        select(vec!["key", "grp", "id"]),
        select(vec!["<", "<=", "=", "<>", ">=", ">"]),
        0..14,
    );
    let compared = compared.prop_map(|(column, op, value)| format!("{column} {op} {value}"));
    let other = select(vec![
        "key IS NULL",
        "key IS NOT NULL",
        "key IN (1, 3, 5)",
        "key NOT IN (2, NULL)",
        "key BETWEEN 3 AND 7",
        "s = 'a'",
        "s LIKE 'a%'",
        "key + grp < 9",
        "key > grp",
        "CASE WHEN key < 5 THEN grp < 5 END",
        "coalesce(key, 3) = 3",
        "key = (SELECT max(key) FROM t)",
        "key > (SELECT 2) + 1 AND key <= (SELECT min(id) FROM t WHERE id > 6)",
    ]);
    let leaf = prop_oneof![3 => compared, 2 => other.prop_map(String::from)].boxed();
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), select(vec!["AND", "OR"]), inner.clone())
                .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            inner.prop_map(|a| format!("NOT ({a})")),
        ]
    })
    .boxed()
}

fn filter() -> impl Strategy<Value = String> {
    let measured = select(vec![
        "DISTANCE < 3",
        "DISTANCE >= 1",
        "DISTANCE BETWEEN 0 AND 2",
        "DISTANCE IS NOT NULL",
        "NOT (DISTANCE > 1)",
        "DISTANCE > 0",
        "DISTANCE >= -1",
        "1 >= DISTANCE",
        "RAW < 2",
        "RAW <= 0 AND DISTANCE IS NOT NULL",
    ]);
    // What a search does not take: the plain plan runs.
    let foreign = select(vec![
        "e IS NOT NULL",
        "DISTANCE < key",
        "h <-> '[1,1]' < 2",
        "random() < 2",
    ]);
    prop_oneof![
        2 => Just(String::new()),
        4 => scalar_filter(),
        2 => measured.clone().prop_map(String::from),
        2 => (scalar_filter(), measured).prop_map(|(a, b)| format!("{a} AND {b}")),
        1 => (scalar_filter(), foreign).prop_map(|(a, b)| format!("{a} AND {b}")),
    ]
}

fn distance() -> impl Strategy<Value = (String, (String, String))> {
    let operators = vec!["<->", "<=>", "<#>", "<+>"];
    let functions = vec![
        "l2_distance",
        "cosine_distance",
        "inner_product",
        "vector_negative_inner_product",
        "l1_distance",
        "vector_l2_squared_distance",
    ];
    let columns = prop_oneof![3 => Just(("e", "vector", 3)), 1 => Just(("h", "halfvec", 2))];
    columns.prop_flat_map(move |(column, data_type, dimensions)| {
        let query = prop_oneof![15 => vector(dimensions), 1 => Just("NULL".to_string())];
        let shape = (select(operators.clone()), select(functions.clone()), 0..5);
        (query, shape).prop_map(move |(query, (operator, function, shape))| {
            let cast = format!("{query}::{data_type}");
            let written = match shape {
                0 if query != "NULL" => format!("{column} {operator} {query}"),
                0 | 1 => format!("{column} {operator} {cast}"),
                2 => format!("{function}({column}, {cast})"),
                3 => format!("{column} {operator} (SELECT {column} FROM t WHERE id = 2)"),
                _ => format!("({cast}) {operator} {column}"),
            };
            (written, (format!("{column} {operator} $1"), query))
        })
    })
}

pub fn query() -> impl Strategy<Value = Query> {
    let directions = vec!["", "", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"];
    let ties = vec!["", ", id", ", key DESC, id", ", id DESC", ", abs(grp), id"];
    let columns = vec![
        "",
        ", key",
        ", key, grp, s, e, h",
        ", s, e",
        ", h, key + 1 AS next",
    ];
    let limit = prop_oneof![4 => 1usize..6, 2 => 6usize..40, 1 => Just(1_000usize)];
    let offset = prop_oneof![3 => Just(0usize), 1 => 0usize..20];
    let scores = vec![
        "{}",
        "{}",
        "{}",
        "1 - ({})",
        "({}) * -1",
        "-({})",
        "2 * ({}) - 3",
        "1e-300 * ({}) * 1e-20",
    ];
    let how = (select(directions), select(ties), select(columns));
    let distance = (distance(), select(scores));
    (distance, filter(), how, limit, offset, any::<bool>()).prop_map(
        |(
            ((distance, prepared), score),
            filter,
            (direction, ties, columns),
            limit,
            offset,
            prune,
        )| Query {
            distance,
            score,
            prepared,
            columns,
            filter,
            direction,
            ties,
            limit,
            offset,
            prune,
        },
    )
}

pub fn step() -> impl Strategy<Value = Step> {
    let compactions = vec!["", "WITH CLUSTERING", "WITH (FULL)"];
    prop_oneof![
        3 => prop::collection::vec(row(), 1..60).prop_map(Step::Insert),
        1 => scalar_filter().prop_map(Step::Delete),
        1 => (row(), scalar_filter()).prop_map(|(row, filter)| {
            Step::Update(format!("key = {}, e = {}", row[0], row[3]), filter)
        }),
        2 => select(compactions).prop_map(Step::Compact),
        3 => prop::collection::vec(query(), 1..12).prop_map(Step::Queries),
    ]
}
