//! Passwords become SCRAM-SHA-256 verifiers before anything is kept of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramSecret, gen_salted_password};

use crate::error::{Error, Result, sqlstate};
use crate::storage::role::Verifier;

/// Bytes of the salt of a new verifier, as PostgreSQL has it.
const SALT_BYTES: usize = 16;
/// Bytes of SHA-256.
const KEY_BYTES: usize = 32;
/// The most iterations: a client computes them at every login.
const ITERATIONS_MAX: usize = 10_000_000;
/// The most bytes of a password.
const PASSWORD_BYTES_MAX: usize = 1_024;
const PREFIX: &str = "SCRAM-SHA-256$";

/// What `PASSWORD 'text'` stores: the text's verifier, or the text itself if it is one already. An empty password is
/// none.
///
/// # Errors
/// 22023 for an MD5 hash, which does not protect a password, or one that is too long.
pub fn verifier(text: &str) -> Result<Option<Verifier>> {
    if text.is_empty() {
        return Ok(None);
    }
    if parse(text).is_some() {
        return Ok(Some(Verifier::new(text)));
    }
    let md5 = text.strip_prefix("md5").filter(|hash| hash.len() == 32);
    if md5.is_some_and(|hash| hash.bytes().all(|b| b.is_ascii_hexdigit())) {
        let message = "passwords hashed with MD5 are not supported";
        return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
            .with_hint("Give the password itself or its SCRAM-SHA-256 verifier."));
    }
    if text.len() > PASSWORD_BYTES_MAX {
        let message = format!("password has more than {PASSWORD_BYTES_MAX} bytes");
        return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message));
    }
    Ok(Some(hash(text, &rand::random::<[u8; SALT_BYTES]>())))
}

/// The verifier of a password; the password is normalised by SASLprep.
fn hash(password: &str, salt: &[u8]) -> Verifier {
    let salted = gen_salted_password(password, salt, SCRAM_ITERATIONS);
    let salt = salt.to_vec();
    let secret = ScramSecret::verifier_from_salted_password(salt, salted, SCRAM_ITERATIONS);
    let text = match secret {
        ScramSecret::Verifier {
            salt,
            iterations,
            stored_key,
            server_key,
        } => format!(
            "{PREFIX}{iterations}:{}${}:{}",
            STANDARD.encode(salt),
            STANDARD.encode(stored_key),
            STANDARD.encode(server_key)
        ),
        ScramSecret::SaltedPassword { .. } => unreachable!("a verifier was asked for"),
    };
    Verifier::new(text)
}

/// The parts of a verifier; `None` for a text that is none.
pub fn parse(text: &str) -> Option<ScramSecret> {
    let (parameters, keys) = text.strip_prefix(PREFIX)?.split_once('$')?;
    let (iterations, salt) = parameters.split_once(':')?;
    let (stored, server) = keys.split_once(':')?;
    let iterations: usize = iterations.parse().ok()?;
    let decode = |part: &str| STANDARD.decode(part).ok();
    let key = |part: &str| decode(part).filter(|key| key.len() == KEY_BYTES);
    Some(ScramSecret::Verifier {
        salt: decode(salt).filter(|salt| !salt.is_empty())?,
        iterations: Some(iterations).filter(|n| (1..=ITERATIONS_MAX).contains(n))?,
        stored_key: key(stored)?,
        server_key: key(server)?,
    })
}

/// A secret that no password fits, for a user that does not exist or has none: its salt is the same whenever the same
/// user is tried, so that nobody learns who exists.
pub fn mock(user: &str, key: &[u8; KEY_BYTES]) -> ScramSecret {
    let mut salt = gen_salted_password(user, key, 1);
    salt.truncate(SALT_BYTES);
    ScramSecret::Verifier {
        salt,
        iterations: SCRAM_ITERATIONS,
        stored_key: rand::random::<[u8; KEY_BYTES]>().to_vec(),
        server_key: rand::random::<[u8; KEY_BYTES]>().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What PostgreSQL 15 stored for the password `pencil`.
    const OF_POSTGRES: &str = "SCRAM-SHA-256$4096:HaXl1/AHyDwWNgC/bqjyIA==$1jtLTmOBYy+Q+nysH4MBWvtDXkiQd04UxIjHV7ZblQg=:iTIBOx2Wq3IFNbGLIb4M4mgnnHqIR9NEiSmvZQ23MO0=";

    #[test]
    fn the_verifier_is_the_one_of_postgres() {
        let ScramSecret::Verifier { salt, .. } = parse(OF_POSTGRES).unwrap() else {
            unreachable!()
        };
        assert_eq!(hash("pencil", &salt).as_str(), OF_POSTGRES);
        // SASLprep maps a no-break space to a space and drops a soft hyphen.
        assert_eq!(hash("a\u{a0}b\u{ad}", &salt), hash("a b", &salt));
        let (one, other) = (verifier("pencil").unwrap(), verifier("pencil").unwrap());
        assert_ne!(one, other, "salts are random");
    }

    #[test]
    fn verifiers_are_kept_and_weak_hashes_refused() {
        let kept = verifier(OF_POSTGRES).unwrap().unwrap();
        assert_eq!(kept.as_str(), OF_POSTGRES);
        assert_eq!(verifier("").unwrap(), None);
        let md5 = verifier("md5a3556571e93b0d20722ba62be61e8c2d").unwrap_err();
        assert_eq!(md5.sqlstate(), "22023");
        assert_eq!(
            verifier(&"x".repeat(1_025)).unwrap_err().sqlstate(),
            "22023"
        );
        // What only looks like a hash is a password.
        for text in [
            "md5",
            "md5zz56571e93b0d20722ba62be61e8c2d",
            "SCRAM-SHA-256$4096:c2Fs$x:y",
        ] {
            let made = verifier(text).unwrap().unwrap();
            assert_ne!(made.as_str(), text);
            assert!(parse(made.as_str()).is_some());
        }
    }

    #[test]
    fn a_mock_keeps_its_salt() {
        let salt = |user: &str| match mock(user, &[7; 32]) {
            ScramSecret::Verifier { salt, .. } => salt,
            ScramSecret::SaltedPassword { .. } => unreachable!(),
        };
        assert_eq!(salt("ann"), salt("ann"));
        assert_ne!(salt("ann"), salt("bob"));
        assert_eq!(salt("ann").len(), SALT_BYTES);
    }
}
