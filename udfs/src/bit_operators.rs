//! `& | # || << >>` of bit strings as functions, and `bit_count`, `get_bit`, `set_bit`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::bit_type::{BitType, parse_bits};
use crate::error::VectorError;
use crate::input::{all_constant, result_rows};
use crate::output::columnar;
use crate::signature::{immutable, result_field};
use crate::types::is_text;

/// What a function makes of one or two bit strings and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum BitOperation {
    And,
    Or,
    Xor,
    Not,
    Concat,
    ShiftLeft,
    ShiftRight,
    Count,
    Get,
    Set,
}

impl BitOperation {
    /// Those that are called by a name.
    pub const NAMED: [Self; 4] = [Self::Not, Self::Count, Self::Get, Self::Set];

    /// The operation of an operator between bit strings.
    pub fn of_operator(operator: &BinaryOperator) -> Option<Self> {
        Some(match operator {
            BinaryOperator::BitwiseAnd => Self::And,
            BinaryOperator::BitwiseOr => Self::Or,
            BinaryOperator::BitwiseXor | BinaryOperator::PGBitwiseXor => Self::Xor,
            BinaryOperator::StringConcat => Self::Concat,
            BinaryOperator::PGBitwiseShiftLeft => Self::ShiftLeft,
            BinaryOperator::PGBitwiseShiftRight => Self::ShiftRight,
            _ => return None,
        })
    }

    /// Whether the second operand is a number of places, and no bit string.
    pub fn is_shift(self) -> bool {
        matches!(self, Self::ShiftLeft | Self::ShiftRight)
    }

    /// How many of the arguments are bit strings, and how many numbers come after them.
    fn shape(self) -> (usize, usize) {
        match self {
            Self::And | Self::Or | Self::Xor | Self::Concat => (2, 0),
            Self::Not | Self::Count => (1, 0),
            Self::ShiftLeft | Self::ShiftRight | Self::Get => (1, 1),
            Self::Set => (1, 2),
        }
    }

    /// The type of the result when it is a number.
    fn number(self) -> Option<DataType> {
        match self {
            Self::Count => Some(DataType::Int64),
            Self::Get => Some(DataType::Int32),
            _ => None,
        }
    }
}

/// An operation on bit strings as a scalar function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct BitFunction {
    operation: BitOperation,
    signature: Signature,
}

impl BitFunction {
    pub fn new(operation: BitOperation) -> Self {
        Self {
            operation,
            signature: immutable(),
        }
    }

    /// Whether it is `~` of a number.
    fn negates(&self, data_type: &DataType) -> bool {
        self.operation == BitOperation::Not && data_type.is_integer()
    }
}

impl ScalarUDFImpl for BitFunction {
    fn name(&self) -> &str {
        match self.operation {
            BitOperation::And => "bitand",
            BitOperation::Or => "bitor",
            BitOperation::Xor => "bitxor",
            BitOperation::Not => "bitnot",
            BitOperation::Concat => "bitcat",
            BitOperation::ShiftLeft => "bitshiftleft",
            BitOperation::ShiftRight => "bitshiftright",
            BitOperation::Count => "bit_count",
            BitOperation::Get => "get_bit",
            BitOperation::Set => "set_bit",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let of_integer = types.first().filter(|t| self.negates(t)).cloned();
        let number = of_integer.or_else(|| self.operation.number());
        Ok(number.unwrap_or(DataType::Utf8))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types = args.arg_fields.iter().map(|f| f.data_type().clone());
        let data_type = self.return_type(&types.collect::<Vec<_>>())?;
        let field = result_field(self.name(), data_type, &args);
        Ok(match self.operation {
            _ if field.data_type().is_integer() => field,
            BitOperation::Concat => BitType::VARBIT.field(self.name(), field.is_nullable()),
            _ => BitType::BIT.field(self.name(), field.is_nullable()),
        })
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if let [number] = types
            && self.negates(number)
        {
            return Ok(vec![number.clone()]);
        }
        let (bits, numbers) = self.operation.shape();
        let fits = types.len() == bits + numbers
            && types[..bits].iter().all(|t| is_text(t) || t.is_null())
            && types[bits..].iter().all(|t| t.is_integer() || t.is_null());
        if !fits {
            return plan_err!("{} takes bit strings, not {types:?}", self.name());
        }
        let wanted = |place| {
            if place < bits {
                DataType::Utf8
            } else {
                DataType::Int64
            }
        };
        Ok((0..types.len()).map(wanted).collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = result_rows(&args.args, args.number_rows);
        let (bits, numbers) = self.operation.shape();
        let side = |place: usize| args.args[place].to_array(rows);
        if self.negates(&args.args[0].data_type()) {
            return columnar(negated(&side(0)?)?, all_constant(&args.args));
        }
        let first = cast(&side(0)?, &DataType::Utf8)?;
        let first = first.as_string::<i32>();
        let result = if bits == 2 {
            let second = cast(&side(1)?, &DataType::Utf8)?;
            Arc::new(combine(self.operation, first, second.as_string())?)
        } else {
            let arguments = (1..=numbers).map(|place| Ok(cast(&side(place)?, &DataType::Int64)?));
            let arguments = arguments.collect::<Result<Vec<ArrayRef>>>()?;
            let number = |n: usize, row: usize| arguments[n].as_primitive::<Int64Type>().value(row);
            let is_null =
                |row| first.is_null(row) || arguments.iter().any(|a: &ArrayRef| a.is_null(row));
            let present = |row: usize| (!is_null(row)).then_some(row);
            match self.operation {
                BitOperation::Count => {
                    let count = |row| Ok(ones(&parse_bits(first.value(row))?));
                    let counts = (0..rows).map(|row| present(row).map(count).transpose());
                    Arc::new(counts.collect::<Result<Int64Array, VectorError>>()?) as ArrayRef
                }
                BitOperation::Get => {
                    let get = |row| {
                        let bits = parse_bits(first.value(row))?;
                        let place = place_of(number(0, row), bits.len())?;
                        Ok(i32::from(bits.as_bytes()[place] == b'1'))
                    };
                    let found = (0..rows).map(|row| present(row).map(get).transpose());
                    Arc::new(found.collect::<Result<Int32Array, VectorError>>()?)
                }
                operation => {
                    let make = |row| {
                        let bits = parse_bits(first.value(row))?;
                        match operation {
                            BitOperation::Set => set(&bits, number(0, row), number(1, row)),
                            BitOperation::ShiftLeft => Ok(shifted(&bits, number(0, row))),
                            BitOperation::ShiftRight => {
                                Ok(shifted(&bits, number(0, row).saturating_neg()))
                            }
                            _ => Ok(bits.chars().map(|c| bit(c == '0')).collect()),
                        }
                    };
                    let made = (0..rows).map(|row| present(row).map(make).transpose());
                    Arc::new(made.collect::<Result<StringArray, VectorError>>()?)
                }
            }
        };
        columnar(result, all_constant(&args.args))
    }
}

/// `~` of integers: all bits the other way, which is `-x - 1`.
fn negated(numbers: &ArrayRef) -> Result<ArrayRef> {
    let numbers_64 = cast(numbers, &DataType::Int64)?;
    let negated = numbers_64
        .as_primitive::<Int64Type>()
        .unary::<_, Int64Type>(|n| !n);
    Ok(cast(&negated, numbers.data_type())?)
}

fn bit(is_set: bool) -> char {
    if is_set { '1' } else { '0' }
}

fn ones(bits: &str) -> i64 {
    bits.bytes().map(|bit| i64::from(bit == b'1')).sum()
}

fn combine(
    operation: BitOperation,
    left: &StringArray,
    right: &StringArray,
) -> Result<StringArray, VectorError> {
    let pair = |(left, right): (Option<&str>, Option<&str>)| match (left, right) {
        (Some(left), Some(right)) => {
            combine_pair(operation, &parse_bits(left)?, &parse_bits(right)?).map(Some)
        }
        _ => Ok(None),
    };
    left.iter().zip(right).map(pair).collect()
}

fn combine_pair(operation: BitOperation, left: &str, right: &str) -> Result<String, VectorError> {
    let (word, of): (_, fn(bool, bool) -> bool) = match operation {
        BitOperation::Concat => return Ok([left, right].concat()),
        BitOperation::And => ("AND", |l, r| l && r),
        BitOperation::Or => ("OR", |l, r| l || r),
        _ => ("XOR", |l, r| l != r),
    };
    if left.len() != right.len() {
        return Err(VectorError::bit_sizes(word));
    }
    let pairs = left.bytes().zip(right.bytes());
    Ok(pairs.map(|(l, r)| bit(of(l == b'1', r == b'1'))).collect())
}

/// The bits so many places further left, or right where the number is negative; zeros come after them.
fn shifted(bits: &str, places: i64) -> String {
    let length = bits.len();
    let distance = usize::try_from(places.unsigned_abs()).map_or(length, |n| n.min(length));
    let zeros = "0".repeat(distance);
    match places {
        0.. => format!("{}{zeros}", &bits[distance..]),
        _ => format!("{zeros}{}", &bits[..length - distance]),
    }
}

/// A place, counted from the left.
fn place_of(place: i64, length: usize) -> Result<usize, VectorError> {
    let inside = usize::try_from(place).ok().filter(|p| *p < length);
    inside.ok_or_else(|| VectorError::bit_index(place, length))
}

fn set(bits: &str, place: i64, new: i64) -> Result<String, VectorError> {
    let place = place_of(place, bits.len())?;
    let new = match new {
        0 => "0",
        1 => "1",
        _ => return Err(VectorError::new_bit()),
    };
    Ok([&bits[..place], new, &bits[place + 1..]].concat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn shifts_keep_the_length() {
        for (places, expected) in [
            (0, "10110"),
            (2, "11000"),
            (-2, "00101"),
            (5, "00000"),
            (i64::MAX, "00000"),
            (i64::MIN, "00000"),
        ] {
            assert_eq!(shifted("10110", places), expected, "{places}");
        }
        assert_eq!(shifted("", 3), "");
    }

    #[test]
    fn pairs_of_one_length() {
        let of = |operation, left, right| combine_pair(operation, left, right);
        assert_eq!(of(BitOperation::And, "1100", "1010").unwrap(), "1000");
        assert_eq!(of(BitOperation::Or, "1100", "1010").unwrap(), "1110");
        assert_eq!(of(BitOperation::Xor, "1100", "1010").unwrap(), "0110");
        assert_eq!(of(BitOperation::Concat, "11", "0").unwrap(), "110");
        let error = of(BitOperation::And, "11", "1").unwrap_err();
        assert_eq!(error.message, "cannot AND bit strings of different sizes");
        assert_eq!(error.sqlstate, "22026");
    }

    #[test]
    fn single_bits() {
        assert_eq!(set("000", 1, 1).unwrap(), "010");
        assert_eq!(set("000", 3, 1).unwrap_err().sqlstate, "2202E");
        assert_eq!(set("000", 0, 2).unwrap_err().sqlstate, "22023");
        let error = place_of(-1, 3).unwrap_err();
        assert_eq!(error.message, "bit index -1 out of valid range (0..2)");
    }
}
