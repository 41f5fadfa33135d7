//! Which partition a row of a partitioned collection belongs to.
//!
//! Keys are compared in Arrow's row format, whose bytes sort as the values do: a batch is converted at once, then each key
//! is looked up among the sorted bounds, or hashed.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};

use super::assign::text_of;
use super::checks::shown;
use super::keys::one_zero;
use crate::error::{Error, Result, sqlstate};
use crate::storage::bloom;
use crate::storage::change::QualifiedName;
use crate::storage::collection::Collection;
use crate::storage::partition::{KeyValue, Partition, PartitionBound, RangeEnd};

/// Behind the bytes of any value.
const BEHIND_ALL: u8 = 0xFF;

/// The partitions of a collection, as new rows look for theirs.
pub struct Routing {
    relation: String,
    /// The places and the names of the key's columns.
    columns: Vec<(usize, String)>,
    bounds: Bounds,
    /// The partition that all rows must be rows of.
    only: Option<QualifiedName>,
    names: Vec<QualifiedName>,
}

impl fmt::Debug for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.names).finish()
    }
}

impl Routing {
    /// The routing of a collection; none for one that is not partitioned.
    ///
    /// # Errors
    /// XX001 for a bound of another type than its column.
    pub fn of(collection: &Collection) -> Result<Option<Self>> {
        let Some(partitioning) = &collection.schema.partitioning else {
            return Ok(None);
        };
        let schema = &collection.schema;
        let places = partitioning.columns.iter();
        let places: Vec<usize> = places.filter_map(|id| schema.index_of(*id)).collect();
        let columns = places.iter().map(|at| &schema.columns[*at]);
        let types: Vec<DataType> = columns
            .clone()
            .map(|c| c.column_type.arrow_type())
            .collect();
        let names = columns.map(|column| column.name.clone());
        let partitions = collection.partitions().iter();
        let partitions =
            partitions.filter_map(|view| Some((&view.name, view.partition.as_deref()?)));
        let partitions: Vec<(&QualifiedName, &Partition)> = partitions.collect();
        let bounds = partitions.iter().map(|(_, partition)| &partition.bound);
        Ok(Some(Self {
            relation: collection.name.name.clone(),
            columns: places.iter().copied().zip(names).collect(),
            bounds: Bounds::of(&types, bounds)?,
            only: collection.written_by().cloned(),
            names: partitions
                .into_iter()
                .map(|(name, _)| name.clone())
                .collect(),
        }))
    }

    /// That each row, with the collection's columns as they are stored, has a partition: that which the statement names.
    ///
    /// # Errors
    /// 23514 for the first row that has none.
    pub fn check(&self, rows: &RecordBatch) -> Result<()> {
        let key = self
            .columns
            .iter()
            .map(|(at, _)| Arc::clone(rows.column(*at)));
        let key: Vec<ArrayRef> = key.collect();
        let targets = self.bounds.targets(&key)?;
        let Some(only) = &self.only else {
            return match targets.iter().position(Option::is_none) {
                Some(row) => Err(self.no_partition(&key, row)?),
                None => Ok(()),
            };
        };
        let place = self.names.iter().position(|name| name == only);
        let is_other = |target: &Option<usize>| target.is_none() || *target != place;
        match targets.iter().position(is_other) {
            Some(row) => Err(outside(only, rows, row)),
            None => Ok(()),
        }
    }

    fn no_partition(&self, key: &[ArrayRef], row: usize) -> Result<Error> {
        let mut values = Vec::with_capacity(key.len());
        for column in key {
            let text = text_of(&column.slice(row, 1))?;
            values.push(match text.is_null(0) {
                true => "null".to_string(),
                false => text.value(0).to_string(),
            });
        }
        let relation = &self.relation;
        let message = format!("no partition of relation \"{relation}\" found for row");
        let names: Vec<&str> = self.columns.iter().map(|(_, name)| name.as_str()).collect();
        let detail = format!(
            "Partition key of the failing row contains ({}) = ({}).",
            names.join(", "),
            values.join(", ")
        );
        Ok(Error::invalid(sqlstate::CHECK_VIOLATION, message).with_detail(detail))
    }
}

/// 23514: the row is not one of the partition.
fn outside(partition: &QualifiedName, rows: &RecordBatch, row: usize) -> Error {
    let name = &partition.name;
    let message = format!("new row for relation \"{name}\" violates partition constraint");
    let detail = format!("Failing row contains {}.", shown(rows, row));
    Error::invalid(sqlstate::CHECK_VIOLATION, message).with_detail(detail)
}

/// The bounds of all partitions of a collection, which do not overlap.
pub struct Bounds {
    kind: Kind,
    /// The place of the default partition.
    default: Option<usize>,
}

enum Kind {
    /// The key of each value, with the place of its partition.
    List(RowConverter, HashMap<Box<[u8]>, usize>),
    /// Ranges in their order.
    Range(RowConverter, Vec<Range>),
    /// The place for each remainder of the greatest modulus.
    Hash(Vec<Option<usize>>),
}

/// From a key up to another, which is not in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The key that it begins with.
    pub from: Vec<u8>,
    /// The key behind it.
    pub to: Vec<u8>,
    /// The place of its partition.
    pub place: usize,
}

impl Bounds {
    /// Those bounds of a key of columns of those types.
    ///
    /// # Errors
    /// XX001 for a value of another type.
    pub fn of<'a>(
        types: &[DataType],
        bounds: impl Iterator<Item = &'a PartitionBound>,
    ) -> Result<Self> {
        let converter = || RowConverter::new(types.iter().cloned().map(SortField::new).collect());
        let mut default = None;
        let (mut values, mut ranges, mut hashes) = (HashMap::new(), Vec::new(), Vec::new());
        for (place, bound) in bounds.enumerate() {
            match bound {
                PartitionBound::Default => default = Some(place),
                PartitionBound::List(list) => {
                    for value in list {
                        values.insert(list_key(types, value.as_ref())?.into_boxed_slice(), place);
                    }
                }
                PartitionBound::Range { from, to } => ranges.push(Range {
                    from: range_key(types, from)?,
                    to: range_key(types, to)?,
                    place,
                }),
                PartitionBound::Hash { modulus, remainder } => {
                    hashes.push((*modulus, *remainder, place));
                }
            }
        }
        ranges.sort_unstable();
        let kind = if !hashes.is_empty() {
            Kind::Hash(remainders(&hashes))
        } else if !ranges.is_empty() {
            Kind::Range(converter()?, ranges)
        } else {
            Kind::List(converter()?, values)
        };
        Ok(Self { kind, default })
    }

    /// The place of the partition of each key.
    ///
    /// # Errors
    /// XX000 for columns of other types.
    pub fn targets(&self, key: &[ArrayRef]) -> Result<Vec<Option<usize>>> {
        let key: Vec<ArrayRef> = key.iter().map(one_zero).collect();
        Ok(match &self.kind {
            Kind::List(converter, values) => {
                let rows = converter.convert_columns(&key)?;
                let of = |row: arrow::row::Row<'_>| values.get(row.as_ref()).copied();
                rows.iter().map(|row| of(row).or(self.default)).collect()
            }
            Kind::Range(converter, ranges) => {
                let rows = converter.convert_columns(&key)?;
                self.in_ranges(&key, &rows, ranges)
            }
            Kind::Hash(places) => {
                let hashes = hashes(&key)?.into_iter();
                let modulus = places.len() as u64;
                hashes
                    .map(|hash| places[(hash % modulus) as usize])
                    .collect()
            }
        })
    }

    fn in_ranges(&self, key: &[ArrayRef], rows: &Rows, ranges: &[Range]) -> Vec<Option<usize>> {
        let nullable: Vec<&ArrayRef> = key.iter().filter(|c| c.null_count() > 0).collect();
        let of = |(at, row): (usize, arrow::row::Row<'_>)| {
            if nullable.iter().any(|column| column.is_null(at)) {
                return self.default;
            }
            let row = row.as_ref();
            let behind = ranges.partition_point(|range| range.from.as_slice() <= row);
            let last = behind.checked_sub(1).map(|before| &ranges[before]);
            let found = last.filter(|range| row < range.to.as_slice());
            found.map(|range| range.place).or(self.default)
        };
        rows.iter().enumerate().map(of).collect()
    }
}

/// The key of a value of a list.
///
/// # Errors
/// XX001 for a value of another type.
pub fn list_key(types: &[DataType], value: Option<&KeyValue>) -> Result<Vec<u8>> {
    let data_type = types.first();
    let data_type = data_type.ok_or_else(|| Error::internal("a key without columns"))?;
    encoded(data_type, value)
}

/// The end of a range as a key: before those that begin with it, or behind them.
///
/// # Errors
/// XX001 for a value of another type.
pub fn range_key(types: &[DataType], end: &[RangeEnd]) -> Result<Vec<u8>> {
    let mut key = Vec::new();
    for (data_type, end) in types.iter().zip(end) {
        match end {
            RangeEnd::Min => break,
            RangeEnd::Max => {
                key.push(BEHIND_ALL);
                break;
            }
            RangeEnd::Value(value) => key.extend(encoded(data_type, Some(value))?),
        }
    }
    Ok(key)
}

fn encoded(data_type: &DataType, value: Option<&KeyValue>) -> Result<Vec<u8>> {
    use datafusion::common::ScalarValue;
    let scalar = match value {
        Some(value) => value.value.to_scalar(data_type)?,
        None => ScalarValue::try_from(data_type)?,
    };
    let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
    let rows = converter.convert_columns(&[one_zero(&scalar.to_array()?)])?;
    Ok(rows.row(0).as_ref().to_vec())
}

/// The places by the remainders of the greatest modulus, of which all others are factors.
fn remainders(hashes: &[(u32, u32, usize)]) -> Vec<Option<usize>> {
    let greatest = hashes.iter().map(|(modulus, ..)| *modulus).max();
    let mut places = vec![None; greatest.unwrap_or(1) as usize];
    for (modulus, remainder, place) in hashes {
        let own = places.iter_mut().skip(*remainder as usize);
        own.step_by(*modulus as usize)
            .for_each(|slot| *slot = Some(*place));
    }
    places
}

/// The hashes of keys, by which HASH divides them: they are the same at any time and on any machine.
///
/// # Errors
/// XX000 for a type that is no text.
pub fn hashes(key: &[ArrayRef]) -> Result<Vec<u64>> {
    /// An odd number whose bits look random.
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let rows = key.first().map_or(0, Array::len);
    let mut all = vec![0_u64; rows];
    for column in key {
        let column = one_zero(column);
        let of_values = match bloom::hashes(&column) {
            Some(hashes) => hashes,
            None => bloom::hashes(&cast(&column, &DataType::Utf8)?)
                .ok_or_else(|| Error::internal("texts have hashes"))?,
        };
        let mut of_values = of_values.into_iter();
        for (row, all) in all.iter_mut().enumerate() {
            let own = match column.is_null(row) {
                true => 0,
                false => of_values.next().unwrap_or_default(),
            };
            *all = (all.rotate_left(31) ^ own).wrapping_mul(FACTOR);
        }
    }
    // The low bits, which remainders are made of, depend on all.
    Ok(all.into_iter().map(|hash| hash ^ (hash >> 32)).collect())
}

#[cfg(test)]
mod tests;
