//! The settings that the caller set, in the environment or in `.env` of the working folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsString,
    fs, io,
    path::{Path, absolute},
};

use super::Error;

/// Prefix of the variables of this program, which the server doesn't receive.
pub(super) const OWN_PREFIX: &str = "LATCHKEY_DEV_";

/// The file of the working folder.
const ENV_FILE: &str = ".env";
/// Variable that only Docker Compose requires. A `.env` with it contains the settings of Compose.
const COMPOSE_VARIABLE: &str = "POSTGRES_PASSWORD";

/// Variables with their values, none of them empty.
///
/// The type doesn't implement `Debug`, because some values are secrets.
#[derive(Clone, Default)]
pub struct GivenSettings {
    values: BTreeMap<String, String>,
    /// Names of the variables whose value is that of `.env`.
    from_file: BTreeSet<String>,
    /// Whether `.env` was ignored, because it contains the settings of Docker Compose.
    is_compose_file_ignored: bool,
}

impl GivenSettings {
    /// Reads the environment and `.env`.
    ///
    /// As in the server, a variable of the environment overrides `.env`, and an empty value counts
    /// as unset.
    pub(super) fn read() -> Result<Self, Error> {
        let environment = read_environment(env::vars_os())?;
        let text = read_env_file(Path::new(ENV_FILE))?;
        // The parser doesn't accept each file that Compose accepts, so it doesn't read this one.
        if is_for_compose(&text) {
            let given = Self::merge(BTreeMap::new(), environment)?;
            return Ok(Self {
                is_compose_file_ignored: true,
                ..given
            });
        }
        Self::merge(parse_env_file(&text)?, environment)
    }

    fn merge(
        file: BTreeMap<String, String>,
        environment: BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        let select = |variables: BTreeMap<String, String>| {
            let mut variables = variables;
            variables.retain(|name, value| is_setting(name) && !value.is_empty());
            variables
        };
        let (mut values, environment) = (select(file), select(environment));
        // A variable also overrides the other form of the same secret.
        values.retain(|name, _| {
            let overrides = |other: &String| base_name(other) == base_name(name);
            !environment.keys().any(overrides)
        });
        let from_file = values.keys().cloned().collect();
        values.extend(environment);
        for (_, path) in values
            .iter_mut()
            .filter(|(name, _)| name.ends_with("_FILE"))
        {
            // Paths must be absolute, because the servers and `./dev user` run in another folder.
            let absolute_path = absolute(&*path).map_err(Error::cannot("find", path.as_ref()))?;
            *path = absolute_path.display().to_string();
        }
        Ok(Self {
            values,
            from_file,
            is_compose_file_ignored: false,
        })
    }

    /// Adds the value of a flag, which overrides the variable.
    pub(super) fn set(&mut self, variable: &str, value: &str) {
        self.from_file.remove(variable);
        self.values.insert(variable.to_owned(), value.to_owned());
    }

    /// Returns the value of a variable.
    pub fn value(&self, variable: &str) -> Option<&str> {
        self.values.get(variable).map(String::as_str)
    }

    /// Returns whether the caller set this setting or its `…_FILE` form.
    pub fn has(&self, setting: &str) -> bool {
        self.values.contains_key(setting) || self.values.contains_key(&file_form(setting))
    }

    /// Returns where the caller set this setting or its `…_FILE` form, for messages.
    pub(super) fn source(&self, setting: &str) -> &'static str {
        let names = [setting.to_owned(), file_form(setting)];
        if names.iter().any(|name| self.from_file.contains(name)) {
            ENV_FILE
        } else {
            "the environment"
        }
    }

    /// Returns the settings of the server, with absolute paths in `…_FILE` forms.
    pub(super) fn server_settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .filter(|(name, _)| !name.starts_with(OWN_PREFIX))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Formats the use of `.env`, for the start of a run. The text is empty without a setting.
    pub(super) fn describe_file(&self) -> String {
        if self.is_compose_file_ignored {
            return format!(
                "note: {ENV_FILE} is ignored, because its {COMPOSE_VARIABLE} shows that it is for \
                 Docker Compose. Pass settings for `./dev up` in the environment.\n"
            );
        }
        match self.join_file_names().as_str() {
            "" => String::new(),
            names => format!("note: settings from {ENV_FILE}: {names}\n"),
        }
    }

    /// Returns a hint for a failed start if `.env` can be the reason.
    pub(super) fn hint_of_failed_start(&self) -> Option<String> {
        let names = Some(self.join_file_names()).filter(|names| !names.is_empty())?;
        Some(format!(
            "`./dev up` requires no settings, but {ENV_FILE} sets {names}; remove the setting that \
             causes the error from {ENV_FILE}"
        ))
    }

    fn join_file_names(&self) -> String {
        let names: Vec<_> = self.from_file.iter().map(String::as_str).collect();
        names.join(", ")
    }
}

fn file_form(setting: &str) -> String {
    format!("{setting}_FILE")
}

/// Returns the name without the suffix of the `…_FILE` form.
fn base_name(name: &str) -> &str {
    name.strip_suffix("_FILE").unwrap_or(name)
}

fn is_setting(name: &str) -> bool {
    let name = base_name(name);
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

/// Reads the text of the file. A missing file is empty.
fn read_env_file(path: &Path) -> Result<String, Error> {
    match fs::read_to_string(path) {
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        text => text.map_err(|reason| {
            Error::new(format!("can't read {} ({reason})", path.display())).hint(format!(
                "make it a file that this user can read, or move it:  mv {0} {0}.other",
                path.display()
            ))
        }),
    }
}

/// Returns whether a line sets the variable that only Docker Compose requires.
fn is_for_compose(text: &str) -> bool {
    text.lines()
        .map(|line| line.trim_start().trim_start_matches("export "))
        .filter_map(|line| line.split_once('='))
        .any(|(name, value)| name.trim() == COMPOSE_VARIABLE && !value.trim().is_empty())
}

/// Returns the variables in the text of the file.
fn parse_env_file(text: &str) -> Result<BTreeMap<String, String>, Error> {
    // The error omits the reason, because it contains the line, which can contain a secret.
    let variables: Result<_, _> = dotenvy::from_read_iter(text.as_bytes()).collect();
    variables.map_err(|_| {
        Error::new(format!("{ENV_FILE} has a line that can't be parsed"))
            .hint("write `NAME=value`, with quotes around a value that contains spaces")
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

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
    fn secret_file_in_environment_overrides_secret_in_file() {
        let given = merge(
            &[("LATCHKEY_SECRET", "file"), ("REDIS_URL_FILE", "/file")],
            &[
                ("LATCHKEY_SECRET_FILE", "/environment"),
                ("REDIS_URL", "environment"),
            ],
        );
        let values: Vec<_> = given.server_settings().collect();
        assert_eq!(
            values,
            [
                ("LATCHKEY_SECRET_FILE", "/environment"),
                ("REDIS_URL", "environment"),
            ]
        );
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
        assert!(given.values.is_empty());
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
        for line in [
            "hunter2",
            "LATCHKEY_EMAIL_FROM='hunter2",
            "A=Latchkey <hunter2>",
        ] {
            let text = format!("LATCHKEY_LOG=info\n{line}\n");
            let error = parse_env_file(&text).unwrap_err().to_string();
            assert!(
                error.contains(".env") && error.contains("quotes"),
                "{line}: {error}"
            );
            assert!(!error.contains("hunter2"), "{line}: {error}");
        }
        let read = parse_env_file("LATCHKEY_LOG='a b'\nLATCHKEY_LOG=info # a comment\n").unwrap();
        assert_eq!(read.get("LATCHKEY_LOG").map(String::as_str), Some("info"));
    }

    #[test]
    fn env_file_is_optional_but_must_be_readable() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_env_file(&folder.path().join(".env")).unwrap(), "");
        let error = read_env_file(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("can't read") && error.contains("mv "),
            "{error}"
        );
    }

    #[test]
    fn compose_file_is_recognized_by_its_password() {
        for text in [
            "POSTGRES_PASSWORD=1\n",
            "A=Latchkey <x>\n export POSTGRES_PASSWORD = '1'",
        ] {
            assert!(is_for_compose(text), "{text}");
        }
        for text in [
            "",
            "POSTGRES_PASSWORD=\n",
            "# POSTGRES_PASSWORD=1\n",
            "LATCHKEY_SECRET=POSTGRES_PASSWORD=1\n",
        ] {
            assert!(!is_for_compose(text), "{text}");
        }
    }

    #[test]
    fn messages_name_only_settings_of_file() {
        let mut given = merge(
            &[
                ("LATCHKEY_LOG", "info"),
                ("LATCHKEY_SIGNUP", "file"),
                ("LATCHKEY_LISTEN", "file"),
                ("PATH", "/bin"),
            ],
            &[("LATCHKEY_SIGNUP", "environment"), ("REDIS_URL", "x")],
        );
        given.set("LATCHKEY_LISTEN", "flag");
        assert_eq!(
            given.describe_file(),
            "note: settings from .env: LATCHKEY_LOG\n"
        );
        let hint = given.hint_of_failed_start().unwrap();
        assert!(hint.contains(".env sets LATCHKEY_LOG;"), "{hint}");
        assert_eq!(
            ["LATCHKEY_LOG", "REDIS_URL"].map(|setting| given.source(setting)),
            [".env", "the environment"]
        );
        let none = merge(&[], &[("REDIS_URL", "x")]);
        assert_eq!(none.describe_file(), "");
        assert_eq!(none.hint_of_failed_start(), None);
    }
}
