use super::random::Random;
use super::*;
use crate::error::ErrorKind;

/// Reads all there is. Damaged values may come back as other values; nothing may panic, and an error names the file.
fn read_all(fixture: &Fixture) {
    let name = fixture.file.path().display().to_string();
    let opened = SegmentReader::open(fixture.file.path(), "segment 1");
    let check = |error: crate::error::Error| {
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
        assert!(error.to_string().contains(&name), "{error}");
    };
    let reader = match opened {
        Ok(reader) => reader,
        Err(error) => return check(error),
    };
    let stats = &fixture.written.stats;
    reader.row_group_stats(&fixture.schema, stats);
    for group in 0..reader.row_groups() {
        reader.page_stats(group, &fixture.schema, stats, &fixture.fields());
        for field in fixture.fields() {
            reader
                .may_contain(group, field, &[group as u64])
                .map(|_| ())
                .unwrap_or_else(check);
        }
    }
    for field in fixture.fields() {
        reader.vector_pages(field).map(|_| ()).unwrap_or_else(check);
    }
    let request = ReadRequest::all(&reader, Arc::clone(&fixture.schema), fixture.fields());
    for batch in reader.read(request).unwrap() {
        batch.map(|_| ()).unwrap_or_else(check);
    }
}

fn fixture(seed: u64) -> Fixture {
    let mut random = Random(seed);
    let schema = random.schema();
    let rows = random.batch(&schema, 200);
    Fixture::write(schema, &[rows], 70)
}

#[test]
fn a_missing_file_is_reported() {
    let fixture = fixture(1);
    std::fs::remove_file(fixture.file.path()).unwrap();
    read_all(&fixture);
}

#[test]
fn a_short_file_is_reported() {
    for seed in 0..10 {
        let fixture = fixture(seed);
        let bytes = std::fs::read(fixture.file.path()).unwrap();
        for end in (0..bytes.len()).step_by(bytes.len() / 40) {
            std::fs::write(fixture.file.path(), &bytes[..end]).unwrap();
            let opened = SegmentReader::open(fixture.file.path(), "segment 1");
            assert_eq!(opened.unwrap_err().kind(), ErrorKind::Corrupted);
        }
    }
}

#[test]
fn a_changed_byte_never_panics() {
    for seed in 0..20 {
        let fixture = fixture(seed);
        let bytes = std::fs::read(fixture.file.path()).unwrap();
        let mut random = Random(seed);
        for _ in 0..60 {
            let mut changed = bytes.clone();
            // Half of the damage in the footer, where it tells.
            let from = if random.chance(50) {
                bytes.len() / 2
            } else {
                0
            };
            let place = from + random.below(bytes.len() - from);
            changed[place] = random.next() as u8;
            std::fs::write(fixture.file.path(), &changed).unwrap();
            read_all(&fixture);
        }
    }
}
