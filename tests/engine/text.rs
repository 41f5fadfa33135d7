//! Values as the text that `.slt` files expect: PostgreSQL's, on one line.

use arrow::record_batch::RecordBatch;
use bytes::BytesMut;
use shelfmark::sql::format::{Format, RowEncoder, Style};

/// The rows of a batch.
pub fn rows(batch: &RecordBatch) -> Vec<Vec<String>> {
    let schema = batch.schema();
    let formats = vec![Format::Text; schema.fields().len()];
    let mut encoder = RowEncoder::try_new(&schema, &formats, &Style::default()).unwrap();
    encoder.start(batch).unwrap();
    let cell_of = |column, row| {
        let mut value = BytesMut::new();
        let is_null = !encoder.put_value(column, row, &mut value).unwrap();
        cell((!is_null).then_some(&value[..]))
    };
    let columns = 0..schema.fields().len();
    let rows = (0..batch.num_rows()).map(|row| columns.clone().map(|c| cell_of(c, row)).collect());
    let names = schema.fields().iter().map(|f| f.name().as_str());
    shown(&names.collect::<Vec<_>>(), rows.collect())
}

/// A value as it came from the server.
pub fn cell(value: Option<&[u8]>) -> String {
    match value {
        None => "NULL".to_string(),
        Some([]) => "(empty)".to_string(),
        Some(bytes) => String::from_utf8(bytes.to_vec())
            .unwrap()
            .replace('\n', "\\n"),
    }
}

/// The rows of an answer; the lines of an EXPLAIN are rows of their own.
pub fn shown(names: &[&str], rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    if names != ["QUERY PLAN"] {
        return rows;
    }
    let plans: Vec<String> = rows.into_iter().flatten().collect();
    let lines = plans.iter().flat_map(|plan| plan.split("\\n"));
    let lines = lines.map(|line| line.trim().to_string());
    lines
        .filter(|line| !line.is_empty())
        .map(|line| vec![line])
        .collect()
}
