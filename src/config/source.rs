//! The sources of settings.

use std::{
    collections::HashMap,
    ffi::OsString,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use clap::ArgMatches;

use super::{ConfigError, SETTINGS, Setting, unknown};

/// The sources of settings, in order of precedence: flags, the environment, and `.env` in the
/// working directory. In the environment and in `.env`, `…_FILE` can name a file that contains a
/// secret. If no source has a value, the default applies.
pub struct Source {
    pub(super) flags: HashMap<&'static str, String>,
    pub(super) reads_environment: bool,
    pub(super) env_file: HashMap<String, String>,
    /// The error if `.env` can't be read, or if a line can't be parsed.
    pub(super) env_file_error: Option<ConfigError>,
}

/// A source of settings.
#[derive(Clone, Copy)]
enum SourceKind {
    Flags,
    Environment,
    EnvFile,
}

/// The first source with a value determines the setting.
const SOURCE_PRECEDENCE: [SourceKind; 3] = [
    SourceKind::Flags,
    SourceKind::Environment,
    SourceKind::EnvFile,
];

impl Source {
    /// Reads the flags of the command line and `.env`. The environment is read on access.
    pub fn new(matches: &ArgMatches) -> Source {
        let flag = |setting: &Setting| {
            // Secrets have no flag, so clap doesn't know their ID.
            let text = matches
                .try_get_one::<String>(setting.variable)
                .ok()
                .flatten()?;
            Some((setting.variable, text.clone()))
        };
        let (env_file, env_file_error) = read_env_file(Path::new(".env"));
        Source {
            flags: SETTINGS.iter().filter_map(flag).collect(),
            reads_environment: true,
            env_file,
            env_file_error,
        }
    }

    /// Creates a source in which no setting has a value.
    pub fn empty() -> Source {
        Source {
            flags: HashMap::new(),
            reads_environment: false,
            env_file: HashMap::new(),
            env_file_error: None,
        }
    }

    /// Returns an error for each unknown setting. A typo would otherwise leave a default in effect.
    pub(super) fn unknown_settings(&self) -> impl Iterator<Item = ConfigError> {
        let environment = self
            .reads_environment
            .then(|| std::env::vars_os().map(|(name, _)| name))
            .into_iter()
            .flatten();
        let names = environment
            .filter_map(|name| name.into_string().ok())
            .chain(self.env_file.keys().cloned());
        unknown::find_unknown(names.collect())
    }

    /// Returns the value of the first source that has one, or the default.
    pub(super) fn resolve(&self, setting: &Setting) -> Result<Option<String>, ConfigError> {
        for kind in SOURCE_PRECEDENCE {
            if let Some(text) = self.read_setting(kind, setting)? {
                return Ok(Some(text));
            }
        }
        Ok(setting.default.map(str::to_owned))
    }

    /// Returns the file from which a secret was read; `None` if a variable contains it.
    pub(super) fn secret_file(&self, variable: &'static str) -> Option<PathBuf> {
        let setting = SETTINGS.iter().find(|one| one.variable == variable)?;
        let file_variable = format!("{variable}_FILE");
        SOURCE_PRECEDENCE.into_iter().find_map(|kind| {
            let read = |name: &str| self.read_variable(kind, setting, name).ok().flatten();
            match (read(variable), read(&file_variable)) {
                (Some(_), _) => Some(None),
                (None, Some(path)) => Some(Some(PathBuf::from(path))),
                (None, None) => None,
            }
        })?
    }

    /// Returns the value of one source. The variable of a secret overrides its `…_FILE` form.
    fn read_setting(
        &self,
        kind: SourceKind,
        setting: &Setting,
    ) -> Result<Option<String>, ConfigError> {
        let text = self.read_variable(kind, setting, setting.variable)?;
        if text.is_some() || !setting.secret {
            return Ok(text);
        }
        self.read_variable(kind, setting, &format!("{}_FILE", setting.variable))?
            .map(|path| read_secret_file(setting, &path))
            .transpose()
    }

    /// Returns the value of a variable in one source; `None` if it is unset or empty.
    fn read_variable(
        &self,
        kind: SourceKind,
        setting: &Setting,
        variable: &str,
    ) -> Result<Option<String>, ConfigError> {
        let text = match kind {
            SourceKind::Flags => self.flags.get(variable).cloned(),
            SourceKind::Environment if self.reads_environment => std::env::var_os(variable)
                .map(OsString::into_string)
                .transpose()
                .map_err(|_invalid| ConfigError {
                    variable: setting.variable,
                    reason: format!("the environment variable {variable} must be UTF-8 text"),
                })?,
            SourceKind::Environment => None,
            SourceKind::EnvFile => self.env_file.get(variable).cloned(),
        };
        Ok(text.filter(|text| !text.is_empty()))
    }
}

fn read_secret_file(setting: &Setting, path: &str) -> Result<String, ConfigError> {
    let unreadable = |error| ConfigError {
        variable: setting.variable,
        reason: format!(
            "the file in {}_FILE can't be read ({error})",
            setting.variable
        ),
    };
    std::fs::read_to_string(path)
        .map(|text| text.trim_end().to_owned())
        .map_err(unreadable)
}

/// Returns the variables in `.env`, and an error if the file can't be read or a line can't be
/// parsed. The file is optional.
fn read_env_file(path: &Path) -> (HashMap<String, String>, Option<ConfigError>) {
    let env_file_error = |reason: String| ConfigError {
        variable: ".env",
        reason,
    };
    // The parser repeats the error of a directory without end, so it doesn't read the file itself.
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Default::default(),
        Err(error) => {
            let reason = format!("can't be read ({error}); make it a readable file or remove it");
            return (HashMap::new(), Some(env_file_error(reason)));
        }
    };
    let (valid, invalid): (Vec<_>, Vec<_>) =
        dotenvy::from_read_iter(text.as_bytes()).partition(Result::is_ok);
    // The error of the parser contains the line, which can contain a secret.
    let reason = "a line can't be parsed; put a value that contains spaces in quotes";
    let error = (!invalid.is_empty()).then(|| env_file_error(reason.to_owned()));
    (valid.into_iter().filter_map(Result::ok).collect(), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(variable: &str) -> &'static Setting {
        SETTINGS
            .iter()
            .find(|setting| setting.variable == variable)
            .unwrap()
    }

    #[test]
    fn env_file_is_optional_but_must_be_readable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        assert_eq!(read_env_file(&path), (HashMap::new(), None));
        std::fs::write(&path, b"LATCHKEY_SIGNUP=\xff").unwrap();
        for path in [path.as_path(), folder.path()] {
            let (variables, error) = read_env_file(path);
            let error = error.unwrap().to_string();
            assert!(variables.is_empty(), "{path:?}");
            assert!(error.starts_with(".env: can't be read ("), "{error}");
            assert!(error.ends_with("; make it a readable file or remove it"));
        }
    }

    #[test]
    fn empty_flag_does_not_hide_env_file() {
        let mut source = Source::empty();
        source.flags.insert("LATCHKEY_SIGNUP", String::new());
        let line = ("LATCHKEY_SIGNUP".to_owned(), "admin".to_owned());
        source.env_file.extend([line]);
        let signup = setting("LATCHKEY_SIGNUP");
        assert_eq!(source.resolve(signup), Ok(Some("admin".to_owned())));
        source.env_file.clear();
        assert_eq!(source.resolve(signup), Ok(Some("open".to_owned())));
    }

    #[test]
    fn secret_overrides_its_file_in_the_same_source() {
        let mut source = Source::empty();
        source.env_file.extend([
            ("REDIS_URL".to_owned(), "redis://localhost".to_owned()),
            ("REDIS_URL_FILE".to_owned(), "/nowhere/redis".to_owned()),
        ]);
        let redis_url = setting("REDIS_URL");
        let expected = Some("redis://localhost".to_owned());
        assert_eq!(source.resolve(redis_url), Ok(expected));
        assert_eq!(source.secret_file("REDIS_URL"), None);
        source.env_file.remove("REDIS_URL");
        assert!(source.resolve(redis_url).is_err());
        let file = PathBuf::from("/nowhere/redis");
        assert_eq!(source.secret_file("REDIS_URL"), Some(file));
    }
}
