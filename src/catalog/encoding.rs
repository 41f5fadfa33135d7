//! Encodings of clients. All text of the server is UTF-8; on its way to a client whose `client_encoding` is another one, to
//! a file of COPY and back it is converted.

use std::fmt;

use bytes::BytesMut;
use encoding_rs::{Decoder, DecoderResult, Encoder, EncoderResult, Encoding};

use crate::error::{Error, Result, sqlstate};

/// How an encoding is converted.
enum Form {
    /// Not at all.
    Same,
    /// Bytes are the first 256 characters of Unicode, but for these.
    Latin(&'static [(u8, char)]),
    Table(&'static Encoding),
    /// PostgreSQL has it, we do not.
    Unsupported,
}

use Form::{Latin, Same, Table, Unsupported};

/// One of PostgreSQL's encodings.
struct Known {
    name: &'static str,
    /// Its other names, without marks and in small letters.
    others: &'static [&'static str],
    form: Form,
}

const fn known(name: &'static str, others: &'static [&'static str], form: Form) -> Known {
    Known { name, others, form }
}

/// What ISO 8859-9 has in the place of Icelandic letters.
const TURKISH: &[(u8, char)] = &[
    (0xd0, 'Ğ'),
    (0xdd, 'İ'),
    (0xde, 'Ş'),
    (0xf0, 'ğ'),
    (0xfd, 'ı'),
    (0xfe, 'ş'),
];

/// PostgreSQL's encodings in the order of their codes.
static ALL: [Known; 42] = [
    known("SQL_ASCII", &[], Same),
    known("EUC_JP", &[], Table(encoding_rs::EUC_JP)),
    known("EUC_CN", &[], Unsupported),
    known("EUC_KR", &[], Table(encoding_rs::EUC_KR)),
    known("EUC_TW", &[], Unsupported),
    known("EUC_JIS_2004", &[], Unsupported),
    known("UTF8", &["unicode"], Same),
    known("MULE_INTERNAL", &[], Unsupported),
    known("LATIN1", &["iso88591"], Latin(&[])),
    known("LATIN2", &["iso88592"], Table(encoding_rs::ISO_8859_2)),
    known("LATIN3", &["iso88593"], Table(encoding_rs::ISO_8859_3)),
    known("LATIN4", &["iso88594"], Table(encoding_rs::ISO_8859_4)),
    known("LATIN5", &["iso88599"], Latin(TURKISH)),
    known("LATIN6", &["iso885910"], Table(encoding_rs::ISO_8859_10)),
    known("LATIN7", &["iso885913"], Table(encoding_rs::ISO_8859_13)),
    known("LATIN8", &["iso885914"], Table(encoding_rs::ISO_8859_14)),
    known("LATIN9", &["iso885915"], Table(encoding_rs::ISO_8859_15)),
    known("LATIN10", &["iso885916"], Table(encoding_rs::ISO_8859_16)),
    known(
        "WIN1256",
        &["windows1256"],
        Table(encoding_rs::WINDOWS_1256),
    ),
    known(
        "WIN1258",
        &["windows1258", "abc", "tcvn", "tcvn5712", "vscii"],
        Table(encoding_rs::WINDOWS_1258),
    ),
    known("WIN866", &["windows866", "alt"], Table(encoding_rs::IBM866)),
    known("WIN874", &["windows874"], Table(encoding_rs::WINDOWS_874)),
    known("KOI8R", &["koi8"], Table(encoding_rs::KOI8_R)),
    known(
        "WIN1251",
        &["windows1251", "win"],
        Table(encoding_rs::WINDOWS_1251),
    ),
    known(
        "WIN1252",
        &["windows1252"],
        Table(encoding_rs::WINDOWS_1252),
    ),
    known("ISO_8859_5", &[], Table(encoding_rs::ISO_8859_5)),
    known("ISO_8859_6", &[], Table(encoding_rs::ISO_8859_6)),
    known("ISO_8859_7", &[], Table(encoding_rs::ISO_8859_7)),
    known("ISO_8859_8", &[], Table(encoding_rs::ISO_8859_8)),
    known(
        "WIN1250",
        &["windows1250"],
        Table(encoding_rs::WINDOWS_1250),
    ),
    known(
        "WIN1253",
        &["windows1253"],
        Table(encoding_rs::WINDOWS_1253),
    ),
    known(
        "WIN1254",
        &["windows1254"],
        Table(encoding_rs::WINDOWS_1254),
    ),
    known(
        "WIN1255",
        &["windows1255"],
        Table(encoding_rs::WINDOWS_1255),
    ),
    known(
        "WIN1257",
        &["windows1257"],
        Table(encoding_rs::WINDOWS_1257),
    ),
    known("KOI8U", &[], Table(encoding_rs::KOI8_U)),
    known(
        "SJIS",
        &["mskanji", "shiftjis", "win932", "windows932"],
        Table(encoding_rs::SHIFT_JIS),
    ),
    known("BIG5", &["win950", "windows950"], Table(encoding_rs::BIG5)),
    known("GBK", &["win936", "windows936"], Table(encoding_rs::GBK)),
    known("UHC", &["win949", "windows949"], Table(encoding_rs::EUC_KR)),
    known("GB18030", &[], Table(encoding_rs::GB18030)),
    known("JOHAB", &[], Unsupported),
    known("SHIFT_JIS_2004", &["shiftjis2004"], Unsupported),
];

/// The code of UTF8, which is the encoding of the database.
const UTF8: u8 = 6;

/// An encoding that a client may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientEncoding(u8);

impl Default for ClientEncoding {
    fn default() -> Self {
        Self(UTF8)
    }
}

impl fmt::Debug for ClientEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ClientEncoding {
    /// The encoding that a name means, in any case and with any marks.
    pub fn of_name(name: &str) -> Option<Self> {
        let plain = |name: &str| -> String {
            let kept = name.chars().filter(char::is_ascii_alphanumeric);
            kept.map(|c| c.to_ascii_lowercase()).collect()
        };
        let wanted = plain(name);
        let is_it =
            |known: &Known| plain(known.name) == wanted || known.others.contains(&wanted.as_str());
        let code = ALL.iter().position(is_it)?;
        Self::of_code(i64::try_from(code).ok()?)
    }

    /// The encoding of one of PostgreSQL's codes.
    pub fn of_code(code: i64) -> Option<Self> {
        let code = u8::try_from(code).ok()?;
        (usize::from(code) < ALL.len()).then_some(Self(code))
    }

    /// PostgreSQL's name for it.
    pub fn name(self) -> &'static str {
        self.known().name
    }

    /// PostgreSQL's code for it.
    pub fn code(self) -> u8 {
        self.0
    }

    /// Whether text can be converted to it.
    pub fn is_supported(self) -> bool {
        !matches!(self.known().form, Unsupported)
    }

    /// Whether its bytes are not those of UTF-8.
    pub fn converts(self) -> bool {
        !matches!(self.known().form, Same)
    }

    fn known(self) -> &'static Known {
        // All codes are made by `of_code`.
        &ALL[usize::from(self.0)]
    }

    /// The text of bytes.
    ///
    /// # Errors
    /// 22021 for bytes that are none of its texts, or hold a zero.
    pub fn decode(self, bytes: &[u8]) -> Result<String> {
        let mut decoder = TextDecoder::new(self);
        let mut text = decoder.decode(bytes)?;
        text.push_str(&decoder.end()?);
        Ok(text)
    }

    /// The bytes of a text.
    ///
    /// # Errors
    /// 22P05 for a character that it does not have.
    pub fn encode(self, text: &str) -> Result<Vec<u8>> {
        self.encode_with(text, |character| Err(self.untranslatable(character)))
    }

    /// The bytes of a text, with a question mark for each character that it does not have.
    pub fn encode_lossy(self, text: &str) -> Vec<u8> {
        let encoded = self.encode_with(text, |_| Ok(b'?'));
        encoded.unwrap_or_default()
    }

    /// Converts the text that stands in `out` from byte `start` on.
    ///
    /// # Errors
    /// 22P05 for a character that it does not have.
    pub fn convert_from(self, start: usize, out: &mut BytesMut) -> Result<()> {
        if !self.converts() || out[start..].is_ascii() {
            return Ok(());
        }
        let text = std::str::from_utf8(&out[start..]);
        let text = text.map_err(|_| Error::internal("a text is not UTF-8"))?;
        let bytes = self.encode(text)?;
        out.truncate(start);
        out.extend_from_slice(&bytes);
        Ok(())
    }

    fn encode_with(self, text: &str, instead: impl Fn(char) -> Result<u8>) -> Result<Vec<u8>> {
        if text.is_ascii() {
            return Ok(text.as_bytes().to_vec());
        }
        match &self.known().form {
            Same | Unsupported => Ok(text.as_bytes().to_vec()),
            Latin(others) => text
                .chars()
                .map(|character| match latin_byte(character, others) {
                    Some(byte) => Ok(byte),
                    None => instead(character),
                })
                .collect(),
            Table(encoding) => by_table(&mut encoding.new_encoder(), text, instead),
        }
    }

    fn untranslatable(self, character: char) -> Error {
        let mut utf8 = [0; 4];
        let message = format!(
            "character with byte sequence {} in encoding \"UTF8\" has no equivalent in encoding \"{}\"",
            shown(character.encode_utf8(&mut utf8).as_bytes()),
            self.name()
        );
        Error::invalid(sqlstate::UNTRANSLATABLE_CHARACTER, message)
    }

    /// 22021 for bytes that are none of its texts.
    pub fn malformed(self, bytes: &[u8]) -> Error {
        let name = match self.converts() {
            true => self.name(),
            false => Self::default().name(),
        };
        let message = format!(
            "invalid byte sequence for encoding \"{name}\": {}",
            shown(bytes)
        );
        Error::invalid(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, message)
    }
}

fn shown(bytes: &[u8]) -> String {
    let bytes = bytes.iter().map(|byte| format!("0x{byte:02x}"));
    bytes.collect::<Vec<_>>().join(" ")
}

fn latin_byte(character: char, others: &[(u8, char)]) -> Option<u8> {
    let other = others.iter().find(|(_, other)| *other == character);
    let byte = u8::try_from(u32::from(character)).ok();
    let byte = byte.filter(|byte| others.iter().all(|(other, _)| other != byte));
    other.map(|(byte, _)| *byte).or(byte)
}

fn latin_character(byte: u8, others: &[(u8, char)]) -> char {
    let other = others.iter().find(|(other, _)| *other == byte);
    other.map_or(char::from(byte), |(_, character)| *character)
}

fn by_table(
    encoder: &mut Encoder,
    text: &str,
    instead: impl Fn(char) -> Result<u8>,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    loop {
        let room = encoder.max_buffer_length_from_utf8_without_replacement(rest.len());
        bytes.reserve(room.unwrap_or(rest.len()));
        let (result, read) =
            encoder.encode_from_utf8_to_vec_without_replacement(rest, &mut bytes, true);
        rest = &rest[read..];
        match result {
            EncoderResult::InputEmpty => return Ok(bytes),
            EncoderResult::OutputFull => {}
            EncoderResult::Unmappable(character) => bytes.push(instead(character)?),
        }
    }
}

/// Makes text of bytes that come in pieces, cut anywhere.
pub struct TextDecoder {
    encoding: ClientEncoding,
    table: Option<Decoder>,
    /// Bytes of a character in UTF-8 whose end has not come.
    begun: Vec<u8>,
}

impl fmt::Debug for TextDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TextDecoder").field(&self.encoding).finish()
    }
}

impl TextDecoder {
    /// Of texts in an encoding.
    pub fn new(encoding: ClientEncoding) -> Self {
        let table = match encoding.known().form {
            Table(table) => Some(table.new_decoder_without_bom_handling()),
            _ => None,
        };
        Self {
            encoding,
            table,
            begun: Vec::new(),
        }
    }

    /// The text of the next bytes, as far as its characters are whole.
    ///
    /// # Errors
    /// 22021 for bytes that are none of the encoding's, or a zero.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<String> {
        if bytes.contains(&0) {
            return Err(self.encoding.malformed(&[0]));
        }
        match (&self.encoding.known().form, &mut self.table) {
            (Latin(others), _) => {
                let characters = bytes.iter().map(|byte| latin_character(*byte, others));
                Ok(characters.collect())
            }
            (_, Some(decoder)) => by_decoder(decoder, bytes, false)
                .map_err(|malformed| self.encoding.malformed(&malformed)),
            _ => self.utf8(bytes),
        }
    }

    /// What is left when no more bytes come.
    ///
    /// # Errors
    /// 22021 where a character is not whole.
    pub fn end(&mut self) -> Result<String> {
        if !self.begun.is_empty() {
            return Err(self.encoding.malformed(&self.begun));
        }
        match &mut self.table {
            Some(decoder) => by_decoder(decoder, &[], true)
                .map_err(|malformed| self.encoding.malformed(&malformed)),
            None => Ok(String::new()),
        }
    }

    fn utf8(&mut self, bytes: &[u8]) -> Result<String> {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        match String::from_utf8(all) {
            Ok(text) => Ok(text),
            Err(e) => {
                let error = e.utf8_error();
                let valid = error.valid_up_to();
                let mut all = e.into_bytes();
                if let Some(length) = error.error_len() {
                    return Err(self.encoding.malformed(&all[valid..valid + length]));
                }
                self.begun = all.split_off(valid);
                // What is before the end of the valid part is UTF-8.
                Ok(String::from_utf8(all).unwrap_or_default())
            }
        }
    }
}

/// # Errors
/// The bytes that are no character.
fn by_decoder(decoder: &mut Decoder, bytes: &[u8], last: bool) -> Result<String, Vec<u8>> {
    let mut text = String::new();
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let room = decoder.max_utf8_buffer_length_without_replacement(rest.len());
        text.reserve(room.unwrap_or(rest.len()));
        let (result, read) = decoder.decode_to_string_without_replacement(rest, &mut text, last);
        at += read;
        match result {
            DecoderResult::InputEmpty => return Ok(text),
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(length, behind) => {
                let end = at.saturating_sub(usize::from(behind));
                let start = end.saturating_sub(usize::from(length));
                return Err(bytes[start..end].to_vec());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn named(name: &str) -> ClientEncoding {
        ClientEncoding::of_name(name).unwrap()
    }

    #[test]
    fn names_are_postgresqls() {
        for (name, is) in [
            ("utf-8", "UTF8"),
            ("Unicode", "UTF8"),
            ("latin-1", "LATIN1"),
            ("ISO_8859_1", "LATIN1"),
            ("iso-8859-15", "LATIN9"),
            ("windows-1252", "WIN1252"),
            ("sql_ascii", "SQL_ASCII"),
            ("Shift_JIS", "SJIS"),
        ] {
            assert_eq!(named(name).name(), is);
        }
        assert_eq!(ClientEncoding::of_name("ascii"), None);
        assert_eq!(ClientEncoding::of_code(8), Some(named("LATIN1")));
        assert_eq!((named("UTF8").code(), named("WIN1252").code()), (6, 24));
        assert_eq!(ClientEncoding::of_code(-1), None);
        assert_eq!(ClientEncoding::of_code(42), None);
    }

    #[test]
    fn characters_have_the_bytes_of_their_encoding() {
        for (name, text, bytes) in [
            ("LATIN1", "é", &[0xe9][..]),
            ("LATIN9", "€", &[0xa4]),
            ("LATIN5", "ığ", &[0xfd, 0xf0]),
            ("WIN1252", "€", &[0x80]),
            ("WIN1251", "Ж", &[0xc6]),
            ("SJIS", "表", &[0x95, 0x5c]),
            ("EUC_JP", "表", &[0xc9, 0xbd]),
            ("GB18030", "€", &[0xa2, 0xe3]),
            ("SQL_ASCII", "é", &[0xc3, 0xa9]),
        ] {
            assert_eq!(named(name).encode(text).unwrap(), bytes, "{name}");
            assert_eq!(named(name).decode(bytes).unwrap(), text, "{name}");
        }
    }

    #[test]
    fn what_an_encoding_has_not_is_said() {
        for name in ["LATIN1", "WIN1251", "EUC_KR"] {
            let error = named(name).encode("a😀").unwrap_err();
            assert_eq!(error.sqlstate(), "22P05");
            assert!(error.message().contains("0xf0 0x9f 0x98 0x80"), "{error}");
            assert_eq!(named(name).encode_lossy("a😀b"), b"a?b");
        }
        assert_eq!(named("LATIN5").encode("Ð").unwrap_err().sqlstate(), "22P05");
        for (name, bytes) in [
            ("UTF8", &[b'a', 0xff][..]),
            ("UTF8", &[0xe2, 0x82]),
            ("EUC_JP", &[0xff]),
            ("SJIS", &[0x95]),
            ("LATIN1", &[0]),
        ] {
            let error = named(name).decode(bytes).unwrap_err();
            assert_eq!(error.sqlstate(), "22021", "{name}: {error}");
        }
    }

    proptest! {
        #[test]
        fn texts_come_back_however_they_are_cut(
            text in "[a-zäöüßÀ-ÿ]{0,20}|[ぁ-んァ-ヶ亜-熙]{0,12}|[а-я]{0,12}",
            code in 0i64..42,
            cuts in prop::collection::vec(0_usize..40, 0..4),
        ) {
            let encoding = ClientEncoding::of_code(code).unwrap();
            let Ok(bytes) = encoding.encode(&text) else { return Ok(()) };
            let mut decoder = TextDecoder::new(encoding);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut read = String::new();
            for cut in cuts.windows(2) {
                read.push_str(&decoder.decode(&bytes[cut[0]..cut[1]]).unwrap());
            }
            read.push_str(&decoder.end().unwrap());
            prop_assert_eq!(read, text);
        }
    }
}
