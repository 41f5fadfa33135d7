//! The options of CREATE and ALTER SEQUENCE, and what they make of a sequence.

use datafusion::sql::sqlparser::ast::ObjectName;

use crate::error::{Error, Result, sqlstate};
use crate::storage::change::QualifiedName;
use crate::storage::schema::{ColumnType, SequenceId};
use crate::storage::sequence::{Position, Sequence};

/// The options; `None` leaves one as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SequenceOptions {
    /// SEQUENCE NAME, of an identity column.
    pub name: Option<ObjectName>,
    /// AS type.
    pub data_type: Option<ColumnType>,
    /// INCREMENT [BY].
    pub increment: Option<i64>,
    /// MINVALUE; `Some(None)` is NO MINVALUE.
    pub min: Option<Option<i64>>,
    /// MAXVALUE; `Some(None)` is NO MAXVALUE.
    pub max: Option<Option<i64>>,
    /// START [WITH].
    pub start: Option<i64>,
    /// RESTART [WITH]; `Some(None)` is RESTART alone.
    pub restart: Option<Option<i64>>,
    /// CACHE.
    pub cache: Option<i64>,
    /// [NO] CYCLE.
    pub cycle: Option<bool>,
    /// OWNED BY; `Some(None)` is NONE.
    pub owned_by: Option<Option<ObjectName>>,
}

impl SequenceOptions {
    /// The sequence that CREATE makes.
    ///
    /// # Errors
    /// 22023 for options that do not go together.
    pub fn create(&self, id: SequenceId, name: QualifiedName) -> Result<Sequence> {
        let data_type = self.data_type.clone().unwrap_or(ColumnType::BigInt);
        let increment = self.increment.unwrap_or(1);
        let (min, max) = self.bounds(&data_type, increment, None)?;
        let start = self.start.unwrap_or(match increment > 0 {
            true => min,
            false => max,
        });
        let sequence = Sequence {
            id,
            name,
            increment,
            min,
            max,
            start,
            cycle: self.cycle.unwrap_or(false),
            cache: self.cache.unwrap_or(1),
            owner: None,
            generation: id.0,
            position: Position {
                last: start,
                is_called: false,
            },
            data_type,
        };
        check(&sequence)?;
        Ok(sequence)
    }

    /// The sequence that ALTER makes of one that has given its numbers up to `given`.
    ///
    /// # Errors
    /// 22023 for options that do not go together.
    pub fn alter(&self, old: &Sequence, given: Position, generation: u64) -> Result<Sequence> {
        let data_type = self
            .data_type
            .clone()
            .unwrap_or_else(|| old.data_type.clone());
        let increment = self.increment.unwrap_or(old.increment);
        let (min, max) = self.bounds(&data_type, increment, Some(old))?;
        let start = self.start.unwrap_or(old.start);
        let position = match self.restart {
            None => given,
            Some(number) => Position {
                last: number.unwrap_or(start),
                is_called: false,
            },
        };
        let sequence = Sequence {
            increment,
            min,
            max,
            start,
            cycle: self.cycle.unwrap_or(old.cycle),
            cache: self.cache.unwrap_or(old.cache),
            generation,
            position,
            data_type,
            ..old.clone()
        };
        check(&sequence)?;
        Ok(sequence)
    }

    /// The least and the greatest number. A bound that was that of the old type becomes that of the new one.
    fn bounds(
        &self,
        data_type: &ColumnType,
        increment: i64,
        old: Option<&Sequence>,
    ) -> Result<(i64, i64)> {
        let (type_min, type_max) = range(data_type)?;
        let usual_min = if increment > 0 { 1 } else { type_min };
        let usual_max = if increment > 0 { type_max } else { -1 };
        let kept = old.filter(|old| old.data_type == *data_type);
        let old_min = old.filter(|old| {
            kept.is_some() || !range(&old.data_type).is_ok_and(|(min, _)| old.min == min)
        });
        let old_max = old.filter(|old| {
            kept.is_some() || !range(&old.data_type).is_ok_and(|(_, max)| old.max == max)
        });
        let min = match self.min {
            Some(min) => min.unwrap_or(usual_min),
            None => old_min.map_or(usual_min, |old| old.min),
        };
        let max = match self.max {
            Some(max) => max.unwrap_or(usual_max),
            None => old_max.map_or(usual_max, |old| old.max),
        };
        for (name, bound) in [("MINVALUE", min), ("MAXVALUE", max)] {
            if !(type_min..=type_max).contains(&bound) {
                let message =
                    format!("{name} ({bound}) is out of range for sequence data type {data_type}");
                return Err(invalid(message));
            }
        }
        Ok((min, max))
    }
}

/// The numbers of a type.
fn range(data_type: &ColumnType) -> Result<(i64, i64)> {
    match data_type {
        ColumnType::SmallInt => Ok((i64::from(i16::MIN), i64::from(i16::MAX))),
        ColumnType::Integer => Ok((i64::from(i32::MIN), i64::from(i32::MAX))),
        ColumnType::BigInt => Ok((i64::MIN, i64::MAX)),
        _ => Err(invalid(
            "sequence type must be smallint, integer, or bigint".to_string(),
        )),
    }
}

fn check(sequence: &Sequence) -> Result<()> {
    let Sequence {
        increment,
        min,
        max,
        start,
        cache,
        position: Position { last, .. },
        ..
    } = sequence;
    let problem = if *increment == 0 {
        "INCREMENT must not be zero".to_string()
    } else if min >= max {
        format!("MINVALUE ({min}) must be less than MAXVALUE ({max})")
    } else if start < min {
        format!("START value ({start}) cannot be less than MINVALUE ({min})")
    } else if start > max {
        format!("START value ({start}) cannot be greater than MAXVALUE ({max})")
    } else if last < min {
        format!("RESTART value ({last}) cannot be less than MINVALUE ({min})")
    } else if last > max {
        format!("RESTART value ({last}) cannot be greater than MAXVALUE ({max})")
    } else if *cache < 1 {
        format!("CACHE ({cache}) must be greater than zero")
    } else {
        return Ok(());
    };
    Err(invalid(problem))
}

fn invalid(message: String) -> Error {
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
}
