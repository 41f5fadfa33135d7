//! `to_char` of numbers: digits put into a template.
//!
//! Left out: `L` writes a blank, as PostgreSQL does in the C locale.

use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::row::{Call, Kind, Overload, text};
use crate::error::{Error, sqlstate};

use Kind::{Float8, Int8, Numeric, Text};

pub(super) const FUNCTIONS: Group = &[(
    "to_char",
    &[
        Overload::new(&[Numeric, Text], Text, |call| {
            let (value, scale) = call.decimal(0).unwrap_or_default();
            let digits = Digits::of_decimal(value, scale.max(0) as usize);
            Ok(text(written(&digits, call.text(1))?))
        }),
        Overload::new(&[Int8, Text], Text, |call| {
            let digits = Digits::of_decimal(i128::from(call.int(0).unwrap_or_default()), 0);
            Ok(text(written(&digits, call.text(1))?))
        }),
        Overload::new(&[Float8, Text], Text, of_float),
    ],
)];

fn of_float(call: &Call<'_>) -> Result<ScalarValue> {
    let number = call.float(0).unwrap_or_default();
    let template = Template::parse(call.text(1))?;
    if !number.is_finite() {
        return Ok(text(template.hashes(number.is_sign_negative())));
    }
    Ok(text(template.write(&Digits::of_text(&format!("{number}")))))
}

fn written(digits: &Digits, template: &str) -> Result<String> {
    Ok(Template::parse(template)?.write(digits))
}

/// A number in decimal digits.
#[derive(Debug, Clone)]
struct Digits {
    negative: bool,
    /// Before the point, without zeros at the beginning.
    whole: Vec<u8>,
    /// Behind the point.
    fraction: Vec<u8>,
}

impl Digits {
    fn of_decimal(value: i128, scale: usize) -> Self {
        let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let sign = if value < 0 { "-" } else { "" };
        Self::of_text(&format!("{sign}{whole}.{fraction}"))
    }

    fn of_text(number: &str) -> Self {
        let unsigned = number.trim_start_matches('-');
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        Self {
            negative: number.starts_with('-'),
            whole: whole.trim_start_matches('0').bytes().collect(),
            fraction: fraction.bytes().collect(),
        }
    }

    /// Rounded half away from zero to so many digits behind the point.
    fn rounded(&self, places: usize) -> Self {
        let mut all: Vec<u8> = self.whole.iter().chain(&self.fraction).copied().collect();
        let kept = self.whole.len() + places;
        let rounds_up = all.get(kept).is_some_and(|digit| *digit >= b'5');
        all.resize(kept, b'0');
        if rounds_up {
            let carried = all.iter().rposition(|digit| *digit != b'9');
            let from = carried.map_or(0, |at| at + 1);
            all[from..].fill(b'0');
            match carried {
                Some(at) => all[at] += 1,
                None => all.insert(0, b'1'),
            }
        }
        let fraction = all.split_off(all.len() - places);
        let is_zero = all.iter().chain(&fraction).all(|digit| *digit == b'0');
        let zeros = all.iter().take_while(|digit| **digit == b'0').count();
        Self {
            negative: self.negative && !is_zero,
            whole: all.split_off(zeros),
            fraction,
        }
    }

    /// Times a power of ten.
    fn shifted(&self, places: usize) -> Self {
        let mut fraction = self.fraction.clone();
        fraction.resize(fraction.len().max(places), b'0');
        let rest = fraction.split_off(places);
        let whole: Vec<u8> = self.whole.iter().copied().chain(fraction).collect();
        let zeros = whole.iter().take_while(|digit| **digit == b'0').count();
        Self {
            negative: self.negative,
            whole: whole[zeros..].to_vec(),
            fraction: rest,
        }
    }
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `9`, or `0` if zeros are written.
    Digit(bool),
    Point,
    Group,
    /// `MI`, `PL`, `SG`
    Minus,
    Plus,
    Sign,
    Currency,
    /// `TH`, in upper case or not.
    Ordinal(bool),
    Literal(char),
}

/// Where the sign of a number stands that the template gives no place of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signed {
    /// Before the first digit, a blank for none.
    Usual,
    /// `S` before the digits.
    Before,
    /// `S` behind them.
    Behind,
    /// `PR`
    Brackets,
    /// `MI`, `PL` or `SG` write it.
    Apart,
}

#[derive(Debug)]
struct Template {
    parts: Vec<Part>,
    /// `FM`: without blanks and zeros that fill up.
    fill: bool,
    signed: Signed,
    /// `V`: how many digits the number is moved by.
    shift: usize,
    exponent: bool,
    /// `RN`, in upper case or not.
    roman: Option<bool>,
}

impl Template {
    fn parse(template: &str) -> Result<Self> {
        let mut parsed = Self {
            parts: Vec::new(),
            fill: true,
            signed: Signed::Usual,
            shift: 0,
            exponent: false,
            roman: None,
        };
        let mut shifting = false;
        let mut rest = template;
        while let Some(first) = rest.chars().next() {
            if let Some(quoted) = rest.strip_prefix('"') {
                let end = quoted.find('"').unwrap_or(quoted.len());
                parsed
                    .parts
                    .extend(quoted[..end].chars().map(Part::Literal));
                rest = quoted.get(end + 1..).unwrap_or("");
                continue;
            }
            let long = [4, 2].into_iter().find_map(|n| {
                let word = rest.get(..n)?.to_ascii_uppercase();
                parsed.word(&word, &rest[..n]).then_some(n)
            });
            if let Some(length) = long {
                rest = &rest[length..];
                continue;
            }
            parsed.letter(first, &mut shifting)?;
            rest = &rest[first.len_utf8()..];
        }
        Ok(parsed)
    }

    /// Takes a pattern of several letters, if it is one.
    fn word(&mut self, word: &str, written: &str) -> bool {
        match word {
            "EEEE" => self.exponent = true,
            "FM" => self.fill = false,
            "PR" => self.signed = Signed::Brackets,
            "RN" => self.roman = Some(written == word),
            "TH" => self.parts.push(Part::Ordinal(written == word)),
            "MI" | "PL" | "SG" => {
                self.signed = Signed::Apart;
                self.parts.push(match word {
                    "MI" => Part::Minus,
                    "PL" => Part::Plus,
                    _ => Part::Sign,
                });
            }
            _ => return false,
        }
        true
    }

    fn letter(&mut self, letter: char, shifting: &mut bool) -> Result<()> {
        let has_digits = self.parts.iter().any(|p| matches!(p, Part::Digit(_)));
        let part = match letter {
            '9' | '0' => {
                self.shift += usize::from(*shifting);
                Part::Digit(letter == '0')
            }
            '.' | 'D' | 'd' => {
                if self.parts.contains(&Part::Point) || *shifting {
                    let message = "multiple decimal points";
                    return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message).into());
                }
                Part::Point
            }
            ',' | 'G' | 'g' => Part::Group,
            'L' | 'l' | '$' => Part::Currency,
            'V' | 'v' => {
                *shifting = true;
                return Ok(());
            }
            'S' | 's' => {
                self.signed = match has_digits {
                    true => Signed::Behind,
                    false => Signed::Before,
                };
                return Ok(());
            }
            other => Part::Literal(other),
        };
        self.parts.push(part);
        Ok(())
    }

    fn digits_before(&self) -> usize {
        let before = self.parts.iter().take_while(|part| **part != Part::Point);
        before.filter(|part| matches!(part, Part::Digit(_))).count()
    }

    fn digits_behind(&self) -> usize {
        let all = self.parts.iter();
        all.filter(|part| matches!(part, Part::Digit(_))).count() - self.digits_before()
    }

    /// What stands for a number that does not fit.
    fn hashes(&self, negative: bool) -> String {
        let digits = Digits {
            negative,
            whole: vec![b'#'; self.digits_before()],
            fraction: vec![b'#'; self.digits_behind()],
        };
        self.put(&digits)
    }

    fn write(&self, digits: &Digits) -> String {
        if let Some(upper) = self.roman {
            return self.put_roman(digits, upper);
        }
        if self.exponent {
            return self.put_exponent(digits);
        }
        let rounded = digits.shifted(self.shift).rounded(self.digits_behind());
        match rounded.whole.len() > self.digits_before() {
            true => self.hashes(rounded.negative),
            false => self.put(&rounded),
        }
    }

    fn put(&self, digits: &Digits) -> String {
        let before = self.digits_before();
        // From which place on digits are written: that of the first digit, or of the first 0 of the template.
        let places = self
            .parts
            .iter()
            .filter(|part| matches!(part, Part::Digit(_)));
        let zero = places
            .take(before)
            .position(|part| *part == Part::Digit(true));
        let mut first = before - digits.whole.len();
        // A zero alone is written, unless digits follow the point.
        if digits.whole.is_empty() && self.digits_behind() == 0 {
            first = before.saturating_sub(1);
        }
        first = zero.map_or(first, |zero| zero.min(first));
        let last_needed = self.last_needed(digits);
        let mut body = String::new();
        let mut sign_at = None;
        let (mut place, mut behind) = (0, None);
        for part in &self.parts {
            match part {
                Part::Digit(_) if behind.is_none() => {
                    if place >= first {
                        sign_at.get_or_insert(body.len());
                        let gap = before - digits.whole.len();
                        let digit = place.checked_sub(gap).map_or(b'0', |at| digits.whole[at]);
                        body.push(digit as char);
                    } else if self.fill {
                        body.push(' ');
                    }
                    place += 1;
                }
                Part::Digit(_) => {
                    let at = behind.unwrap_or(0);
                    if self.fill || at < last_needed {
                        body.push(digits.fraction[at] as char);
                    }
                    behind = Some(at + 1);
                }
                Part::Point => {
                    sign_at.get_or_insert(body.len());
                    behind = Some(0);
                    body.push('.');
                }
                Part::Group if place > first => body.push(','),
                Part::Group | Part::Currency if self.fill => body.push(' '),
                Part::Group | Part::Currency => {}
                Part::Minus if digits.negative => body.push('-'),
                Part::Plus if !digits.negative => body.push('+'),
                Part::Minus | Part::Plus if self.fill => body.push(' '),
                Part::Minus | Part::Plus => {}
                Part::Sign => body.push(if digits.negative { '-' } else { '+' }),
                Part::Ordinal(upper) => body.push_str(ordinal(digits, *upper)),
                Part::Literal(literal) => body.push(*literal),
            }
        }
        self.with_sign(body, sign_at.unwrap_or(0), digits.negative)
    }

    /// Digits behind the point that `FM` keeps: up to the last that is not zero, or that a 0 asks for.
    fn last_needed(&self, digits: &Digits) -> usize {
        let significant = digits.fraction.iter().rposition(|digit| *digit != b'0');
        let behind = self.parts.iter().skip_while(|part| **part != Part::Point);
        let places = behind.filter(|part| matches!(part, Part::Digit(_)));
        let places: Vec<&Part> = places.collect();
        let asked = places.iter().rposition(|part| **part == Part::Digit(true));
        significant.max(asked).map_or(0, |at| at + 1)
    }

    fn with_sign(&self, mut body: String, at: usize, negative: bool) -> String {
        match self.signed {
            Signed::Apart => {}
            Signed::Usual if negative => body.insert(at, '-'),
            Signed::Usual if self.fill => body.insert(at, ' '),
            Signed::Usual => {}
            Signed::Before => body.insert(at, if negative { '-' } else { '+' }),
            Signed::Behind => body.push(if negative { '-' } else { '+' }),
            Signed::Brackets if negative => {
                body.insert(at, '<');
                body.push('>');
            }
            Signed::Brackets if self.fill => {
                body.insert(at, ' ');
                body.push(' ');
            }
            Signed::Brackets => {}
        }
        body
    }

    /// `1.23e+04`
    fn put_exponent(&self, digits: &Digits) -> String {
        let all: Vec<u8> = digits
            .whole
            .iter()
            .chain(&digits.fraction)
            .copied()
            .collect();
        let zeros = all.iter().take_while(|digit| **digit == b'0').count();
        let mut exponent = match zeros == all.len() {
            true => 0,
            false => digits.whole.len() as i64 - 1 - zeros as i64,
        };
        let significant = &all[zeros..];
        let (first, rest) = significant.split_at(significant.len().min(1));
        let mantissa = Digits {
            negative: digits.negative,
            whole: first.to_vec(),
            fraction: rest.to_vec(),
        };
        let mut mantissa = mantissa.rounded(self.digits_behind());
        if mantissa.whole.len() > 1 {
            mantissa.whole.truncate(1);
            exponent += 1;
        }
        let whole = mantissa.whole.first().map_or('0', |digit| *digit as char);
        let fraction = String::from_utf8_lossy(&mantissa.fraction).into_owned();
        let point = if fraction.is_empty() { "" } else { "." };
        let sign = match (digits.negative, self.fill) {
            (true, _) => "-",
            (false, true) => " ",
            (false, false) => "",
        };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        let size = exponent.unsigned_abs();
        format!("{sign}{whole}{point}{fraction}e{exponent_sign}{size:02}")
    }

    fn put_roman(&self, digits: &Digits, upper: bool) -> String {
        const WIDTH: usize = 15;
        let whole = String::from_utf8_lossy(&digits.rounded(0).whole).into_owned();
        let numeral = match whole.parse::<u32>() {
            Ok(number @ 1..=3999) if !digits.negative => roman(number),
            _ => "#".repeat(WIDTH),
        };
        let numeral = if upper {
            numeral
        } else {
            numeral.to_lowercase()
        };
        match self.fill {
            true => format!("{numeral:>WIDTH$}"),
            false => numeral,
        }
    }
}

/// The ending of an ordinal number.
fn ordinal(digits: &Digits, upper: bool) -> &'static str {
    if digits.negative {
        return "";
    }
    let mut last = digits.whole.iter().rev();
    let (ones, tens) = (last.next(), last.next());
    let ending = match (ones, tens) {
        (_, Some(b'1')) => ["th", "TH"],
        (Some(b'1'), _) => ["st", "ST"],
        (Some(b'2'), _) => ["nd", "ND"],
        (Some(b'3'), _) => ["rd", "RD"],
        _ => ["th", "TH"],
    };
    ending[usize::from(upper)]
}

/// A number from 1 to 3999 in Roman digits.
fn roman(number: u32) -> String {
    const DIGITS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut rest = number;
    let mut numeral = String::new();
    for (value, digit) in DIGITS {
        while rest >= value {
            numeral.push_str(digit);
            rest -= value;
        }
    }
    numeral
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn templates_write_as_postgresql_does() {
        for (number, template, expected) in [
            ("0", "9.99", "  .00"),
            ("0.1", "9.9", "  .1"),
            ("0", "999", "   0"),
            ("1234567", "999,999", " ###,###"),
            ("-0.1", "99.99", "  -.10"),
            ("12", "9990999.9", "    0012.0"),
            ("12", "FM9990999.9", "0012."),
            ("485.8", "\"Pre:\"999\" Post:\" .999", "Pre: 485 Post: .800"),
            ("-485", "9SG99", "4-85"),
            ("1485", "9,999PR", " 1,485 "),
            ("-1485", "9,999PR", "<1,485>"),
            ("1234.5", "S9,999.99", "+1,234.50"),
            ("12.5", "999.99S", " 12.50+"),
            ("5", "999,999", "       5"),
            ("1234.567", "L9,999.99", "  1,234.57"),
            ("12345", "9.9EEEE", " 1.2e+04"),
            ("22", "99th", " 22nd"),
            ("1.5", "999D99MI", "  1.50 "),
            ("-5", "00000", "-00005"),
            ("0.5", "FM999.00", ".50"),
            ("100", "FM999.99", "100."),
            ("485", "RN", "        CDLXXXV"),
            ("12", "99V999", " 12000"),
            ("-12345.678", "FM99,999.99MI", "12,345.68-"),
            ("12", "SG99", "+12"),
            ("9.99", "9.9", " #.#"),
        ] {
            let written = Template::parse(template)
                .unwrap()
                .write(&Digits::of_text(number));
            assert_eq!(written, expected, "{number} {template}");
        }
        assert!(Template::parse("9.9.9").is_err());
    }
}
