//! The examples run to their end.

#[path = "../../examples/clustering.rs"]
mod clustering;
#[path = "../../examples/embedded.rs"]
mod embedded;
#[path = "../../examples/search_beside_clustering.rs"]
mod search_beside_clustering;
#[path = "../../examples/seed_table/benchmark.rs"]
mod seed_table;
#[path = "../../examples/udfs_in_datafusion.rs"]
mod udfs_in_datafusion;

#[test]
fn clustering_runs() {
    clustering::main().unwrap();
}

#[test]
fn embedded_runs() {
    embedded::main().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn search_beside_clustering_measures_both() {
    let options = search_beside_clustering::Options::small();
    search_beside_clustering::run(options).await.unwrap();
}

#[test]
fn udfs_in_datafusion_runs() {
    udfs_in_datafusion::main().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_table_finds_the_nearest_rows_embedded() {
    let options = seed_table::Options::small(false);
    seed_table::run(options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_table_finds_the_nearest_rows_over_the_wire() {
    let options = seed_table::Options::small(true);
    seed_table::run(options).await.unwrap();
}
