//! Numbers with units, as the values of parameters are written.

/// The unit of a parameter's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A bare number.
    None,
    /// Bytes.
    Bytes,
    /// Kibibytes.
    Kilobytes,
    /// Blocks of 8 KiB.
    Blocks,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
}

/// Units of memory, largest first, and their bytes.
const MEMORY: [(&str, f64); 5] = [
    ("TB", (1_u64 << 40) as f64),
    ("GB", (1_u64 << 30) as f64),
    ("MB", (1_u64 << 20) as f64),
    ("kB", 1024.0),
    ("B", 1.0),
];

/// Units of time, largest first, and their milliseconds.
const TIME: [(&str, f64); 6] = [
    ("d", 86_400_000.0),
    ("h", 3_600_000.0),
    ("min", 60_000.0),
    ("s", 1_000.0),
    ("ms", 1.0),
    ("us", 0.001),
];

impl Unit {
    /// The unit of that name in `pg_settings`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "" => Self::None,
            "B" => Self::Bytes,
            "kB" => Self::Kilobytes,
            "8kB" => Self::Blocks,
            "ms" => Self::Milliseconds,
            "s" => Self::Seconds,
            _ => return None,
        })
    }

    /// Its name in `pg_settings`.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Bytes => Some("B"),
            Self::Kilobytes => Some("kB"),
            Self::Blocks => Some("8kB"),
            Self::Milliseconds => Some("ms"),
            Self::Seconds => Some("s"),
        }
    }

    /// The units that a value may be given in, and how many of their base this unit is.
    fn family(self) -> (&'static [(&'static str, f64)], f64) {
        match self {
            Self::None => (&[], 1.0),
            Self::Bytes => (&MEMORY, 1.0),
            Self::Kilobytes => (&MEMORY, 1024.0),
            Self::Blocks => (&MEMORY, 8192.0),
            Self::Milliseconds => (&TIME, 1.0),
            Self::Seconds => (&TIME, 1_000.0),
        }
    }

    /// Which units there are to choose from.
    pub fn hint(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Bytes | Self::Kilobytes | Self::Blocks => Some(
                "Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".",
            ),
            Self::Milliseconds | Self::Seconds => Some(
                "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".",
            ),
        }
    }
}

/// The number in `unit` that a text means; `None` where it is none.
pub fn parse(text: &str, unit: Unit) -> Option<f64> {
    let (number, rest) = leading(text)?;
    if rest.is_empty() {
        return Some(number);
    }
    let (units, own) = unit.family();
    let (_, factor) = units.iter().find(|(name, _)| *name == rest)?;
    Some(number * factor / own)
}

/// The number that a text begins with, and what stands behind it.
pub fn leading(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    if let Some(hexadecimal) = hexadecimal {
        let end = hexadecimal.find(|c: char| !c.is_ascii_hexdigit());
        let (number, rest) = hexadecimal.split_at(end.unwrap_or(hexadecimal.len()));
        let number = u64::from_str_radix(number, 16).ok()?;
        return Some((sign * number as f64, rest.trim_start()));
    }
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.');
    let mut end = end.unwrap_or(digits.len());
    if let Some(exponent) = exponent_length(&digits[end..]) {
        end += exponent;
    }
    let number: f64 = digits[..end].parse().ok()?;
    Some((sign * number, digits[end..].trim_start()))
}

/// How long the exponent is that a text begins with.
fn exponent_length(text: &str) -> Option<usize> {
    let rest = text.strip_prefix(['e', 'E'])?;
    let unsigned = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    let digits = unsigned.find(|c: char| !c.is_ascii_digit());
    let digits = digits.unwrap_or(unsigned.len());
    (digits > 0).then(|| text.len() - unsigned.len() + digits)
}

/// A number of `unit` with the largest unit in which it is whole.
pub fn show(number: i64, unit: Unit) -> String {
    let (units, own) = unit.family();
    let base = number as f64 * own;
    let whole = units.iter().find(|(_, factor)| base % factor == 0.0);
    match whole {
        Some((name, factor)) if number > 0 => format!("{}{name}", base / factor),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_texts() {
        assert_eq!(leading(" 1.5e3 kB"), Some((1500.0, "kB")));
        assert_eq!(leading("-7"), Some((-7.0, "")));
        assert_eq!(leading("0x1F ms"), Some((31.0, "ms")));
        assert_eq!(leading("2e"), Some((2.0, "e")));
        for none in ["", "-", "kB", ".", "1.2.3", "0x"] {
            assert_eq!(leading(none), None, "{none}");
        }
    }

    #[test]
    fn units_convert() {
        assert_eq!(parse("1GB", Unit::Kilobytes), Some(1_048_576.0));
        assert_eq!(parse("1GB", Unit::Blocks), Some(131_072.0));
        assert_eq!(parse("2min", Unit::Seconds), Some(120.0));
        assert_eq!(parse("1kb", Unit::Kilobytes), None);
        assert_eq!(parse("1s", Unit::None), None);
        assert_eq!(show(1, Unit::Blocks), "8kB");
        assert_eq!(show(120, Unit::Seconds), "2min");
        assert_eq!(show(-1, Unit::Kilobytes), "-1");
    }
}
