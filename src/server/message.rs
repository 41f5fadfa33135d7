//! The texts of messages in the client's encoding.

use bytes::{Buf, BufMut, BytesMut};

use super::frame::HEADER;
use crate::sql::format::ClientEncoding;

/// Bytes behind the name of a column in RowDescription.
const COLUMN: usize = 18;

/// Converts the texts of the message that begins at byte `start`, with a question mark for each character that the encoding
/// does not have. Rows and the data of COPY are converted where they are made.
pub fn convert(output: &mut BytesMut, start: usize, encoding: ClientEncoding) {
    if output[start..].is_ascii() {
        return;
    }
    let body = match output[start] {
        // Texts alone, with letters between them that are texts as well.
        b'E' | b'N' | b'S' | b'C' => text(&output[start + HEADER..], encoding),
        b'T' => columns(&output[start + HEADER..], encoding),
        // The number of a session before the texts.
        b'A' => {
            let (pid, texts) = output[start + HEADER..].split_at(size_of::<i32>());
            [pid, &text(texts, encoding)].concat()
        }
        _ => return,
    };
    output.truncate(start + HEADER);
    output.extend_from_slice(&body);
    // No encoding takes more than twice the bytes of UTF-8, and these texts are short: errors are cut, the rest are names.
    let length = (output.len() - start - 1) as i32;
    output[start + 1..start + HEADER].copy_from_slice(&length.to_be_bytes());
}

fn text(bytes: &[u8], encoding: ClientEncoding) -> Vec<u8> {
    encoding.encode_lossy(&String::from_utf8_lossy(bytes))
}

/// RowDescription: how many columns, then each with its name, a zero and numbers.
fn columns(mut body: &[u8], encoding: ClientEncoding) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let count = body.len().min(2);
    out.put_slice(&body[..count]);
    body.advance(count);
    while let Some(end) = body.iter().position(|byte| *byte == 0) {
        out.put_slice(&text(&body[..end], encoding));
        let rest = &body[end..];
        let numbers = rest.len().min(1 + COLUMN);
        out.put_slice(&rest[..numbers]);
        body = &rest[numbers..];
    }
    out
}

#[cfg(test)]
mod tests {
    use pgwire::messages::Message;
    use pgwire::messages::data::{FieldDescription, RowDescription};
    use pgwire::messages::response::{CommandComplete, ErrorResponse};

    use super::*;

    fn latin1(message: &impl Message) -> BytesMut {
        let mut output = BytesMut::from(&b"before"[..]);
        let start = output.len();
        assert!(message.encode(&mut output).is_ok());
        let encoding = ClientEncoding::of_name("latin1").unwrap_or_default();
        convert(&mut output, start, encoding);
        output.split_off(start)
    }

    #[test]
    fn texts_are_converted_and_lengths_are_right() {
        let fields = vec![(b'S', "ERROR".to_string()), (b'M', "é 表".to_string())];
        let error = latin1(&ErrorResponse::new(fields));
        assert_eq!(&error[..], b"E\0\0\0\x11SERROR\0M\xe9 ?\0\0");
        let tag = latin1(&CommandComplete::new("é".to_string()));
        assert_eq!(&tag[..], b"C\0\0\0\x06\xe9\0");
        let column = |name: &str| FieldDescription::new(name.to_string(), 200, 1, 25, -1, -1, 0);
        let columns = latin1(&RowDescription::new(vec![column("é"), column("b")]));
        let numbers = b"\0\0\0\xc8\0\x01\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
        let expected = [&b"T\0\0\0\x2e\0\x02\xe9\0"[..], numbers, b"b\0", numbers];
        assert_eq!(&columns[..], expected.concat());
    }
}
