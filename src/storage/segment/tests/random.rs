//! Random schemas and rows with the values that break things.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, TimeUnit};
use half::f16;

use crate::storage::schema::{CollectionSchema, Column, ColumnType, FieldId};

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    fn column_type(&mut self) -> ColumnType {
        use ColumnType::*;
        let dimensions = 1 + self.below(40) as u32;
        self.pick(&[
            Boolean,
            TinyInt,
            SmallInt,
            Integer,
            BigInt,
            Real,
            Double,
            Numeric(5, 2),
            Numeric(18, 4),
            Numeric(38, 10),
            Text,
            Varchar(300),
            Date,
            Time,
            Timestamp,
            TimestampTz,
            Bytea,
            Uuid,
            Json,
            Vector(dimensions),
            HalfVec(dimensions),
            Array(Box::new(Integer)),
            Array(Box::new(Text)),
            Array(Box::new(Array(Box::new(Double)))),
        ])
    }

    pub fn schema(&mut self) -> CollectionSchema {
        let count = 1 + self.below(7);
        let mut ids: Vec<u32> = (1..20).collect();
        self.shuffle(&mut ids);
        let columns: Vec<Column> = (0..count)
            .map(|i| Column {
                id: FieldId(ids[i]),
                name: format!(
                    "{}{i}",
                    self.pick(&["a", "Weird.Name \"", "ünï", "list", "x"])
                ),
                column_type: self.column_type(),
                nullable: self.chance(60),
                default: None,
                missing: None,
                generated: None,
                domain: None,
            })
            .collect();
        let keys = columns.iter().filter(|c| c.column_type.is_clusterable());
        let keys: Vec<FieldId> = keys.map(|c| c.id).take(2).collect();
        CollectionSchema {
            primary_key: keys.iter().take(1).copied().collect(),
            clustering_key: keys,
            columns,
            partition_key: None,
            next_field_id: FieldId(20),
            checks: Vec::new(),
            computed_keys: Vec::new(),
            foreign_keys: Vec::new(),
            primary_key_name: None,
            partitioning: None,
        }
    }

    pub fn batch(&mut self, schema: &CollectionSchema, rows: usize) -> RecordBatch {
        let columns = schema.columns.iter();
        let columns: Vec<ArrayRef> = columns
            .map(|c| {
                let nulls = if c.nullable {
                    self.pick(&[0, 5, 50, 100])
                } else {
                    0
                };
                self.array(&c.column_type.arrow_type(), rows, nulls)
            })
            .collect();
        RecordBatch::try_new(schema.arrow_schema(), columns).unwrap()
    }

    fn array(&mut self, data_type: &DataType, rows: usize, nulls: usize) -> ArrayRef {
        macro_rules! array {
            ($array:ty, $value:expr) => {{
                let value = $value;
                let values = (0..rows).map(|_| (!self.chance(nulls)).then(|| value(self)));
                Arc::new(values.collect::<$array>()) as ArrayRef
            }};
        }
        match data_type {
            DataType::Boolean => array!(BooleanArray, |r: &mut Self| r.chance(50)),
            DataType::Int8 => array!(Int8Array, |r: &mut Self| r.integer() as i8),
            DataType::Int16 => array!(Int16Array, |r: &mut Self| r.integer() as i16),
            DataType::Int32 => array!(Int32Array, |r: &mut Self| r.integer() as i32),
            DataType::Int64 => array!(Int64Array, |r: &mut Self| r.integer()),
            DataType::Date32 => array!(Date32Array, |r: &mut Self| r.integer() as i32),
            DataType::Float32 => array!(Float32Array, |r: &mut Self| r.float() as f32),
            DataType::Float64 => array!(Float64Array, |r: &mut Self| r.float()),
            DataType::Float16 => array!(Float16Array, |r: &mut Self| f16::from_f64(r.float())),
            DataType::Utf8 => array!(StringArray, |r: &mut Self| r.text()),
            DataType::Binary => {
                let values: Vec<Option<Vec<u8>>> = (0..rows)
                    .map(|_| (!self.chance(nulls)).then(|| self.bytes()))
                    .collect();
                Arc::new(BinaryArray::from_iter(values))
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                array!(
                    Time64MicrosecondArray,
                    |r: &mut Self| r.below(86_400_000_000) as i64
                )
            }
            DataType::Timestamp(_, zone) => {
                let values = (0..rows).map(|_| (!self.chance(nulls)).then(|| self.integer()));
                let array: TimestampMicrosecondArray = values.collect();
                Arc::new(array.with_timezone_opt(zone.clone()))
            }
            DataType::Decimal128(precision, scale) => {
                let most = 10i128.pow(u32::from(*precision));
                let values = (0..rows).map(|_| {
                    let value = (i128::from(self.integer()) << self.below(60)) % most;
                    (!self.chance(nulls)).then_some(value)
                });
                let array: Decimal128Array = values.collect();
                Arc::new(array.with_precision_and_scale(*precision, *scale).unwrap())
            }
            DataType::FixedSizeList(child, dimensions) => {
                let values = self.array(child.data_type(), rows * *dimensions as usize, 0);
                let nulls = self.nulls(rows, nulls);
                let child = Arc::clone(child);
                Arc::new(FixedSizeListArray::try_new(child, *dimensions, values, nulls).unwrap())
            }
            DataType::List(child) => {
                let lengths: Vec<usize> = (0..rows).map(|_| self.below(4)).collect();
                let values = self.array(child.data_type(), lengths.iter().sum(), 20);
                let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
                let nulls = self.nulls(rows, nulls);
                Arc::new(ListArray::try_new(Arc::clone(child), offsets, values, nulls).unwrap())
            }
            other => panic!("{other}"),
        }
    }

    fn nulls(&mut self, rows: usize, percent: usize) -> Option<NullBuffer> {
        let valid = (0..rows).map(|_| !self.chance(percent)).collect::<Vec<_>>();
        (percent > 0).then(|| NullBuffer::from(valid))
    }

    fn integer(&mut self) -> i64 {
        match self.below(4) {
            0 => self.pick(&[0, 1, -1, i64::MIN, i64::MAX, 127, -128, i64::from(i32::MIN)]),
            1 => self.next() as i64,
            _ => self.below(100) as i64,
        }
    }

    fn float(&mut self) -> f64 {
        match self.below(20) {
            0 => self.pick(&[0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
            1 => self.pick(&[f64::MIN, f64::MAX, f64::MIN_POSITIVE, 1e30, -1e30]),
            _ => self.below(2000) as f64 / 1000.0 - 1.0,
        }
    }

    fn text(&mut self) -> String {
        let alphabet: Vec<char> = "aßz0 \u{7f}\u{d7ff}\u{10ffff}\0".chars().collect();
        let length = match self.below(10) {
            0 => 0,
            1 => 60 + self.below(200),
            2 => return char::MAX.to_string().repeat(1 + self.below(40)),
            _ => self.below(12),
        };
        (0..length).map(|_| self.pick(&alphabet)).collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        match self.below(10) {
            0 => Vec::new(),
            1 => vec![0xff; self.below(100)],
            2 => (0..200).map(|_| self.pick(&[0, 0xff])).collect(),
            _ => (0..self.below(20)).map(|_| self.next() as u8).collect(),
        }
    }
}
