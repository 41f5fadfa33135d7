//! The extensions that are built in.

use super::oid;
use super::roles::OWNER;
use super::rows::Rows;

/// An extension of PostgreSQL's that scripts make before they use what is in it.
pub struct Extension {
    /// Its name.
    pub name: &'static str,
    oid: u32,
    version: &'static str,
    comment: &'static str,
    /// What there is of it, where that is not all.
    pub has: Option<&'static str>,
}

static EXTENSIONS: [Extension; 3] = [
    Extension {
        name: "vector",
        oid: oid::EXTENSION_VECTOR,
        // That of pgvector whose types, operators and functions these are.
        version: "0.8.0",
        comment: "vector data type and exact vector search",
        has: None,
    },
    Extension {
        name: "uuid-ossp",
        oid: oid::EXTENSION_UUID,
        version: "1.1",
        comment: "generate universally unique identifiers (UUIDs)",
        has: Some("uuid_generate_v4"),
    },
    Extension {
        name: "pgcrypto",
        oid: oid::EXTENSION_CRYPTO,
        version: "1.3",
        comment: "cryptographic functions",
        has: Some("gen_random_uuid, and digest by md5 and SHA-2"),
    },
];

impl Extension {
    /// The one of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        EXTENSIONS.iter().find(|extension| extension.name == name)
    }

    /// All of them, by their names in double quotes.
    pub fn names() -> String {
        let names = EXTENSIONS.iter().map(|e| format!("\"{}\"", e.name));
        names.collect::<Vec<_>>().join(", ")
    }
}

pub(super) fn pg_extension(rows: &mut Rows) {
    for extension in &EXTENSIONS {
        rows.push(&[
            ("oid", extension.oid.into()),
            ("extname", extension.name.into()),
            ("extowner", OWNER.into()),
            ("extnamespace", oid::NAMESPACE_PUBLIC.into()),
            ("extrelocatable", true.into()),
            ("extversion", extension.version.into()),
        ]);
    }
}

/// `pg_available_extensions`, and of `pg_available_extension_versions` what has the same columns.
pub(super) fn pg_available_extensions(rows: &mut Rows) {
    for extension in &EXTENSIONS {
        rows.push(&[
            ("name", extension.name.into()),
            ("default_version", extension.version.into()),
            ("installed_version", extension.version.into()),
            ("version", extension.version.into()),
            ("installed", true.into()),
            ("superuser", false.into()),
            ("trusted", true.into()),
            ("relocatable", true.into()),
            ("comment", extension.comment.into()),
        ]);
    }
}

/// Their rows of `pg_description`.
pub(super) fn descriptions(rows: &mut Rows) {
    for extension in &EXTENSIONS {
        rows.push(&[
            ("objoid", extension.oid.into()),
            ("classoid", oid::PG_EXTENSION.into()),
            ("description", extension.comment.into()),
        ]);
    }
}

/// The comment on the one of an OID.
pub(super) fn comment(oid: Option<u32>) -> Option<&'static str> {
    let mut extensions = EXTENSIONS.iter();
    let found = extensions.find(|extension| Some(extension.oid) == oid);
    found.map(|extension| extension.comment)
}
