//! SQL over vectors in a plain DataFusion session.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, ListArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use shelfmark_udfs::{VectorCastRule, VectorError, VectorType, register_all, with_vector_support};

fn config() -> SessionConfig {
    SessionConfig::new()
        .set_str("datafusion.sql_parser.dialect", "postgres")
        .with_target_partitions(4)
}

/// A session with a table `t` of vectors, one of plain lists, and one of halves.
async fn session() -> SessionContext {
    let builder = SessionStateBuilder::new()
        .with_config(config())
        .with_default_features();
    let ctx = SessionContext::new_with_state(with_vector_support(builder).build());
    fill(&ctx).await;
    ctx
}

async fn fill(ctx: &SessionContext) {
    for statement in [
        "CREATE TABLE t AS SELECT id, v::vector(3) AS v, v::halfvec(3) AS h FROM (VALUES \
         (1, '[1,2,3]'), (2, '[4,6,3]'), (3, NULL), (4, '[-1,0,0.5]')) AS x(id, v)",
        "CREATE TABLE empty AS SELECT v FROM t WHERE id > 100",
    ] {
        ctx.sql(statement).await.unwrap().collect().await.unwrap();
    }
    let data = || [Some(vec![Some(1.0), Some(2.0), Some(3.0)]), None];
    let lists: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int32Array::from(vec![1, 2]))),
        (
            "f",
            Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(
                data().map(|row| row.map(|row| row.into_iter().map(|x| x.map(|x| x as f32)))),
            )),
        ),
        (
            "d",
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(data())),
        ),
    ];
    ctx.register_batch("lists", RecordBatch::try_from_iter(lists).unwrap())
        .unwrap();
}

/// `<+>` is no token of sqlparser, and `<=>` has the precedence of `=`: joined as an engine does.
fn statement(sql: &str) -> Statement {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize_with_location()
        .unwrap();
    let mut joined: Vec<TokenWithSpan> = Vec::new();
    for token in tokens {
        let plus = token.token == Token::Gt
            && joined.len() >= 2
            && joined[joined.len() - 2].token == Token::Lt
            && joined[joined.len() - 1].token == Token::Plus;
        if plus {
            joined.truncate(joined.len() - 2);
            joined.push(TokenWithSpan::wrap(Token::CustomBinaryOperator(
                "<+>".into(),
            )));
        } else if token.token == Token::Spaceship {
            joined.push(TokenWithSpan::wrap(Token::CustomBinaryOperator(
                "<=>".into(),
            )));
        } else {
            joined.push(token);
        }
    }
    let mut parser = DFParserBuilder::new(joined)
        .with_dialect(&PostgreSqlDialect {})
        .build()
        .unwrap();
    parser.parse_statement().unwrap()
}

async fn run(ctx: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    let plan = ctx.state().statement_to_plan(statement(sql)).await?;
    ctx.execute_logical_plan(plan).await?.collect().await
}

/// The only value of a query, as it prints.
async fn value(ctx: &SessionContext, expression: &str) -> String {
    let sql = format!("SELECT {expression}");
    let batches = run(ctx, &sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    let batch = &batches[0];
    assert_eq!((batch.num_columns(), batch.num_rows()), (1, 1), "{sql}");
    ScalarValue::try_from_array(batch.column(0), 0)
        .unwrap()
        .to_string()
}

/// The code and message of a query that fails.
async fn error(ctx: &SessionContext, expression: &str) -> (String, String) {
    let sql = format!("SELECT {expression}");
    match run(ctx, &sql).await {
        Ok(batches) => panic!("{sql}: {}", pretty_format_batches(&batches).unwrap()),
        Err(e) => vector_error(&e).unwrap_or_else(|| ("other".into(), e.to_string())),
    }
}

fn vector_error(error: &DataFusionError) -> Option<(String, String)> {
    let DataFusionError::External(own) = error.find_root() else {
        return None;
    };
    let own = own.downcast_ref::<VectorError>()?;
    Some((own.sqlstate.to_string(), own.message.clone()))
}

async fn column(ctx: &SessionContext, sql: &str) -> Vec<String> {
    let batches = run(ctx, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    let rows = batches
        .iter()
        .flat_map(|b| (0..b.num_rows()).map(move |row| (b, row)));
    rows.map(|(b, row)| {
        ScalarValue::try_from_array(b.column(0), row)
            .unwrap()
            .to_string()
    })
    .collect()
}

#[tokio::test]
async fn casts_and_literals() {
    let ctx = session().await;
    for (expression, expected) in [
        ("'[1,2.5,-3]'::vector(3)::text", "[1,2.5,-3]"),
        ("'[1,2.5,-3]'::vector::text", "[1,2.5,-3]"),
        ("CAST(' [ 1, 1e-5 ] ' AS VECTOR(2))::varchar", "[1,1e-05]"),
        ("'[0.1,1]'::halfvec(2)::text", "[0.099975586,1]"),
        ("'[0.1,1]'::halfvec::vector::text", "[0.099975586,1]"),
        ("ARRAY[1,2,3]::vector(3)::text", "[1,2,3]"),
        ("ARRAY[1.5,2,3]::vector::text", "[1.5,2,3]"),
        ("ARRAY[1::real,2]::public.vector(2)::text", "[1,2]"),
        ("ARRAY[1.25::numeric(10,2)]::halfvec(1)::text", "[1.25]"),
        ("'[1,2]'::vector(2)::real[]", "[1.0, 2.0]"),
        ("'[1,2]'::vector(2)::double precision[]", "[1.0, 2.0]"),
        ("vector_to_float4('[1,2]'::vector)", "[1.0, 2.0]"),
        ("NULL::vector(3)::text", "NULL"),
        ("NULL::text::vector(3)::text", "NULL"),
        ("(SELECT v::text FROM t WHERE id = 2)", "[4,6,3]"),
        ("(SELECT h::text FROM t WHERE id = 4)", "[-1,0,0.5]"),
        ("(SELECT v::vector::text FROM t WHERE id = 2)", "[4,6,3]"),
        (
            "(SELECT v::halfvec(3)::text FROM t WHERE id = 2)",
            "[4,6,3]",
        ),
        ("vector_out(vector_in('[1,2]', 2))", "[1,2]"),
        ("vector_out(array_to_halfvec(ARRAY[1,2]))", "[1,2]"),
        (
            "arrow_typeof('[1,2]'::vector(2))",
            "FixedSizeList(2 x non-null Float32, field: 'element')",
        ),
        (
            "arrow_typeof('[1,2]'::halfvec)",
            "List(non-null Float16, field: 'element')",
        ),
    ] {
        assert_eq!(value(&ctx, expression).await, expected, "{expression}");
    }
}

#[tokio::test]
async fn operators() {
    let ctx = session().await;
    for (expression, expected) in [
        ("'[1,2]'::vector <-> '[4,6]'", "5"),
        ("'[1,2]' <-> '[4,6]'::vector(2)", "5"),
        ("'[1,2]' <-> '[4,6]'", "5"),
        ("'[1,2]'::vector <#> '[3,4]'", "-11"),
        ("'[1,1]'::vector <=> '[2,2]'", "0"),
        ("'[0,0]'::vector <=> '[2,2]'", "NaN"),
        ("'[1,2]'::vector <+> '[4,6]'", "7"),
        ("ARRAY[1,2,3] <-> '[1,2,5]'", "2"),
        ("ARRAY[1.0,2,3] <=> ARRAY[1,2,3]", "0"),
        ("1 - ('[1,1]'::vector <=> '[2,2]')", "1"),
        ("('[1,2]'::vector <#> '[3,4]') * -1", "11"),
        ("NULL <-> '[1,2]'::vector", "NULL"),
        ("NULL::vector(2) <=> '[1,2]'", "NULL"),
        ("'[1,2]'::halfvec <-> '[4,6]'", "5"),
        ("'[1,2]'::halfvec <+> '[4,6]'::vector", "7"),
        ("('[1,2]'::vector + '[3,4]')::text", "[4,6]"),
        ("('[1,2]'::vector - '[3,5]')::text", "[-2,-3]"),
        ("('[1,2]'::vector * '[3,5]')::text", "[3,10]"),
        ("('[1,2]'::vector || '[3]')::text", "[1,2,3]"),
        ("('[1,2]'::vector(2) || '[3]'::vector(1))::text", "[1,2,3]"),
        (
            "arrow_typeof('[1]'::halfvec(1) || '[3]')",
            "FixedSizeList(2 x non-null Float16, field: 'element')",
        ),
        ("'[1,2]'::vector = '[1,2]'", "true"),
        ("'[1,2]'::vector <> '[1,2]'", "false"),
        ("'[1,2]'::vector < '[1,3]'", "true"),
        ("'[1,2]'::vector <= '[1]'", "false"),
        ("'[1,2]'::vector > '[1]'", "true"),
        ("'[0]'::vector >= '[-0]'::vector", "true"),
        ("vector_cmp('[1,2]', '[1,3]')", "-1"),
        ("'[1,2]'::vector IN ('[3,4]', '[1,2]')", "true"),
        (
            "(SELECT v <-> (SELECT v FROM t WHERE id = 2) FROM t WHERE id = 1)",
            "5",
        ),
        ("1 <=> 1", "true"),
        ("1 <=> NULL", "false"),
        ("1 + 2", "3"),
        ("'a' || 'b'", "ab"),
        ("array_to_string(ARRAY[1,2] || ARRAY[3], ',')", "1,2,3"),
    ] {
        assert_eq!(value(&ctx, expression).await, expected, "{expression}");
    }
}

#[tokio::test]
async fn functions() {
    let ctx = session().await;
    for (expression, expected) in [
        ("l2_distance('[1,2]', '[4,6]')", "5"),
        (
            "vector_l2_squared_distance('[1,2]', '[4,6]'::halfvec)",
            "25",
        ),
        ("l2_squared_distance('[1,2]', '[4,6]')", "25"),
        ("inner_product('[1,2]', ARRAY[3,4])", "11"),
        ("negative_inner_product('[1,2]', '[3,4]')", "-11"),
        ("vector_negative_inner_product('[1,2]', '[3,4]')", "-11"),
        ("cosine_distance('[1,0]', '[0,1]')", "1"),
        ("l1_distance('[1,2]', '[4,6]')", "7"),
        ("vector_dims('[1,2,3]')", "3"),
        ("vector_dims('[1,2,3]'::halfvec)", "3"),
        ("vector_norm('[3,4]')", "5"),
        ("l2_norm('[3,4]'::halfvec)", "5"),
        ("l2_normalize('[3,4]'::vector)::text", "[0.6,0.8]"),
        ("l2_normalize('[0,0]'::vector(2))::text", "[0,0]"),
        ("subvector('[1,2,3,4,5]'::vector(5), 1, 3)::text", "[1,2,3]"),
        ("subvector('[1,2,3,4,5]'::vector, 3, 100)::text", "[3,4,5]"),
        (
            "arrow_typeof(subvector('[1,2,3]'::vector(3), 2, 9))",
            "FixedSizeList(2 x non-null Float32, field: 'element')",
        ),
        ("l2_distance(NULL, '[1]')", "NULL"),
        ("vector_dims(NULL)", "NULL"),
    ] {
        assert_eq!(value(&ctx, expression).await, expected, "{expression}");
    }
}

#[tokio::test]
async fn errors_are_pgvectors() {
    let ctx = session().await;
    for (expression, code, message) in [
        (
            "'[1,2]'::vector <-> '[1,2,3]'",
            "22000",
            "different vector dimensions 2 and 3",
        ),
        (
            "v <-> '[1,2]' FROM t",
            "22000",
            "different vector dimensions 3 and 2",
        ),
        (
            "v <-> '[1,2]' FROM empty",
            "22000",
            "different vector dimensions 3 and 2",
        ),
        (
            "'[1,2]' <-> h FROM t",
            "22000",
            "different halfvec dimensions 2 and 3",
        ),
        (
            "l2_distance(v, '[1,2]') FROM t",
            "22000",
            "different vector dimensions 3 and 2",
        ),
        (
            "l2_distance('[1,2]', v) FROM t",
            "22000",
            "different vector dimensions 2 and 3",
        ),
        (
            "f <-> '[1]' FROM lists",
            "22000",
            "different vector dimensions 3 and 1",
        ),
        (
            "v + '[1,2]' FROM t",
            "22000",
            "different vector dimensions 3 and 2",
        ),
        (
            "'[1,2]'::vector(3)",
            "22000",
            "expected 3 dimensions, not 2",
        ),
        (
            "v::vector(2) FROM t",
            "22000",
            "expected 2 dimensions, not 3",
        ),
        (
            "ARRAY[1,2]::vector(3)",
            "22000",
            "expected 3 dimensions, not 2",
        ),
        (
            "ARRAY[1,NULL]::vector(2)",
            "22004",
            "array must not contain nulls",
        ),
        ("ARRAY[ARRAY[1]]::vector(1)", "22000", "array must be 1-D"),
        (
            "ARRAY['NaN'::double precision]::vector",
            "22000",
            "NaN not allowed in vector",
        ),
        (
            "ARRAY[1e39]::vector(1)",
            "22000",
            "infinite value not allowed in vector",
        ),
        ("'[NaN]'::vector", "22000", "NaN not allowed in vector"),
        (
            "'[1e39]'::vector",
            "22003",
            "\"1e39\" is out of range for type vector",
        ),
        (
            "'[]'::vector",
            "22000",
            "vector must have at least 1 dimension",
        ),
        (
            "'[1,,2]'::vector(2)",
            "22P02",
            "invalid input syntax for type vector: \"[1,,2]\"",
        ),
        (
            "'hello'::halfvec(2)",
            "22P02",
            "invalid input syntax for type halfvec: \"hello\"",
        ),
        (
            "v <-> 'hello' FROM empty",
            "22P02",
            "invalid input syntax for type vector: \"hello\"",
        ),
        (
            "v = 'hello' FROM empty",
            "22P02",
            "invalid input syntax for type vector: \"hello\"",
        ),
        (
            "l2_distance(v, 'hello') FROM t",
            "22P02",
            "invalid input syntax for type vector: \"hello\"",
        ),
        (
            "x::vector(1) FROM (VALUES ('[1]'), ('x')) AS y(x)",
            "22P02",
            "invalid input syntax for type vector: \"x\"",
        ),
        (
            "'[1]'::vector(0)",
            "22023",
            "dimensions for type vector must be at least 1",
        ),
        (
            "'[1]'::vector(16001)",
            "22023",
            "dimensions for type vector cannot exceed 16000",
        ),
        ("'[1]'::vector(1, 2)", "22023", "invalid type modifier"),
        (
            "'[3e38]'::vector + '[3e38]'",
            "22003",
            "value out of range: overflow",
        ),
        (
            "'[1e-30]'::vector * '[1e-30]'",
            "22003",
            "value out of range: underflow",
        ),
        (
            "'[60000]'::halfvec + '[60000]'",
            "22003",
            "value out of range: overflow",
        ),
        (
            "'[70000]'::vector::halfvec",
            "22003",
            "\"70000\" is out of range for type halfvec",
        ),
        (
            "subvector('[1,2]'::vector, 3, 1)",
            "22000",
            "vector must have at least 1 dimension",
        ),
        (
            "sum(x) FROM (VALUES ('[1]'::vector), ('[1,2]'::vector)) AS y(x)",
            "22000",
            "different vector dimensions 1 and 2",
        ),
        (
            "sum(x) FROM (VALUES ('[3e38]'::vector), ('[3e38]'::vector)) AS y(x)",
            "22003",
            "value out of range: overflow",
        ),
    ] {
        let expected = (code.to_string(), message.to_string());
        assert_eq!(error(&ctx, expression).await, expected, "{expression}");
    }
    for expression in [
        "l2_distance(1, 2)",
        "vector_dims()",
        "v + 1 FROM t",
        "v <-> 1 FROM t",
    ] {
        assert_eq!(error(&ctx, expression).await.0, "other", "{expression}");
    }
}

#[tokio::test]
async fn columns_order_and_filter() {
    let ctx = session().await;
    let ids = |sql: &'static str| column(&ctx, sql);
    assert_eq!(
        ids("SELECT id FROM t ORDER BY v <-> '[4,6,2]' LIMIT 2").await,
        ["2", "1"]
    );
    assert_eq!(
        ids("SELECT id FROM t ORDER BY '[4,6,2]' <-> h").await,
        ["2", "1", "4", "3"]
    );
    assert_eq!(
        ids("SELECT id FROM t ORDER BY v <=> '[0,0,0]', id").await,
        ["1", "2", "4", "3"]
    );
    assert_eq!(
        ids("SELECT id FROM t WHERE v <+> '[1,2,3]' < 8 ORDER BY id").await,
        ["1", "2", "4"]
    );
    assert_eq!(
        ids("SELECT id FROM t WHERE v BETWEEN '[1]' AND '[4]'").await,
        ["1"]
    );
    assert_eq!(
        ids("SELECT id FROM t WHERE v NOT BETWEEN '[1]' AND '[4]' ORDER BY id").await,
        ["2", "4"]
    );
    assert_eq!(ids("SELECT id FROM t WHERE v = '[1,2,3]'").await, ["1"]);
    assert_eq!(
        ids("SELECT id FROM t WHERE v > '[1,2,2]' ORDER BY v").await,
        ["1", "2"]
    );
    assert_eq!(
        ids("SELECT id FROM t WHERE v IN ('[1,2,3]', '[4,6,3]') ORDER BY id").await,
        ["1", "2"]
    );
    assert_eq!(
        ids("SELECT a.id FROM t a JOIN t b ON a.v = b.v ORDER BY 1").await,
        ["1", "2", "4"]
    );
    assert_eq!(ids("SELECT count(DISTINCT v) FROM t").await, ["3"]);
    assert_eq!(
        ids("SELECT a.id FROM t a, t b WHERE b.id = 1 ORDER BY a.v <-> b.v LIMIT 2").await,
        ["1", "4"]
    );
    assert_eq!(
        ids("SELECT v <-> h FROM t ORDER BY id").await,
        ["0", "0", "NULL", "0"]
    );
    assert_eq!(
        ids("SELECT f <-> '[1,2,5]' FROM lists ORDER BY id").await,
        ["2", "NULL"]
    );
    assert_eq!(
        ids("SELECT d <=> f FROM lists ORDER BY id").await,
        ["0", "NULL"]
    );
    assert_eq!(
        ids("SELECT vector_dims(d) FROM lists ORDER BY id").await,
        ["3", "NULL"]
    );
    assert_eq!(
        ids("SELECT id FROM t WHERE EXISTS (SELECT 1 FROM lists l WHERE l.f <-> t.v < 1)").await,
        ["1"]
    );
}

#[tokio::test]
async fn averages_and_sums() {
    let ctx = session().await;
    for (expression, expected) in [
        ("avg(v)::text FROM t WHERE id < 4", "[2.5,4,3]"),
        ("sum(v)::text FROM t", "[4,8,6.5]"),
        ("vector_sum(h)::text FROM t", "[4,8,6.5]"),
        ("vector_avg(v)::text FROM t WHERE id = 3", "NULL"),
        ("avg(v)::text FROM empty", "NULL"),
        ("avg(f)::text FROM lists", "[1,2,3]"),
        (
            "sum(DISTINCT v)::text FROM (SELECT v FROM t UNION ALL SELECT v FROM t) AS x",
            "[4,8,6.5]",
        ),
        ("avg(id) FROM t", "2.5"),
        ("mean(id) FROM t", "2.5"),
        ("sum(id) FROM t", "10"),
        ("sum(id + 1) FROM t", "14"),
        ("sum(DISTINCT id % 2) FROM t", "1"),
        ("sum(id::numeric(10,2)) FROM t", "10.00"),
        ("avg(v) FILTER (WHERE id = 1)::text FROM t", "[1,2,3]"),
    ] {
        let expression = expression.replace("FILTER (WHERE id = 1)::text", "FILTER (WHERE id = 1)");
        let expected = if expression.contains("FILTER") {
            "[1.0, 2.0, 3.0]"
        } else {
            expected
        };
        assert_eq!(value(&ctx, &expression).await, expected, "{expression}");
    }
    let groups = "SELECT avg(v)::text FROM t GROUP BY id % 2 ORDER BY id % 2";
    assert_eq!(column(&ctx, groups).await, ["[1.5,3,1.75]", "[1,2,3]"]);
    let windows = "SELECT sum(id) OVER (ORDER BY id) FROM t ORDER BY id";
    assert_eq!(column(&ctx, windows).await, ["1", "3", "6", "10"]);
    let frames = "SELECT (avg(v) OVER (ORDER BY id ROWS 1 PRECEDING))::text FROM t ORDER BY id";
    assert_eq!(
        column(&ctx, frames).await,
        ["[1,2,3]", "[2.5,4,3]", "[4,6,3]", "[-1,0,0.5]"]
    );
    let windows = "SELECT (sum(v) OVER (ORDER BY id))::text FROM t ORDER BY id";
    assert_eq!(
        column(&ctx, windows).await,
        ["[1,2,3]", "[5,8,6]", "[5,8,6]", "[4,8,6.5]"]
    );
}

#[tokio::test]
async fn parameters_take_the_type_of_the_vector() {
    let ctx = session().await;
    let sql = "SELECT id FROM t ORDER BY v <-> $1 LIMIT 1";
    let plan = ctx.state().statement_to_plan(statement(sql)).await.unwrap();
    let fields = plan.get_parameter_fields().unwrap();
    let expected =
        DataType::FixedSizeList(Arc::new(Field::new("element", DataType::Float32, false)), 3);
    assert_eq!(fields["$1"].as_ref().unwrap().data_type(), &expected);
    let text = ScalarValue::Utf8(Some("[4,6,3]".into()));
    let bound = plan.with_param_values(vec![text]).unwrap();
    let batches = ctx
        .execute_logical_plan(bound)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    assert_eq!(batches[0].column(0).len(), 1);

    for sql in [
        "SELECT id FROM t ORDER BY $1::vector <=> h",
        "SELECT id FROM t WHERE v = $1",
    ] {
        let plan = ctx.state().statement_to_plan(statement(sql)).await.unwrap();
        let fields = plan.get_parameter_fields().unwrap();
        assert!(matches!(
            fields["$1"].as_ref().unwrap().data_type(),
            DataType::FixedSizeList(_, 3) | DataType::List(_)
        ));
    }
}

#[tokio::test]
async fn parameters_of_functions_are_typed_by_the_rule() {
    let ctx = session().await;
    for (sql, dimension) in [
        ("SELECT l2_distance(h, $1) FROM t", Some(3)),
        ("SELECT vector_concat($1, v) FROM t", None),
        ("SELECT $1::vector(7)", Some(7)),
    ] {
        let plan = ctx.state().statement_to_plan(statement(sql)).await.unwrap();
        let plan = VectorCastRule
            .analyze(plan, ctx.state().config_options())
            .unwrap();
        let fields = plan.get_parameter_fields().unwrap();
        let vector = VectorType::of(fields["$1"].as_ref().unwrap().data_type()).unwrap();
        assert_eq!(vector.dimension, dimension, "{sql}");
    }
}

#[tokio::test]
async fn averages_over_many_partitions() {
    let ctx = session().await;
    let batches = run(&ctx, "SELECT id, v, h FROM t").await.unwrap();
    let rows = batches
        .iter()
        .flat_map(|b| (0..b.num_rows()).map(|row| vec![b.slice(row, 1)]));
    let table = MemTable::try_new(batches[0].schema(), rows.collect()).unwrap();
    ctx.register_table("spread", Arc::new(table)).unwrap();
    for (expression, expected) in [
        ("avg(v)::text FROM spread WHERE id < 4", "[2.5,4,3]"),
        ("sum(h)::text FROM spread", "[4,8,6.5]"),
        ("sum(v)::text FROM spread WHERE id = 3", "NULL"),
    ] {
        assert_eq!(value(&ctx, expression).await, expected, "{expression}");
    }
    let groups = "SELECT avg(v)::text FROM spread GROUP BY id % 2 ORDER BY id % 2";
    assert_eq!(column(&ctx, groups).await, ["[1.5,3,1.75]", "[1,2,3]"]);
}

#[tokio::test]
async fn what_surrounds_vectors_takes_them() {
    let ctx = session().await;
    for (sql, expected) in [
        (
            "SELECT coalesce(v, '[0,0,0]'::vector(3))::text FROM t WHERE id = 3",
            "[0,0,0]",
        ),
        (
            "SELECT count(*) FROM (SELECT v FROM t UNION SELECT v FROM t) AS x",
            "4",
        ),
        (
            "SELECT v IS DISTINCT FROM '[1,2,3]'::vector(3) FROM t WHERE id = 1",
            "false",
        ),
        (
            "SELECT round(vector_norm(v - (SELECT avg(v) FROM t)) * 10) FROM t WHERE id = 1",
            "11.0",
        ),
        ("SELECT v[2] FROM t WHERE id = 2", "6.0"),
        (
            "SELECT id FROM t WHERE v = ANY(ARRAY['[1,2,3]'::vector(3)])",
            "1",
        ),
    ] {
        let got = column(&ctx, sql).await;
        assert_eq!(got.len(), 1, "{sql}");
        assert_eq!(
            got[0].trim_end_matches(".0"),
            expected.trim_end_matches(".0"),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn literals_are_read_when_the_query_is_planned() {
    let ctx = session().await;
    let sql = "EXPLAIN SELECT id FROM t WHERE l2_distance(v, '[1,2,3]') < 3 \
               ORDER BY v <-> '[3,1,2]'::vector LIMIT 5";
    let plan = pretty_format_batches(&run(&ctx, sql).await.unwrap())
        .unwrap()
        .to_string();
    assert!(
        plan.contains("l2_distance(v@1, [1.0, 2.0, 3.0]) < 3"),
        "{plan}"
    );
    assert!(
        plan.contains("l2_distance(v@1, [3.0, 1.0, 2.0]) ASC NULLS LAST"),
        "{plan}"
    );
}

#[tokio::test]
async fn tables_of_vectors() {
    let ctx = session().await;
    for sql in [
        "CREATE TABLE made (id INT, v VECTOR(3) NOT NULL, h HALFVEC(2), a VECTOR(2)[])",
        "INSERT INTO made VALUES (1, ARRAY[1,2,3], ARRAY[1.5,2], NULL)",
        "INSERT INTO made SELECT 2, v, subvector(h, 1, 2), ARRAY['[1,2]'::vector(2)] FROM t WHERE id = 2",
    ] {
        run(&ctx, sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    assert_eq!(
        column(&ctx, "SELECT v::text FROM made ORDER BY id").await,
        ["[1,2,3]", "[4,6,3]"]
    );
    assert_eq!(
        column(&ctx, "SELECT h::text FROM made ORDER BY id").await,
        ["[1.5,2]", "[4,6]"]
    );
    let wrong = run(&ctx, "INSERT INTO made VALUES (1, ARRAY[1,2], NULL, NULL)")
        .await
        .unwrap_err();
    assert_eq!(
        vector_error(&wrong).unwrap().1,
        "expected 3 dimensions, not 2"
    );
}

#[tokio::test]
async fn an_existing_session_learns_vectors_once_or_twice() {
    let ctx = SessionContext::new_with_config(config());
    ctx.sql("CREATE TABLE kept AS SELECT 1 AS x")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let id = ctx.session_id();
    register_all(&ctx);
    register_all(&ctx);
    assert_eq!(ctx.session_id(), id);
    fill(&ctx).await;
    assert_eq!(
        value(&ctx, "avg(v)::text FROM t WHERE id < 3").await,
        "[2.5,4,3]"
    );
    assert_eq!(value(&ctx, "sum(x) FROM kept").await, "1");
    assert_eq!(
        column(&ctx, "SELECT id FROM t ORDER BY v <-> '[4,6,2]' LIMIT 1").await,
        ["2"]
    );
}

#[tokio::test]
async fn column_names_stay() {
    let ctx = session().await;
    let plan = ctx
        .state()
        .statement_to_plan(statement("SELECT '[1]'::vector(1), avg(v), sum(id) FROM t"))
        .await
        .unwrap();
    let before: Vec<String> = plan
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    let batches = ctx
        .execute_logical_plan(plan)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let after: Vec<String> = batches[0]
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(before, after);
    assert_eq!(after[1], "avg(t.v)");
}

#[tokio::test]
async fn distances_of_bit_strings() {
    let ctx = session().await;
    for (expression, expected) in [
        ("hamming_distance('111', '100')", "2"),
        ("hamming_distance('', '')", "0"),
        ("'x1F' <~> '00000000'", "5"),
        ("jaccard_distance('1111', '1100')", "0.5"),
        ("'1100' <%> '0011'", "1"),
        ("hamming_distance(NULL, '1')", "NULL"),
        ("binary_quantize('[1,0,-1,0.5]')", "1001"),
        (
            "hamming_distance(binary_quantize(v), '110') FROM t WHERE id = 1",
            "1",
        ),
        ("binary_quantize(h) FROM t WHERE id = 4", "001"),
    ] {
        assert_eq!(value(&ctx, expression).await, expected, "{expression}");
    }
    let order = "SELECT id FROM t WHERE v IS NOT NULL ORDER BY binary_quantize(v) <~> '001', id";
    assert_eq!(column(&ctx, order).await, ["4", "1", "2"]);
    for (expression, sqlstate, message) in [
        ("'111' <~> '00'", "22000", "different bit lengths 3 and 2"),
        (
            "'12' <%> '00'",
            "22P02",
            "\"2\" is not a valid binary digit",
        ),
    ] {
        let expected = (sqlstate.to_string(), message.to_string());
        assert_eq!(error(&ctx, expression).await, expected, "{expression}");
    }
}
