//! The configuration of a server: defaults, then `shelfmark.toml`, then the environment, then flags.
//!
//! A key has one name in all of them: `server.listen` is `listen` of `[server]` in the file, `SHELFMARK_SERVER_LISTEN` in
//! the environment and `--set server.listen=..` on the command line. Settings of the engine (`memory_limit`,
//! `segment.max_size`) stand in the same file and follow the same rules.

mod environment;
mod file;
mod options;
mod rule;
mod suggest;
mod value;

use std::path::PathBuf;

pub use options::{LogOptions, OptionInfo, ServerOptions, TlsOptions};
pub use rule::AuthEntry;
pub use value::{ListenAddress, LogFormat, LogLevel, LogStatements};

use crate::error::{Error, Result, sqlstate};
use crate::settings::Settings;

/// All that a server is told when it starts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// Where it listens, and what its clients may take.
    pub server: ServerOptions,
    /// Encryption.
    pub tls: TlsOptions,
    /// What it logs.
    pub log: LogOptions,
    /// The rules of authentication, first match first; none when nobody gave any.
    pub auth: Option<Vec<AuthEntry>>,
    /// The settings of the engine.
    pub settings: Settings,
}

impl Config {
    /// Sets one value by its dotted name.
    ///
    /// # Errors
    /// 42704 for a name that does not exist, 22023 for a value that it cannot have; nothing changes then.
    pub fn set(&mut self, name: &str, text: &str) -> Result<()> {
        let known = match name.split_once('.') {
            Some(("server", key)) => self.server.set(key, text)?,
            Some(("tls", key)) => self.tls.set(key, text)?,
            Some(("log", key)) => self.log.set(key, text)?,
            _ if Settings::scope(name).is_ok() => {
                self.settings.set(name, text)?;
                true
            }
            _ => false,
        };
        match known {
            true => Ok(()),
            false => Err(self.unknown(name)),
        }
    }

    /// All keys: those of the server, then those of the engine.
    pub fn options(&self) -> Vec<OptionInfo> {
        let mut options = self.server.list();
        options.extend(self.tls.list());
        options.extend(self.log.list());
        let settings = self.settings.list();
        options.extend(settings.into_iter().map(|setting| OptionInfo {
            name: setting.name.to_string(),
            value: setting.value,
            default: setting.default,
            description: setting.description,
        }));
        options
    }

    /// Sets what the text of a file says.
    fn read(&mut self, text: &str) -> Result<()> {
        let parsed = file::parse(text)?;
        for assignment in parsed.assignments {
            self.set(&assignment.name, &assignment.text)
                .map_err(|e| e.context(format!("line {}", assignment.line)))?;
        }
        if parsed.auth.is_some() {
            self.auth = parsed.auth;
        }
        Ok(())
    }

    /// That the values go together.
    ///
    /// # Errors
    /// 22023 naming those that do not.
    fn check(&self) -> Result<()> {
        let server = &self.server;
        let wrong = |message: &str| {
            Err(Error::invalid(
                sqlstate::INVALID_PARAMETER_VALUE,
                message.to_string(),
            ))
        };
        if server.superuser_reserved_connections >= server.max_connections {
            return wrong(
                "server.superuser_reserved_connections must be less than server.max_connections",
            );
        }
        if server.listen.is_empty() && server.unix_socket_directory.is_none() {
            return wrong("server.listen and server.unix_socket_directory are both empty");
        }
        match (&self.tls.cert_file, &self.tls.key_file) {
            (Some(_), None) => return wrong("tls.cert_file needs tls.key_file"),
            (None, Some(_)) => return wrong("tls.key_file needs tls.cert_file"),
            (None, None) if self.tls.required => return wrong("tls.required needs tls.cert_file"),
            (None, None) if self.tls.client_ca_file.is_some() => {
                return wrong("tls.client_ca_file needs tls.cert_file");
            }
            _ => {}
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> Error {
        let options = self.options();
        let names = options.iter().map(|option| option.name.as_str());
        let near = suggest::nearest(name, names).or_else(|| {
            let (_, key) = name.rsplit_once('.').unwrap_or(("", name));
            let mut same_key = options.iter().filter(|o| {
                let (_, other) = o.name.rsplit_once('.').unwrap_or(("", &o.name));
                other == key
            });
            same_key.next().map(|option| option.name.as_str())
        });
        let message = format!("unrecognized configuration parameter \"{name}\"");
        Error::not_found(sqlstate::UNDEFINED_OBJECT, message).with_hint(match near {
            Some(near) => format!("Did you mean \"{near}\"?"),
            None => "examples/shelfmark.toml has all of them.".to_string(),
        })
    }
}

/// Where a configuration comes from. It is kept, so that the configuration can be read again.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file.
    pub file: Option<PathBuf>,
    /// The environment: names and values, of which those that begin with `SHELFMARK_` matter.
    pub environment: Vec<(String, String)>,
    /// What the command line says: dotted names and values.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// Reads the configuration.
    ///
    /// # Errors
    /// 42704 and 22023, with the file and line, the variable or the flag, for what cannot be; 58P01 or 58030 for a file
    /// that cannot be read.
    pub fn load(&self) -> Result<Config> {
        let mut config = Config::default();
        if let Some(path) = &self.file {
            let text = std::fs::read_to_string(path).map_err(|e| Error::unreadable(path, &e))?;
            config.read(&text).map_err(|e| e.context(path.display()))?;
        }
        environment::apply(&mut config, &self.environment)?;
        for (name, text) in &self.flags {
            config.set(name, text)?;
        }
        config.check()?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
