//! The sources of settings.

use std::{collections::HashMap, path::Path};

use clap::ArgMatches;

use super::{ConfigError, SETTINGS, Setting, unknown};

/// The sources of settings, in order of precedence: flags, the environment, and `.env` in the
/// working directory.
pub struct Source {
    pub(super) flags: HashMap<&'static str, String>,
    pub(super) file: HashMap<String, String>,
    pub(super) environment: bool,
    /// The error of a line in `.env` that can't be parsed.
    pub(super) syntax_error: Option<ConfigError>,
}

impl Source {
    /// Reads the flags of the command line and `.env`. The environment is read on access.
    pub fn new(matches: &ArgMatches) -> Source {
        let flag = |setting: &Setting| {
            let text = matches
                .try_get_one::<String>(setting.variable)
                .ok()
                .flatten()?;
            Some((setting.variable, text.clone()))
        };
        let (file, syntax_error) = read_env_file(Path::new(".env"));
        Source {
            flags: SETTINGS.iter().filter_map(flag).collect(),
            file,
            environment: true,
            syntax_error,
        }
    }

    /// Creates a source in which no setting has a value.
    pub fn empty() -> Source {
        Source {
            flags: HashMap::new(),
            file: HashMap::new(),
            environment: false,
            syntax_error: None,
        }
    }

    /// Returns the value of a variable; `None` if it is unset or empty.
    pub fn text(&self, variable: &str) -> Option<String> {
        let environment = self
            .environment
            .then(|| std::env::var(variable).ok())
            .flatten();
        let without_flag = environment.or_else(|| self.file.get(variable).cloned());
        self.flags
            .get(variable)
            .cloned()
            .or(without_flag)
            .filter(|text| !text.is_empty())
    }

    /// Returns an error for each unknown setting. A typo would otherwise leave a default in effect.
    pub(super) fn unknown_settings(&self) -> impl Iterator<Item = ConfigError> {
        let environment = self
            .environment
            .then(|| std::env::vars_os().map(|(name, _)| name))
            .into_iter()
            .flatten();
        let names = environment
            .filter_map(|name| name.into_string().ok())
            .chain(self.file.keys().cloned());
        unknown::find_unknown(names.collect())
    }

    pub(super) fn resolve(&self, setting: &Setting) -> Result<Option<String>, ConfigError> {
        let text = match self.text(setting.variable) {
            None if setting.secret => self.read_secret_file(setting)?,
            text => text,
        };
        Ok(text.or_else(|| setting.default.map(str::to_owned)))
    }

    fn read_secret_file(&self, setting: &Setting) -> Result<Option<String>, ConfigError> {
        let Some(path) = self.text(&format!("{}_FILE", setting.variable)) else {
            return Ok(None);
        };
        let unreadable = |error| ConfigError {
            variable: setting.variable,
            reason: format!(
                "the file in {}_FILE can't be read ({error})",
                setting.variable
            ),
        };
        std::fs::read_to_string(path)
            .map(|text| Some(text.trim_end().to_owned()))
            .map_err(unreadable)
    }
}

/// Returns the variables in `.env`, and an error if a line can't be parsed. The file is optional.
fn read_env_file(path: &Path) -> (HashMap<String, String>, Option<ConfigError>) {
    let Ok(pairs) = dotenvy::from_path_iter(path) else {
        return Default::default();
    };
    let (valid, invalid): (Vec<_>, Vec<_>) = pairs.partition(Result::is_ok);
    let reason = "a line can't be parsed; put a value that contains spaces in quotes".to_owned();
    let error = (!invalid.is_empty()).then_some(ConfigError {
        variable: ".env",
        reason,
    });
    (valid.into_iter().filter_map(Result::ok).collect(), error)
}
