//! The master secret and the issuer of a private database, which later runs use again.
//!
//! The database stores the issuer, and the secret encrypts values in it. So a run without the
//! caller's values must use those of the previous run.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{Error, settings::Settings};

/// Returns the issuer of the previous run. The first run stores this one.
pub(super) fn ensure_issuer(directory: &Path, first: &str) -> Result<String, Error> {
    let path = issuer_path(directory);
    if let Ok(issuer) = fs::read_to_string(&path) {
        return Ok(issuer);
    }
    write_private(&path, first)?;
    Ok(first.to_owned())
}

/// Returns the path of the master secret, which is generated once.
pub(super) fn ensure_secret(directory: &Path) -> Result<PathBuf, Error> {
    let path = secret_path(directory);
    if !path.exists() {
        write_private(&path, &generate_secret()?)?;
    }
    Ok(path)
}

/// Stores the caller's master secret and issuer after a start of the server, so that a run without
/// them can use the same private database.
///
/// Before a successful start, they might not match the database.
pub(super) fn store(directory: &Path, settings: &Settings) -> Result<(), Error> {
    if let Some(issuer) = settings.value("LATCHKEY_ISSUER") {
        write_private(&issuer_path(directory), issuer)?;
    }
    let path = secret_path(directory);
    let secret = settings.value("LATCHKEY_SECRET").map(str::to_owned);
    let secret = secret.or_else(|| {
        // A pipe can't be read again.
        let file = Path::new(settings.value("LATCHKEY_SECRET_FILE")?);
        (file.is_file() && file != path).then(|| fs::read_to_string(file).ok())?
    });
    secret.map_or(Ok(()), |secret| write_private(&path, &secret))
}

fn secret_path(directory: &Path) -> PathBuf {
    directory.join("secret")
}

fn issuer_path(directory: &Path) -> PathBuf {
    directory.join("issuer")
}

/// Generates a secret of 32 bytes in base64.
fn generate_secret() -> Result<String, Error> {
    let mut random = [0; 32];
    let source = Path::new("/dev/urandom");
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut random))
        .map_err(Error::cannot("read", source))?;
    Ok(BASE64_STANDARD.encode(random) + "\n")
}

/// Replaces the file atomically, and restricts it to its owner.
fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let new = path.with_extension("new");
    let write = || -> io::Result<()> {
        // An existing file would keep its mode.
        let _ = fs::remove_file(&new);
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(Error::cannot("write", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secret_is_private_and_generated_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = ensure_secret(folder.path()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(BASE64_STANDARD.decode(text.trim()).unwrap().len(), 32);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::read_to_string(ensure_secret(folder.path()).unwrap()).unwrap(),
            text
        );
    }
}
