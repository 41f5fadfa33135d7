//! TLS by rustls, from PEM files. What is wrong with them is an error at start: nothing is served without the
//! protection that the configuration asks for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgwire::api::auth::sasl::scram::ScramServerAuth;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::error::{Error, Result, sqlstate};

/// The name of the protocol for clients that begin with TLS at once.
const ALPN: &[u8] = b"postgresql";

/// The files of a TLS configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate and those between it and its authority, in PEM.
    pub certificate: PathBuf,
    /// The certificate's private key, in PEM, that nobody else may read.
    pub key: PathBuf,
    /// Authorities of which every client must have a certificate; `None` asks for none.
    pub client_ca: Option<PathBuf>,
}

/// A TLS configuration that works.
#[derive(Clone)]
pub struct Tls {
    /// What connections are accepted with.
    pub config: Arc<ServerConfig>,
    /// What SCRAM binds to the connection.
    pub scram: ScramServerAuth,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(..)")
    }
}

impl Tls {
    /// Reads the files: TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// F0000 naming the file that is missing, readable by others, malformed or does not fit the other.
    pub fn load(files: &TlsFiles) -> Result<Self> {
        let pem = fs::read(&files.certificate).map_err(|e| wrong(&files.certificate, e))?;
        let certificates = certificates(&files.certificate)?;
        check_private(&files.key)?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| wrong(&files.key, e))?;
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::internal(format!("TLS cannot be configured: {e}")))?;
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in self::certificates(path)? {
                    roots.add(certificate).map_err(|e| wrong(path, e))?;
                }
                let provider = Arc::new(default_provider());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(|e| wrong(path, e))?)
            }
        };
        let mut config = builder
            .with_single_cert(certificates, key)
            .map_err(|e| wrong(&files.certificate, e))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        let mut scram = ScramServerAuth::new();
        scram
            .configure_certificate(&pem)
            .map_err(|e| wrong(&files.certificate, e))?;
        Ok(Self {
            config: Arc::new(config),
            scram,
        })
    }
}

/// The certificates of a file, of which there is one at the least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).map_err(|e| wrong(path, e))?;
    let certificates: Vec<_> = read.collect::<Result<_, _>>().map_err(|e| wrong(path, e))?;
    match certificates.is_empty() {
        true => Err(wrong(path, "it has no certificate")),
        false => Ok(certificates),
    }
}

/// That a private key is private; root's may be read by root's group, as Debian has it.
fn check_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).map_err(|e| wrong(path, e))?;
    let mode = metadata.permissions().mode();
    let open_to = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if mode & open_to != 0 {
        let why = format!("others may read it (mode {:03o})", mode & 0o777);
        return Err(wrong(path, why).with_hint("chmod 600 it."));
    }
    Ok(())
}

fn wrong(path: &Path, why: impl std::fmt::Display) -> Error {
    let message = format!("TLS cannot be configured: {}: {why}", path.display());
    Error::invalid(sqlstate::CONFIG_FILE_ERROR, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Pem {
        directory: tempfile::TempDir,
    }

    impl Pem {
        fn new() -> Self {
            let pem = Self {
                directory: tempfile::tempdir().unwrap(),
            };
            let own = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
            let other = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
            pem.write("cert", &own.cert.pem());
            pem.write("key", &own.signing_key.serialize_pem());
            pem.write("other_key", &other.signing_key.serialize_pem());
            pem.write("empty", "");
            pem.write("noise", "-----BEGIN CERTIFICATE-----\nnoise\n");
            pem.write("torn", &own.cert.pem()[..200]);
            pem.write("open_key", &own.signing_key.serialize_pem());
            let open = fs::Permissions::from_mode(0o644);
            fs::set_permissions(pem.path("open_key"), open).unwrap();
            pem
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }

        fn load(&self, certificate: &str, key: &str, client_ca: Option<&str>) -> Result<Tls> {
            Tls::load(&TlsFiles {
                certificate: self.path(certificate),
                key: self.path(key),
                client_ca: client_ca.map(|name| self.path(name)),
            })
        }
    }

    #[test]
    fn a_whole_configuration_loads() {
        let pem = Pem::new();
        assert!(
            pem.load("cert", "key", None)
                .unwrap()
                .scram
                .supports_channel_binding()
        );
        pem.load("cert", "key", Some("cert")).unwrap();
    }

    #[test]
    fn anything_wrong_is_an_error_that_names_the_file() {
        let pem = Pem::new();
        for (certificate, key, client_ca, named) in [
            ("missing", "key", None, "missing"),
            ("cert", "missing", None, "missing"),
            ("empty", "key", None, "empty"),
            ("noise", "key", None, "noise"),
            ("torn", "key", None, "torn"),
            ("cert", "empty", None, "empty"),
            ("cert", "cert", None, "cert"),
            ("key", "key", None, "key"),
            ("cert", "other_key", None, "cert"),
            ("cert", "open_key", None, "open_key"),
            ("cert", "key", Some("missing"), "missing"),
            ("cert", "key", Some("empty"), "empty"),
            ("cert", "key", Some("noise"), "noise"),
        ] {
            let error = pem.load(certificate, key, client_ca).unwrap_err();
            assert_eq!(error.sqlstate(), "F0000");
            let place = pem.path(named).display().to_string();
            assert!(
                error.message().contains(&place),
                "{certificate} {key}: {error}"
            );
        }
    }
}
