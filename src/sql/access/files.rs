//! Which files of the machine a session may reach by SQL.

use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};
use crate::sql::session::Session;
use crate::sql::statement::{CopyPlace, CopyStatement, Statement};
use crate::storage::role::RoleId;

/// The files that sessions of superusers may read and write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileAccess {
    /// All that the process may: for programs that hold the database, and the command line.
    Anywhere,
    /// Those below these directories: for clients.
    Below(Vec<PathBuf>),
}

impl FileAccess {
    /// That a path is that of files within reach: a file, a directory, or a pattern of files.
    ///
    /// Nothing outside is looked at, so that the answer does not tell what is there.
    ///
    /// # Errors
    /// 42501.
    pub fn check_read(&self, path: &str) -> Result<()> {
        let Self::Below(directories) = self else {
            return Ok(());
        };
        let plain = plain(path)?;
        let named = named_part(&plain);
        let root = directories
            .iter()
            .filter(|d| named.starts_with(d))
            .find_map(|d| d.canonicalize().ok())
            .ok_or_else(|| denied(path))?;
        let inside = |file: &Path| match file.canonicalize() {
            Ok(real) => real.starts_with(&root),
            // That something is missing is told by whoever opens it, if it would be within reach.
            Err(_) => {
                let above = file.ancestors().skip(1).find_map(|a| a.canonicalize().ok());
                !file.is_symlink() && above.is_some_and(|real| real.starts_with(&root))
            }
        };
        // A link on the way may lead out; so may each link that a directory or pattern gives.
        if !inside(&named) {
            return Err(denied(path));
        }
        let mut found: Vec<PathBuf> = Vec::new();
        if plain.is_dir() {
            let entries = plain.read_dir().map_err(|_| denied(path))?;
            found.extend(entries.flatten().map(|e| e.path()));
        } else if named != plain {
            found.extend(glob::glob(path).into_iter().flatten().flatten());
        } else {
            found.push(plain);
        }
        match found.iter().all(|file| inside(file)) {
            true => Ok(()),
            false => Err(denied(path)),
        }
    }

    /// That a path is that of a file within reach, which may not exist yet.
    ///
    /// # Errors
    /// 42501.
    pub fn check_write(&self, path: &str) -> Result<()> {
        let Self::Below(directories) = self else {
            return Ok(());
        };
        let plain = plain(path)?;
        let root = directories
            .iter()
            .filter(|d| plain.starts_with(d))
            .find_map(|d| d.canonicalize().ok())
            .ok_or_else(|| denied(path))?;
        let parent = plain.parent().ok_or_else(|| denied(path))?;
        let parent = parent.canonicalize().map_err(|_| denied(path))?;
        // A link is written to where it leads, or replaced: neither is what the path says.
        if !parent.starts_with(&root) || plain.is_symlink() {
            return Err(denied(path));
        }
        Ok(())
    }
}

/// An absolute path without detours and without anything that some reader could take for more than a path.
fn plain(path: &str) -> Result<PathBuf> {
    let is_odd = path.contains('\0') || path.contains("://") || path.contains('\\');
    let plain = Path::new(path);
    let mut components = plain.components();
    let is_absolute = components.next() == Some(Component::RootDir);
    let is_straight = components.all(|c| matches!(c, Component::Normal(_)));
    // Components pass over "/./" and a slash at the end, which say nothing.
    match is_absolute && is_straight && !is_odd {
        true => Ok(plain.components().collect()),
        false => Err(denied(path)),
    }
}

/// The path up to the first component with a wildcard.
fn named_part(path: &Path) -> PathBuf {
    let is_pattern = |c: &Component<'_>| {
        let text = c.as_os_str().to_string_lossy();
        text.contains(['*', '?', '['])
    };
    path.components().take_while(|c| !is_pattern(c)).collect()
}

fn denied(path: &str) -> Error {
    let path: String = path
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    Error::denied(format!("permission denied for file \"{path}\"")).with_hint(
        "COPY reaches files below the directories of the setting server.file_directories; \
         COPY .. FROM STDIN and TO STDOUT (\\copy in psql) use files of the client.",
    )
}

impl Session {
    /// That the current user may reach the files of a statement. Every statement is named: a new one does not compile
    /// until it is thought about.
    ///
    /// # Errors
    /// 42501.
    pub(in crate::sql) fn check_files(&self, statement: &Statement) -> Result<()> {
        match statement {
            Statement::Copy(copy) => self.check_copy(copy),
            Statement::Explain(explain) => self.check_files(&explain.statement),
            // Their plans are checked, and name collections only.
            Statement::DataFusion(_)
            | Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::Merge(_)
            | Statement::With(_) => Ok(()),
            // They check for themselves when they act.
            Statement::Access(_)
            | Statement::CreateCollection(_)
            | Statement::CreateSchema { .. }
            | Statement::RenameSchema { .. }
            | Statement::CreateView(_)
            | Statement::CreatePartition(_)
            | Statement::AttachIndex
            | Statement::Refresh(_)
            | Statement::Drop(_)
            | Statement::Truncate { .. }
            | Statement::Alter(_)
            | Statement::CreateIndex(_)
            | Statement::DropIndex(_)
            | Statement::RenameIndex(_)
            | Statement::Sequence(_)
            | Statement::Type(_)
            | Statement::Domain(_)
            | Statement::Routine(_)
            | Statement::Comment(_)
            | Statement::Compact(_)
            | Statement::CancelCompaction(_)
            | Statement::Export(_)
            | Statement::Backup(_)
            | Statement::CheckTable(_)
            | Statement::Vacuum(_) => Ok(()),
            // What they hold is checked when it is planned.
            Statement::Declare(_) | Statement::Prepare(_) | Statement::Execute(_) => Ok(()),
            // Anybody may.
            Statement::Transaction(_)
            | Statement::Fetch(_)
            | Statement::Close(_)
            | Statement::Deallocate(_)
            | Statement::Script(_)
            | Statement::ShowCompaction(_)
            | Statement::ShowCompactions(_)
            | Statement::WaitForCompaction { .. }
            | Statement::Set(_)
            | Statement::SetDefaultModes(_)
            | Statement::ResetAll
            | Statement::Show(_)
            | Statement::ShowAll
            | Statement::Discard(_) => Ok(()),
        }
    }

    fn check_copy(&self, copy: &CopyStatement) -> Result<()> {
        let CopyPlace::File(path) = &copy.place else {
            return Ok(());
        };
        let snapshot = self.snapshot();
        let (role, name, verb) = match copy.is_from {
            true => (RoleId::READ_SERVER_FILES, "pg_read_server_files", "from"),
            false => (RoleId::WRITE_SERVER_FILES, "pg_write_server_files", "to"),
        };
        if !self.rights(&snapshot).acts_as(role) {
            let message = format!(
                "must be superuser or have privileges of the {name} role to COPY {verb} a file"
            );
            return Err(Error::denied(message).with_hint(
                "Anyone can COPY to stdout or from stdin. \
                 psql's \\copy command also works for anyone.",
            ));
        }
        match copy.is_from {
            true => self.files().check_read(path),
            false => self.files().check_write(path),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    struct Place {
        directory: tempfile::TempDir,
        access: FileAccess,
    }

    impl Place {
        /// Files within and outside of what may be reached, and links of every kind.
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path();
            for name in ["in/deep", "in/linked", "out", "inside"] {
                fs::create_dir_all(root.join(name)).unwrap();
            }
            for name in [
                "in/a.csv",
                "in/deep/b.csv",
                "out/secret.csv",
                "inside/x.csv",
            ] {
                fs::write(root.join(name), "1\n").unwrap();
            }
            symlink(root.join("out"), root.join("in/door")).unwrap();
            symlink("../../out/secret.csv", root.join("in/linked/s.csv")).unwrap();
            symlink("a.csv", root.join("in/same.csv")).unwrap();
            symlink("/nowhere/at/all", root.join("in/broken.csv")).unwrap();
            let access = FileAccess::Below(vec![root.join("in")]);
            Self { directory, access }
        }

        fn path(&self, name: &str) -> String {
            format!("{}/{name}", self.directory.path().display())
        }
    }

    #[test]
    fn files_within_reach_are_reached() {
        let place = Place::new();
        for name in [
            "in/a.csv",
            "in/deep/b.csv",
            "in/deep",
            "in/deep/",
            "in/*.parquet",
            "in/deep/*.csv",
            "in/*/b.csv",
            "in/same.csv",
            "in/missing.csv",
            "in/./a.csv",
            "in//a.csv",
        ] {
            place.access.check_read(&place.path(name)).unwrap();
        }
        for name in ["in/new.csv", "in/a.csv", "in/deep/new.csv"] {
            place.access.check_write(&place.path(name)).unwrap();
        }
        FileAccess::Anywhere.check_read("../../etc/passwd").unwrap();
    }

    #[test]
    fn nothing_else_is() {
        let place = Place::new();
        let within = [
            "out/secret.csv",
            "out",
            "in/../out/secret.csv",
            "in/deep/../../out/secret.csv",
            "in/door/secret.csv",
            "in/door",
            "in/door/*.csv",
            "in/linked/s.csv",
            "in/linked",
            "in/linked/*.csv",
            "in/*/s.csv",
            "in/*/../../out/secret.csv",
            "inside/x.csv",
            "in*/x.csv",
            "*/secret.csv",
            "in/broken.csv",
            "in\0/a.csv",
            "in/a.csv\0",
            "",
            "out/missing.csv",
            "in/door/missing.csv",
        ];
        let mut paths: Vec<String> = within.iter().map(|n| place.path(n)).collect();
        paths.extend(FOREIGN.map(ToString::to_string));
        assert!(paths.len() >= 60, "{}", paths.len());
        for path in &paths {
            let error = place.access.check_read(path).unwrap_err();
            assert_eq!(error.sqlstate(), "42501", "{path}");
            assert!(!error.message().contains('\0'));
            let none = FileAccess::Below(Vec::new()).check_read(path).unwrap_err();
            assert_eq!(none.message(), error.message(), "{path}");
        }
        paths.extend(["in/same.csv", "in/nowhere/new.csv", "in/broken.csv"].map(|n| place.path(n)));
        // A new file beside the link that leads out is within reach.
        paths.retain(|p| !p.ends_with("/in/linked") && !p.ends_with("/in/linked/*.csv"));
        for path in &paths {
            assert_eq!(
                place.access.check_write(path).unwrap_err().sqlstate(),
                "42501",
                "{path}"
            );
        }
    }

    /// Paths and addresses that are never within reach.
    const FOREIGN: [&str; 42] = [
        "/etc/passwd",
        "/etc/../etc/passwd",
        "//etc/passwd",
        "/./etc/passwd",
        "/etc/passwd/",
        "/etc/pass*",
        "/etc/*",
        "/*",
        "/",
        "*",
        "",
        ".",
        "..",
        "etc/passwd",
        "../../../../etc/passwd",
        "./a.csv",
        "~/.ssh/id_rsa",
        "%2fetc%2fpasswd",
        "/%2e%2e/etc/passwd",
        "/proc/self/environ",
        "/proc/self/fd/0",
        "/proc/self/root/etc/passwd",
        "/dev/stdin",
        "/dev/zero",
        "file:/etc/passwd",
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "FILE:///etc/passwd",
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "https://example.org/a.parquet",
        "s3://bucket/a.parquet",
        "gs://bucket/a.parquet",
        "az://container/a.parquet",
        "hdfs://name/a.parquet",
        "ftp://example.org/a.csv",
        "data:text/csv,1",
        "\\\\server\\share\\a.csv",
        "C:\\Windows\\win.ini",
        "/etc/passwd\0.csv",
    ];
}
