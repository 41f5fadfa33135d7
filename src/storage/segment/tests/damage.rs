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

/// A segment whose data have several blocks.
fn large() -> Fixture {
    let mut random = Random(7);
    let schema = random.schema();
    let rows: Vec<_> = (0..8).map(|_| random.batch(&schema, 2_000)).collect();
    Fixture::write(schema, &rows, 3_000)
}

/// All that can be asked of a segment, until the first error.
fn read_whole(fixture: &Fixture) -> crate::error::Result<()> {
    let (bytes, crc32c) = (fixture.written.bytes, fixture.written.crc32c);
    let reader = SegmentReader::open_whole(fixture.file.path(), "segment 1", bytes, crc32c)?;
    for field in fixture.fields() {
        for group in 0..reader.row_groups() {
            reader.may_contain(group, field, &[1, 2, 3])?;
        }
        if let Some(pages) = reader.vector_pages(field)? {
            let mut buffer = arrow::buffer::MutableBuffer::new(0);
            (0..pages.pages().len()).try_for_each(|p| pages.read_page(p, &mut buffer).map(drop))?;
        }
    }
    let request = ReadRequest::all(&reader, Arc::clone(&fixture.schema), fixture.fields());
    reader
        .read(request)?
        .try_for_each(|batch| batch.map(drop))?;
    reader.check_all(crc32c)
}

#[test]
fn a_changed_byte_is_found_by_its_checksum() {
    let fixture = large();
    read_whole(&fixture).unwrap();
    let bytes = std::fs::read(fixture.file.path()).unwrap();
    assert!(bytes.len() > 150_000, "{}", bytes.len());
    let name = fixture.file.path().display().to_string();
    let mut random = Random(3);
    for n in 0..120 {
        // The ends too: the magic bytes, and what is behind the blocks.
        let place = match n {
            0..4 => n,
            4..24 => bytes.len() - 1 - (n - 4) * 101,
            _ => random.below(bytes.len()),
        };
        let mut changed = bytes.clone();
        changed[place] ^= 1 << random.below(8);
        std::fs::write(fixture.file.path(), &changed).unwrap();
        let error = read_whole(&fixture).unwrap_err();
        assert_eq!(error.sqlstate(), "XX001", "{place}: {error}");
        assert!(error.to_string().contains(&name), "{place}: {error}");
    }
}

#[test]
fn a_block_is_named_by_its_bytes_and_the_others_can_be_read() {
    let fixture = large();
    let mut bytes = std::fs::read(fixture.file.path()).unwrap();
    bytes[70_000] ^= 1;
    std::fs::write(fixture.file.path(), &bytes).unwrap();
    let (length, crc32c) = (fixture.written.bytes, fixture.written.crc32c);
    let reader = SegmentReader::open_whole(fixture.file.path(), "s", length, crc32c).unwrap();
    let mut target = [0; 10];
    reader.file().read_at(0, &mut target).unwrap();
    reader.file().read_at(131_072, &mut target).unwrap();
    reader.check_mapped(&bytes, 0..65_536).unwrap();
    let wrong = "the checksum of bytes 65536 to 131071 is wrong";
    for error in [
        reader.file().read_at(131_070, &mut target).unwrap_err(),
        reader
            .file()
            .check_mapped(&bytes, 65_530..65_537)
            .unwrap_err(),
    ] {
        assert_eq!(error.to_string(), wrong);
    }
    let error = reader.check_all(crc32c).unwrap_err();
    assert!(error.message().ends_with(wrong), "{error}");
}

#[test]
fn what_is_read_to_check_a_block_counts_once() {
    let fixture = large();
    let (bytes, crc32c) = (fixture.written.bytes, fixture.written.crc32c);
    let reader = SegmentReader::open_whole(fixture.file.path(), "s", bytes, crc32c).unwrap();
    let file = reader.file().with_own_count();
    for counted in [10 + 65_536, 20 + 65_536] {
        file.read_at(100, &mut [0; 10]).unwrap();
        assert_eq!(file.bytes_read(), counted);
    }
}

#[test]
fn what_is_not_the_file_that_was_written_is_refused() {
    let fixture = fixture(2);
    let path = fixture.file.path().to_path_buf();
    let good = std::fs::read(&path).unwrap();
    let open = || {
        let (bytes, crc32c) = (fixture.written.bytes, fixture.written.crc32c);
        SegmentReader::open_whole(&path, "segment 1", bytes, crc32c)
    };
    let other = std::fs::read(self::fixture(3).file.path()).unwrap();
    let mut garbage = good.clone();
    garbage.fill(0x5a);
    for bytes in [vec![], good[..good.len() / 2].to_vec(), garbage, other] {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(open().unwrap_err().sqlstate(), "XX001");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(open().unwrap_err().message().contains("missing"));
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(open().unwrap_err().message().contains("not a regular file"));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(open().unwrap_err().message().contains("not a regular file"));
    std::fs::remove_dir(&path).unwrap();
}
