//! The columns of the winners, which are read last.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array,
};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;

use super::best::{Address, Entry};
use super::pool::Unit;
use super::run::Run;
use crate::catalog::scan::OutputColumn;
use crate::error::{Error, Result};
use crate::storage::adapt::projected_schema;
use crate::storage::fetch::{growing_rows, sealed_rows_kept};
use crate::storage::schema::FieldId;

impl Run {
    /// The output rows of winners, in their order.
    ///
    /// # Errors
    /// XX001 when a file is damaged, 58030 when it cannot be read.
    pub fn fetch(&self, winners: &[Entry]) -> Result<RecordBatch> {
        let _timer = self.metrics.fetch_time.timer();
        let fields: Vec<FieldId> = self.search.columns.iter().filter_map(stored).collect();
        let rows = self.stored_rows(&fields, winners)?;
        let mut stored = rows.columns().iter();
        let addresses = || winners.iter().map(|(_, address)| *address);
        let mut columns = Vec::with_capacity(self.search.columns.len() + 1);
        for column in &self.search.columns {
            columns.push(match column {
                OutputColumn::Stored(_) => stored.next().cloned().ok_or_else(lost_column)?,
                OutputColumn::Row => {
                    Arc::new(UInt32Array::from_iter_values(addresses().map(|a| a.row))) as ArrayRef
                }
                OutputColumn::Segment => {
                    let ids = addresses().map(|a| self.segment_id(a));
                    Arc::new(UInt64Array::from_iter_values(ids))
                }
            });
        }
        let order = self.search.order;
        let distances = winners.iter().map(|(key, _)| order.distance(*key));
        columns.push(Arc::new(distances.collect::<Float64Array>()));
        let options = RecordBatchOptions::new().with_row_count(Some(winners.len()));
        let output = SchemaRef::clone(&self.search.output);
        Ok(RecordBatch::try_new_with_options(
            output, columns, &options,
        )?)
    }

    fn segment_id(&self, address: Address) -> u64 {
        match &self.units[address.unit as usize] {
            Unit::Growing(segment) => segment.id.0,
            Unit::Sealed(segment) => segment.id.0,
        }
    }

    /// The stored columns of winners, read segment by segment.
    fn stored_rows(&self, fields: &[FieldId], winners: &[Entry]) -> Result<RecordBatch> {
        let collection = &self.source.collection.schema;
        if winners.is_empty() {
            return Ok(RecordBatch::new_empty(projected_schema(
                collection, fields,
            )?));
        }
        if fields.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(winners.len()));
            let schema = projected_schema(collection, fields)?;
            return Ok(RecordBatch::try_new_with_options(schema, vec![], &options)?);
        }
        let mut addresses: Vec<(Address, usize)> = winners
            .iter()
            .enumerate()
            .map(|(place, (_, address))| (*address, place))
            .collect();
        addresses.sort_unstable();
        let mut batches = Vec::new();
        let mut sources = vec![(0, 0); winners.len()];
        for of_unit in addresses.chunk_by(|a, b| a.0.unit == b.0.unit) {
            // More than one query may have found a row.
            let mut rows: Vec<u32> = of_unit.iter().map(|(address, _)| address.row).collect();
            rows.dedup();
            let batch = match &self.units[of_unit[0].0.unit as usize] {
                Unit::Growing(segment) => growing_rows(segment, collection, fields, &rows)?,
                Unit::Sealed(segment) => {
                    let reader = self.source.open_segment(segment.id)?;
                    let kept = &self.source.engine.columns;
                    let (batch, bytes) =
                        sealed_rows_kept(kept, segment.id, &reader, collection, fields, &rows)?;
                    self.metrics.other_bytes.add(bytes as usize);
                    batch
                }
            };
            let of_rows = of_unit.chunk_by(|a, b| a.0 == b.0);
            for (i, (_, place)) in of_rows
                .enumerate()
                .flat_map(|(i, of_row)| of_row.iter().map(move |a| (i, a)))
            {
                sources[*place] = (batches.len(), i);
            }
            batches.push(batch);
        }
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        Ok(interleave_record_batch(&batches, &sources)?)
    }
}

fn stored(column: &OutputColumn) -> Option<FieldId> {
    match column {
        OutputColumn::Stored(field) => Some(*field),
        OutputColumn::Segment | OutputColumn::Row => None,
    }
}

fn lost_column() -> Error {
    Error::internal("a search read fewer columns than it puts out")
}
