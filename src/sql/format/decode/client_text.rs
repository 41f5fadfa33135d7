//! Parameters in the encoding of their client.

use std::borrow::Cow;

use arrow::datatypes::Field;
use bytes::{Buf, BufMut};

use super::binary::is_text;
use crate::error::Result;
use crate::sql::format::{ClientEncoding, Format, PgType, type_of};

/// A parameter's bytes with its texts in UTF-8.
///
/// # Errors
/// 22021 for bytes that are no text of the encoding.
pub fn in_utf8<'a>(
    field: &Field,
    format: Format,
    bytes: &'a [u8],
    encoding: ClientEncoding,
) -> Result<Cow<'a, [u8]>> {
    // All encodings of clients have ASCII in them.
    if !encoding.converts() || bytes.is_ascii() {
        return Ok(Cow::Borrowed(bytes));
    }
    let oid = type_of(field).oid;
    if format == Format::Text || is_text(oid) {
        return Ok(Cow::Owned(encoding.decode(bytes)?.into_bytes()));
    }
    let has_texts = PgType::of_oid(oid)
        .element()
        .is_some_and(|element| is_text(element.oid));
    match has_texts.then(|| array(bytes, encoding)).flatten() {
        Some(array) => Ok(Cow::Owned(array?)),
        None => Ok(Cow::Borrowed(bytes)),
    }
}

/// An array of texts in its binary format; `None` where that is broken, which its reader will tell.
fn array(bytes: &[u8], encoding: ClientEncoding) -> Option<Result<Vec<u8>>> {
    /// Numbers before the bounds of the dimensions: how many these are, flags, the type of the elements.
    const HEAD: usize = 12;
    let dimensions = usize::try_from(bytes.get(..4)?.get_i32()).ok()?;
    let head = HEAD.checked_add(dimensions.checked_mul(8)?)?;
    let mut out = bytes.get(..head)?.to_vec();
    let mut rest = &bytes[head..];
    while !rest.is_empty() {
        let length = rest.get(..4)?.get_i32();
        rest.advance(4);
        let Ok(bytes) = usize::try_from(length) else {
            out.put_i32(length);
            continue;
        };
        let text = match encoding.decode(rest.get(..bytes)?) {
            Ok(text) => text,
            Err(e) => return Some(Err(e)),
        };
        rest.advance(bytes);
        out.put_i32(i32::try_from(text.len()).ok()?);
        out.put_slice(text.as_bytes());
    }
    Some(Ok(out))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::datatypes::DataType;

    use super::*;
    use crate::sql::format::field_of_oid;
    use crate::sql::format::oid;

    fn latin1(oid: u32, format: Format, bytes: &[u8]) -> Vec<u8> {
        let field = field_of_oid("a", oid, -1).unwrap();
        let encoding = ClientEncoding::of_name("latin1").unwrap();
        in_utf8(&field, format, bytes, encoding)
            .unwrap()
            .into_owned()
    }

    #[test]
    fn texts_are_converted_and_numbers_are_not() {
        assert_eq!(latin1(oid::TEXT, Format::Text, b"\xe9"), "é".as_bytes());
        assert_eq!(latin1(oid::TEXT, Format::Binary, b"\xe9"), "é".as_bytes());
        assert_eq!(
            latin1(oid::INT4, Format::Binary, b"\0\0\0\xe9"),
            b"\0\0\0\xe9"
        );
        assert_eq!(
            latin1(oid::JSONB, Format::Binary, b"\x01\"\xe9\""),
            "\u{1}\"é\"".as_bytes()
        );
        let head = b"\0\0\0\x01\0\0\0\0\0\0\0\x19\0\0\0\x02\0\0\0\x01";
        let given = [&head[..], b"\0\0\0\x01\xe9", b"\xff\xff\xff\xff"].concat();
        let wanted = [&head[..], b"\0\0\0\x02\xc3\xa9", b"\xff\xff\xff\xff"].concat();
        assert_eq!(latin1(oid::TEXT_ARRAY, Format::Binary, &given), wanted);
        for end in 0..given.len() {
            latin1(oid::TEXT_ARRAY, Format::Binary, &given[..end]);
        }
        let text = Field::new("a", DataType::Utf8, true);
        let bad = in_utf8(
            &text,
            Format::Text,
            &[0x81, 0xff],
            ClientEncoding::of_name("euc_jp").unwrap(),
        );
        assert_eq!(bad.unwrap_err().sqlstate(), "22021");
    }
}
