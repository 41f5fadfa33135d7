//! The examples run to their end.

#[path = "../../examples/clustering.rs"]
mod clustering;
#[path = "../../examples/embedded.rs"]
mod embedded;
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

#[test]
fn udfs_in_datafusion_runs() {
    udfs_in_datafusion::main().unwrap();
}
