//! The headers of Parquet data pages V2 and of bloom filters, read from their first bytes without what is behind.

/// What a data page V2 says of itself. (Thrift's compact protocol; `parquet` does not offer its own reader.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PageHeader {
    /// Bytes of the header itself.
    pub header_bytes: usize,
    /// Bytes of the page without its header.
    pub page_bytes: u64,
    /// Levels: one per value and one per NULL or empty list.
    pub levels: u64,
    /// Levels that have no value.
    pub nulls: u64,
    /// Rows.
    pub rows: u64,
    /// Whether the values are PLAIN.
    pub plain: bool,
    /// Bytes of the definition levels.
    pub definition_bytes: u64,
    /// Bytes of the repetition levels, which come first.
    pub repetition_bytes: u64,
}

/// Bytes within which the header of a page without statistics ends.
pub(super) const HEADER_BYTES_MAX: usize = 128;

const DATA_PAGE_V2: i64 = 3;
const PLAIN: i64 = 0;

/// The header at the start of `bytes`; `None` when it is not a whole header of a data page V2.
pub(super) fn parse(bytes: &[u8]) -> Option<PageHeader> {
    let mut input = Compact { bytes, at: 0 };
    let mut header = PageHeader::default();
    let (mut page_type, mut v2, mut last) = (None, false, 0);
    while let Some((id, kind)) = input.field(&mut last)? {
        match (id, kind) {
            (1, I32) => page_type = Some(input.integer()?),
            (3, I32) => header.page_bytes = u64::try_from(input.integer()?).ok()?,
            (8, STRUCT) => {
                parse_v2(&mut input, &mut header)?;
                v2 = true;
            }
            _ => input.skip(kind, 0)?,
        }
    }
    header.header_bytes = input.at;
    (v2 && page_type == Some(DATA_PAGE_V2)).then_some(header)
}

/// The length of a bloom filter's header at the start of `bytes`, and of the filter behind it; `None` when it is not a
/// whole header.
pub(super) fn parse_bloom(bytes: &[u8]) -> Option<(usize, u64)> {
    let mut input = Compact { bytes, at: 0 };
    let (mut filter_bytes, mut last) = (None, 0);
    while let Some((id, kind)) = input.field(&mut last)? {
        match (id, kind) {
            (1, I32) => filter_bytes = Some(u64::try_from(input.integer()?).ok()?),
            _ => input.skip(kind, 0)?,
        }
    }
    Some((input.at, filter_bytes?))
}

fn parse_v2(input: &mut Compact, header: &mut PageHeader) -> Option<()> {
    let mut last = 0;
    while let Some((id, kind)) = input.field(&mut last)? {
        if kind != I32 {
            input.skip(kind, 0)?;
            continue;
        }
        let value = input.integer()?;
        match id {
            1 => header.levels = u64::try_from(value).ok()?,
            2 => header.nulls = u64::try_from(value).ok()?,
            3 => header.rows = u64::try_from(value).ok()?,
            4 => header.plain = value == PLAIN,
            5 => header.definition_bytes = u64::try_from(value).ok()?,
            6 => header.repetition_bytes = u64::try_from(value).ok()?,
            _ => {}
        }
    }
    Some(())
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I8: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const STRUCT: u8 = 12;
/// Structs within structs that a header may have; more is garbage.
const DEPTH_MAX: usize = 4;

/// Thrift's compact protocol over bytes; `None` when they end or make no sense.
struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Compact<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// An integer of any width, zigzag encoded.
    fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Id and type of the next field; `Some(None)` at the end of the struct.
    fn field(&mut self, last: &mut i64) -> Option<Option<(i64, u8)>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *last = match head >> 4 {
            0 => self.integer()?,
            delta => last.checked_add(i64::from(delta))?,
        };
        Some(Some((*last, head & 0x0f)))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            TRUE | FALSE => {}
            I8 => {
                self.byte()?;
            }
            I16 | I32 | I64 => {
                self.varint()?;
            }
            BINARY => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.at = self.at.checked_add(length)?;
            }
            STRUCT if depth < DEPTH_MAX => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, depth + 1)?;
                }
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// type = DATA_PAGE_V2, sizes 3000 and 3000, V2 header with 750 levels, 1 null, 2 rows, PLAIN, 5 and 6 bytes.
    const EXAMPLE: &[u8] = &[
        0x15, 0x06, 0x15, 0xf0, 0x2e, 0x15, 0xf0, 0x2e, 0x5c, 0x15, 0xdc, 0x0b, 0x15, 0x02, 0x15,
        0x04, 0x15, 0x00, 0x15, 0x0a, 0x15, 0x0c, 0x12, 0x00, 0x00,
    ];

    #[test]
    fn reads_every_part() {
        let header = PageHeader {
            header_bytes: EXAMPLE.len(),
            page_bytes: 3000,
            levels: 750,
            nulls: 1,
            rows: 2,
            plain: true,
            definition_bytes: 5,
            repetition_bytes: 6,
        };
        assert_eq!(parse(EXAMPLE), Some(header));
    }

    #[test]
    fn part_of_a_header_is_none() {
        for end in 0..EXAMPLE.len() {
            assert_eq!(parse(&EXAMPLE[..end]), None, "{end}");
        }
    }

    #[test]
    fn garbage_never_panics() {
        let mut bytes = EXAMPLE.to_vec();
        for place in 0..bytes.len() {
            let before = bytes[place];
            for value in 0..=255 {
                bytes[place] = value;
                parse(&bytes);
                parse_bloom(&bytes);
            }
            bytes[place] = before;
        }
    }
}
