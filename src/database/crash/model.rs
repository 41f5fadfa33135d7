//! The files of a directory as a power cut may leave them.
//!
//! What a file system promises is taken at its word and no further: bytes of a file are there after a sync of the
//! file, a name after a sync of its directory. Of everything else any part may be there, in any order; a write may be
//! there by some of its sectors. A rename happens whole or not at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::rig::{Content, Done};
use crate::storage::testing::Dice;

/// Bytes that a disk writes whole.
const SECTOR_BYTES: usize = 512;

/// What was done to the files, with what was synced of it.
#[derive(Debug)]
pub(super) struct Trace {
    before: Image,
    effects: Vec<Effect>,
}

#[derive(Debug)]
struct Effect {
    /// The place in the trace.
    at: usize,
    /// The place of the sync that made it durable.
    durable_from: Option<usize>,
    what: What,
}

/// An effect on a file, by its number, or on a name.
#[derive(Debug, Clone, PartialEq)]
enum What {
    Write(usize, u64, Content),
    SetLength(usize, u64),
    Name(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    NoName(PathBuf),
    Directory(PathBuf),
    NoDirectory(PathBuf),
}

impl What {
    fn file(&self) -> Option<usize> {
        match self {
            Self::Write(file, ..) | Self::SetLength(file, _) => Some(*file),
            _ => None,
        }
    }

    /// The name whose directory must be synced.
    fn name(&self) -> Option<&Path> {
        match self {
            Self::Write(..) | Self::SetLength(..) => None,
            Self::Name(name, _) | Self::Rename(_, name, _) => Some(name),
            Self::NoName(name) | Self::Directory(name) | Self::NoDirectory(name) => Some(name),
        }
    }
}

impl Trace {
    /// The effects of what was done in a directory that had these files, all of them durable.
    pub(super) fn new(before: Image, done: &[Done]) -> Self {
        let mut effects: Vec<Effect> = Vec::new();
        // By the names under which they were opened, and by the names they have.
        let mut open: HashMap<PathBuf, usize> = HashMap::new();
        let named = before.names.iter();
        let mut named: HashMap<PathBuf, usize> =
            named.map(|(name, file)| (name.clone(), *file)).collect();
        // Files without a name too: a new one must not begin with their bytes.
        let known = before.files.keys().chain(before.names.values());
        let mut files = known.max().map_or(0, |last| last + 1);
        for (at, done) in done.iter().enumerate() {
            let what = match done {
                Done::Open(path) if named.contains_key(path) => {
                    open.insert(path.clone(), named[path]);
                    continue;
                }
                Done::Create(path) | Done::Open(path) => {
                    open.insert(path.clone(), files);
                    named.insert(path.clone(), files);
                    files += 1;
                    What::Name(path.clone(), files - 1)
                }
                Done::Write(path, offset, bytes) => What::Write(open[path], *offset, bytes.clone()),
                Done::SetLength(path, bytes) => What::SetLength(open[path], *bytes),
                Done::Link(from, to) => {
                    named.insert(to.clone(), named[from]);
                    What::Name(to.clone(), named[from])
                }
                Done::Rename(from, to) => {
                    let file = named.remove(from).unwrap();
                    named.insert(to.clone(), file);
                    What::Rename(from.clone(), to.clone(), file)
                }
                Done::Remove(path) if named.remove(path).is_none() => continue,
                Done::Remove(path) => What::NoName(path.clone()),
                Done::CreateDirectory(path) if path.as_os_str().is_empty() => continue,
                Done::CreateDirectory(path) => What::Directory(path.clone()),
                Done::RemoveDirectory(path) => What::NoDirectory(path.clone()),
                Done::Sync(path) => {
                    let file = open[path];
                    sync(&mut effects, at, |what| what.file() == Some(file));
                    continue;
                }
                Done::SyncDirectory(path) => {
                    let inside = |what: &What| what.name().and_then(Path::parent) == Some(path);
                    sync(&mut effects, at, inside);
                    continue;
                }
            };
            effects.push(Effect {
                at,
                durable_from: None,
                what,
            });
        }
        Self { before, effects }
    }

    /// The files after the first `done` operations and a power cut. `dice` choose what is there of what was not synced;
    /// without them, all of it is.
    pub(super) fn image(&self, done: usize, mut dice: Option<&mut Dice>) -> Image {
        let mut image = self.before.clone();
        // How much gets lost differs from cut to cut: nothing in between is likelier than the ends.
        let lost = dice.as_mut().map_or(0, |dice| dice.below(5));
        for effect in self.effects.iter().take_while(|e| e.at < done) {
            let durable = effect.durable_from.is_some_and(|sync| sync < done);
            let Some(dice) = dice.as_mut().filter(|_| !durable) else {
                image.apply(&effect.what);
                continue;
            };
            match &effect.what {
                what if dice.below(4) >= lost => image.apply(what),
                What::Write(file, at, Content::Bytes(bytes)) if dice.below(2) == 0 => {
                    image.write_torn(*file, *at, bytes, dice);
                }
                _ => {}
            }
        }
        image.settle();
        image
    }
}

fn sync(effects: &mut [Effect], at: usize, which: impl Fn(&What) -> bool) {
    for effect in effects {
        if effect.durable_from.is_none() && which(&effect.what) {
            effect.durable_from = Some(at);
        }
    }
}

/// Files and directories below a root.
#[derive(Debug, Default, Clone)]
pub(super) struct Image {
    directories: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, usize>,
    files: HashMap<usize, Bytes>,
}

/// The bytes of a file; behind `written` there are zeros up to `length`.
#[derive(Debug, Default, Clone)]
struct Bytes {
    written: Vec<u8>,
    length: u64,
}

impl Bytes {
    fn write(&mut self, at: u64, bytes: &[u8]) {
        let (at, end) = (at as usize, at as usize + bytes.len());
        if self.written.len() < end {
            self.written.resize(end, 0);
        }
        self.written[at..end].copy_from_slice(bytes);
        self.length = self.length.max(end as u64);
    }

    fn write_zeros(&mut self, at: u64, count: u64) {
        let end = self.written.len().min((at + count) as usize);
        if (at as usize) < end {
            self.written[at as usize..end].fill(0);
        }
        self.length = self.length.max(at + count);
    }

    fn set_length(&mut self, length: u64) {
        self.written.truncate(length as usize);
        self.length = length;
    }
}

impl Image {
    fn apply(&mut self, what: &What) {
        match what {
            What::Write(file, at, Content::Bytes(bytes)) => self.file(*file).write(*at, bytes),
            What::Write(file, at, Content::Zeros(count)) => {
                self.file(*file).write_zeros(*at, *count);
            }
            What::SetLength(file, bytes) => self.file(*file).set_length(*bytes),
            What::Name(name, file) => {
                self.names.insert(name.clone(), *file);
            }
            What::Rename(from, to, file) => {
                self.names.remove(from);
                self.names.insert(to.clone(), *file);
            }
            What::NoName(name) => {
                self.names.remove(name);
            }
            What::Directory(name) => {
                self.directories.insert(name.clone());
            }
            What::NoDirectory(name) => {
                self.directories.remove(name);
            }
        }
    }

    fn file(&mut self, file: usize) -> &mut Bytes {
        self.files.entry(file).or_default()
    }

    /// Writes some of the sectors.
    fn write_torn(&mut self, file: usize, at: u64, bytes: &[u8], dice: &mut Dice) {
        for (n, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            if dice.below(2) == 0 {
                let at = at + (n * SECTOR_BYTES) as u64;
                self.file(file).write(at, sector);
            }
        }
    }

    /// What lies in a directory that is not there is lost with it.
    fn settle(&mut self) {
        let mut made = BTreeSet::from([PathBuf::new()]);
        self.directories.retain(|directory| {
            let is_reached = made.contains(directory.parent().unwrap());
            is_reached && made.insert(directory.clone())
        });
        self.names
            .retain(|name, _| made.contains(name.parent().unwrap()));
    }

    /// Makes the files below `root`, which is empty.
    pub(super) fn write_to(&self, root: &Path) {
        for directory in &self.directories {
            fs::create_dir(root.join(directory)).unwrap();
        }
        for (name, file) in &self.names {
            let target = fs::File::create(root.join(name)).unwrap();
            if let Some(bytes) = self.files.get(file) {
                target.write_all_at(&bytes.written, 0).unwrap();
                target.set_len(bytes.length).unwrap();
            }
        }
    }
}

#[test]
fn what_is_synced_is_there_and_of_the_rest_any_part() {
    let path = |name: &str| PathBuf::from(name);
    let done = [
        Done::CreateDirectory(path("d")),
        Done::Create(path("d/a")),
        Done::Write(path("d/a"), 0, Content::Bytes([1u8; 600].as_slice().into())),
        Done::Sync(path("d/a")),
        Done::SyncDirectory(path("")),
        Done::SyncDirectory(path("d")),
        Done::Rename(path("d/a"), path("d/b")),
        Done::Write(path("d/a"), 600, Content::Zeros(8)),
    ];
    let trace = Trace::new(Image::default(), &done);
    let (mut sparse, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..200 {
        let early = trace.image(5, Some(&mut Dice(seed)));
        sparse.insert(early.names.len());
        let image = trace.image(done.len(), Some(&mut Dice(seed)));
        let (name, file) = image.names.first_key_value().unwrap();
        assert_eq!((image.names.len(), image.directories.len()), (1, 1));
        assert!(image.files[file].written.iter().all(|b| *b == 1));
        seen.insert((name.clone(), image.files[file].length));
    }
    assert_eq!(sparse, BTreeSet::from([0, 1]));
    let all = [("d/a", 600), ("d/a", 608), ("d/b", 600), ("d/b", 608)];
    assert_eq!(seen, all.map(|(name, bytes)| (path(name), bytes)).into());
}
