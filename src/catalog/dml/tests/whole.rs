//! A DELETE that takes segments whole does what one does that finds row by row.

use datafusion::physical_plan::{collect, displayable};
use proptest::prelude::*;

use super::*;

impl Books {
    /// Runs a DELETE; how many rows it deleted, and how many segments whole.
    async fn delete_whole(&self, condition: &str) -> (u64, usize) {
        let sql = format!("SELECT _segment, _row FROM rows.public.address WHERE {condition}");
        let input = self.context.sql(&sql).await.unwrap();
        let input = input.into_optimized_plan().unwrap();
        let engine = Arc::clone(&self.db.engine);
        let plan = DmlNode::plan(engine, self.collection(), Operation::Delete, input).unwrap();
        let plan = DataFrame::new(self.context.state(), plan);
        let plan = plan.create_physical_plan().await.unwrap();
        let batches = collect(Arc::clone(&plan), self.context.task_ctx());
        let batches = batches.await.unwrap();
        let count = batches[0].column(0).as_primitive::<UInt64Type>().value(0);
        let whole = plan
            .metrics()
            .unwrap()
            .sum_by_name("segments_deleted_whole");
        assert!(
            displayable(plan.as_ref())
                .indent(false)
                .to_string()
                .contains("DmlExec")
        );
        (count, whole.map_or(0, |w| w.as_usize()))
    }

    async fn fill(&self, segments: &[Vec<Option<i64>>], growing: &[Option<i64>]) {
        for keys in segments {
            self.db.add_segment(self.id, &self.batch(keys)).await;
        }
        if !growing.is_empty() {
            self.db.append(self.id, &self.batch(growing)).await;
        }
    }

    fn batch(&self, keys: &[Option<i64>]) -> RecordBatch {
        let titles = keys.iter().map(|key| key.map(|k| format!("t{k}")));
        let titles: StringArray = titles.collect();
        let keys = Int64Array::from(keys.to_vec());
        let schema = self.collection().schema.arrow_schema();
        RecordBatch::try_new(schema, vec![Arc::new(keys), Arc::new(titles)]).unwrap()
    }
}

fn without_key() -> CollectionSchema {
    let mut schema = book_schema();
    schema.primary_key = vec![];
    schema
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_inside_the_condition_go_unread() {
    let books = Books::with(without_key()).await;
    let keys = |range: std::ops::Range<i64>| range.map(Some).collect::<Vec<_>>();
    let segments = [keys(0..10), keys(10..20), keys(20..30)];
    books.fill(&segments, &keys(30..33)).await;
    assert_eq!(books.delete_whole("id < 15").await, (15, 1));
    assert_eq!(books.delete_whole("id < 15").await, (0, 0));
    // Of the second segment five rows are left, and they are all that is deleted.
    assert_eq!(
        books
            .delete_whole("id BETWEEN 5 AND 29 AND id IS NOT NULL")
            .await,
        (15, 2)
    );
    assert_eq!(books.rows().await.len(), 3);
    assert_eq!(books.delete_whole("true").await, (3, 1));
    assert!(books.rows().await.is_empty());
    let left = books.collection();
    assert!(left.segments().all(|s| s.live_rows() == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_else_reads_is_not_split() {
    let books = Books::with(without_key()).await;
    books.fill(&[vec![Some(1), Some(2)], vec![None]], &[]).await;
    let in_subquery = "id IN (SELECT id FROM book)";
    assert_eq!(books.delete_whole(in_subquery).await, (2, 0));
    assert_eq!(books.delete_whole("id > 0 OR id < 1").await, (0, 0));
    assert_eq!(books.delete_whole("id IS NULL").await, (1, 1));
}

const CONDITIONS: [&str; 8] = [
    "true",
    "id >= 5",
    "id < 5 OR id IS NULL",
    "NOT (id BETWEEN 3 AND 9)",
    "id IN (1, 2, 3)",
    "title LIKE 't1%'",
    "id > 2 AND length(title) = 2",
    "id = 4",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whole_segments_or_rows_the_same_is_left(
        segments in prop::collection::vec(
            prop::collection::vec(prop::option::weighted(0.9, 0i64..14), 1..5), 0..5),
        growing in prop::collection::vec(prop::option::weighted(0.9, 0i64..14), 0..4),
        conditions in prop::collection::vec(prop::sample::select(CONDITIONS.to_vec()), 1..4),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (fast, plain) = (Books::with(without_key()).await, Books::with(without_key()).await);
            query(&plain.context, "SET shelfmark.enable_segment_prune = off").await;
            for books in [&fast, &plain] {
                books.fill(&segments, &growing).await;
            }
            for condition in &conditions {
                let (deleted, _) = fast.delete_whole(condition).await;
                assert_eq!((deleted, 0), plain.delete_whole(condition).await, "{condition}");
                assert_eq!(fast.rows().await, plain.rows().await, "{condition}");
                let live = fast.collection().live_rows();
                assert_eq!(live, fast.rows().await.len() as u64);
            }
        });
    }
}
