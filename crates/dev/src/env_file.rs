//! Writes the settings of a run to `.env` in its folder, where the operator's commands read them.
//!
//! Only the owner can read the file, because it can contain secrets. The run removes the file when
//! it stops.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::Error;

/// The file with the settings, which is removed on drop.
pub(super) struct EnvFile(PathBuf);

impl EnvFile {
    /// Replaces the file atomically.
    pub fn write<'a>(
        directory: &Path,
        settings: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<EnvFile, Error> {
        let (path, new) = (directory.join(".env"), directory.join(".env.new"));
        let lines: String = settings
            .map(|(name, value)| format!("{name}={}\n", quote(value)))
            .collect();
        write_private(&new, &lines).map_err(Error::cannot("write", &new))?;
        fs::rename(&new, &path).map_err(Error::cannot("write", &path))?;
        Ok(EnvFile(path))
    }
}

impl Drop for EnvFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    // Replace an existing file, because it would keep its mode.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// Quotes a value, and escapes the characters that are special between double quotes.
fn quote(value: &str) -> String {
    let escaped: String = value
        .chars()
        .flat_map(|c| match c {
            '\n' => vec!['\\', 'n'],
            '"' | '\\' | '$' => vec!['\\', c],
            plain => vec![plain],
        })
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn env_file_is_private_and_round_trips_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        fs::write(&path, "old").unwrap();
        let values = [
            "plain",
            "with space",
            "it's",
            "a \"b\"",
            "$HOME",
            "c:\\d",
            "a#b",
            "two\nlines",
            "smtp://u:p%40@h?x=y",
        ];
        let written =
            EnvFile::write(folder.path(), values.iter().map(|value| ("NAME", *value))).unwrap();
        let read: Vec<String> = dotenvy::from_path_iter(&path)
            .unwrap()
            .map(|line| line.unwrap().1)
            .collect();
        assert_eq!(read, values);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        drop(written);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
