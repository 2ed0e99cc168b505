//! The settings that the caller set, in the environment or in `.env` of the working folder.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    path::{Path, absolute},
};

use super::Error;

/// Prefix of the variables of this program, which the server doesn't receive.
pub(super) const OWN_PREFIX: &str = "LATCHKEY_DEV_";

/// Variables with their values, none of them empty.
///
/// The type doesn't implement `Debug`, because some values are secrets.
#[derive(Clone, Default)]
pub struct GivenSettings(BTreeMap<String, String>);

impl GivenSettings {
    /// Reads the environment and `.env`.
    ///
    /// As in the server, a variable of the environment overrides `.env`, and an empty value counts
    /// as unset.
    pub(super) fn read() -> Result<Self, Error> {
        let environment = read_environment(env::vars_os())?;
        Self::merge(read_env_file(Path::new(".env"))?, environment)
    }

    fn merge(
        file: BTreeMap<String, String>,
        environment: BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        let mut variables = file;
        variables.extend(
            environment
                .into_iter()
                .filter(|(_, value)| !value.is_empty()),
        );
        variables.retain(|name, value| is_setting(name) && !value.is_empty());
        for (_, path) in variables
            .iter_mut()
            .filter(|(name, _)| name.ends_with("_FILE"))
        {
            // Paths must be absolute, because `./dev user` reads the settings in another folder.
            let absolute_path = absolute(&*path).map_err(Error::cannot("find", path.as_ref()))?;
            *path = absolute_path.display().to_string();
        }
        Ok(Self(variables))
    }

    /// Adds the value of a flag, which overrides the variable.
    pub(super) fn set(&mut self, variable: &str, value: &str) {
        self.0.insert(variable.to_owned(), value.to_owned());
    }

    /// Returns the value of a variable.
    pub fn value(&self, variable: &str) -> Option<&str> {
        self.0.get(variable).map(String::as_str)
    }

    /// Returns whether the caller set this setting or its `…_FILE` form.
    pub fn has(&self, setting: &str) -> bool {
        self.0.contains_key(setting) || self.0.contains_key(&format!("{setting}_FILE"))
    }

    /// Returns the settings of the server, with absolute paths in `…_FILE` forms.
    pub(super) fn server_settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter(|(name, _)| !name.starts_with(OWN_PREFIX))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn is_setting(name: &str) -> bool {
    let name = name.strip_suffix("_FILE").unwrap_or(name);
    matches!(name, "DATABASE_URL" | "REDIS_URL") || name.starts_with("LATCHKEY_")
}

/// Reads the settings in the environment.
fn read_environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>, Error> {
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| is_setting(name))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(Error::new(format!("{name} is not valid UTF-8"))),
        })
        .collect()
}

/// Reads the variables in the file. A missing file contains no variables.
fn read_env_file(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    let lines = match dotenvy::from_path_iter(path) {
        Err(reason) if reason.not_found() => return Ok(BTreeMap::new()),
        Err(dotenvy::Error::Io(reason)) => return Err(Error::cannot("read", path)(reason)),
        lines => lines,
    };
    // The error omits the reason, because it contains the line, which can contain a secret.
    lines.and_then(Iterator::collect).map_err(|_| {
        Error::new(format!(
            "{} has a line that can't be parsed",
            path.display()
        ))
        .hint("write `NAME=value`, with quotes around a value that contains spaces")
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::ffi::OsStringExt};

    use super::*;

    fn merge(file: &[(&str, &str)], environment: &[(&str, &str)]) -> GivenSettings {
        let owned = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        GivenSettings::merge(owned(file), owned(environment)).unwrap()
    }

    #[test]
    fn environment_overrides_file_and_empty_is_unset() {
        let given = merge(
            &[
                ("DATABASE_URL", "file"),
                ("REDIS_URL", "file"),
                ("LATCHKEY_SIGNUP", "file"),
                ("LATCHKEY_LOG", ""),
            ],
            &[("DATABASE_URL", "environment"), ("REDIS_URL", "")],
        );
        assert_eq!(given.value("DATABASE_URL"), Some("environment"));
        assert_eq!(given.value("LATCHKEY_SIGNUP"), Some("file"));
        assert_eq!(given.value("REDIS_URL"), Some("file"));
        assert!(!given.has("LATCHKEY_LOG"));
    }

    #[test]
    fn setting_that_is_not_utf8_is_rejected() {
        let not_utf8 = || OsString::from_vec(vec![0xff]);
        let read = |name: &str| read_environment([(name.into(), not_utf8())].into_iter());
        let error = read("LATCHKEY_SIGNUP").unwrap_err().to_string();
        assert!(error.contains("LATCHKEY_SIGNUP"), "{error}");
        assert!(read("OTHER").unwrap().is_empty());
    }

    #[test]
    fn unrelated_variables_are_ignored() {
        let given = merge(
            &[("PATH", "/bin")],
            &[
                ("HOME", "/root"),
                ("LATCHKEY", "x"),
                ("OTHER_DATABASE_URL", "x"),
            ],
        );
        assert!(given.0.is_empty());
    }

    #[test]
    fn file_settings_become_absolute_paths() {
        let given = merge(
            &[("DATABASE_URL_FILE", "secrets/database")],
            &[("LATCHKEY_SECRET_FILE", "/run/secret")],
        );
        let folder = env::current_dir().unwrap();
        assert_eq!(
            given.value("DATABASE_URL_FILE").map(Path::new),
            Some(&*folder.join("secrets/database"))
        );
        assert_eq!(given.value("LATCHKEY_SECRET_FILE"), Some("/run/secret"));
        assert!(given.has("DATABASE_URL") && given.has("LATCHKEY_SECRET"));
    }

    #[test]
    fn server_settings_exclude_own_variables() {
        let given = merge(
            &[("LATCHKEY_DEV_MAILBOX_LISTEN", "127.0.0.1:1")],
            &[("LATCHKEY_LOG", "info")],
        );
        assert_eq!(
            given.value("LATCHKEY_DEV_MAILBOX_LISTEN"),
            Some("127.0.0.1:1")
        );
        assert_eq!(
            given.server_settings().collect::<Vec<_>>(),
            [("LATCHKEY_LOG", "info")]
        );
    }

    #[test]
    fn invalid_env_file_error_omits_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        assert!(read_env_file(&path).unwrap().is_empty());
        for line in [
            "hunter2",
            "LATCHKEY_EMAIL_FROM='hunter2",
            "A=Latchkey <hunter2>",
        ] {
            fs::write(&path, format!("LATCHKEY_LOG=info\n{line}\n")).unwrap();
            let error = read_env_file(&path).unwrap_err().to_string();
            assert!(
                error.contains(".env") && error.contains("quotes"),
                "{line}: {error}"
            );
            assert!(!error.contains("hunter2"), "{line}: {error}");
        }
        fs::write(&path, "LATCHKEY_LOG='a b'\nLATCHKEY_LOG=info # a comment\n").unwrap();
        let read = read_env_file(&path).unwrap();
        assert_eq!(read.get("LATCHKEY_LOG").map(String::as_str), Some("info"));
    }
}
