//! The sources of settings.

use std::{collections::HashMap, path::Path};

use clap::ArgMatches;

use super::{ConfigError, SETTINGS, Setting, unknown};

/// Sources of settings: flags, then the environment, then `.env` in the working folder.
pub struct Source {
    pub(super) flags: HashMap<&'static str, String>,
    pub(super) file: HashMap<String, String>,
    pub(super) environment: bool,
    /// An error in the syntax of `.env`.
    pub(super) broken: Option<ConfigError>,
}

impl Source {
    /// The flags of this command line, the environment, and `.env`.
    pub fn new(matches: &ArgMatches) -> Source {
        let flag = |setting: &Setting| {
            let text = matches
                .try_get_one::<String>(setting.variable)
                .ok()
                .flatten()?;
            Some((setting.variable, text.clone()))
        };
        let (file, broken) = env_file(Path::new(".env"));
        Source {
            flags: SETTINGS.iter().filter_map(flag).collect(),
            file,
            environment: true,
            broken,
        }
    }

    /// No setting has a value.
    pub fn empty() -> Source {
        Source {
            flags: HashMap::new(),
            file: HashMap::new(),
            environment: false,
            broken: None,
        }
    }

    /// The value of a variable that is set and not empty.
    pub fn text(&self, variable: &str) -> Option<String> {
        let environment = self
            .environment
            .then(|| std::env::var(variable).ok())
            .flatten();
        let set = environment.or_else(|| self.file.get(variable).cloned());
        self.flags
            .get(variable)
            .cloned()
            .or(set)
            .filter(|text| !text.is_empty())
    }

    /// The value of a secret, from the variable or from the file that its `…_FILE` form names.
    pub fn secret_text(&self, variable: &'static str) -> Result<Option<String>, ConfigError> {
        SETTINGS
            .iter()
            .find(|setting| setting.variable == variable)
            .map_or(Ok(None), |setting| self.resolve(setting))
    }

    /// Unknown settings. A typo would otherwise leave a default in effect.
    pub(super) fn unknown(&self) -> impl Iterator<Item = ConfigError> {
        let environment = self
            .environment
            .then(|| std::env::vars_os().map(|(name, _)| name))
            .into_iter()
            .flatten();
        let names = environment
            .filter_map(|name| name.into_string().ok())
            .chain(self.file.keys().cloned());
        unknown::among(names.collect())
    }

    /// Whether the variable or its `…_FILE` form is set.
    pub fn is_given(&self, variable: &str) -> bool {
        self.text(variable).is_some() || self.text(&format!("{variable}_FILE")).is_some()
    }

    pub(super) fn resolve(&self, setting: &Setting) -> Result<Option<String>, ConfigError> {
        let given = match self.text(setting.variable) {
            None if setting.secret => self.secret_file(setting)?,
            given => given,
        };
        Ok(given.or_else(|| setting.default.map(str::to_owned)))
    }

    fn secret_file(&self, setting: &Setting) -> Result<Option<String>, ConfigError> {
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

/// The variables in `.env`, and an error if a line is invalid. Without the file, there are none.
fn env_file(path: &Path) -> (HashMap<String, String>, Option<ConfigError>) {
    let Ok(pairs) = dotenvy::from_path_iter(path) else {
        return Default::default();
    };
    let (read, broken): (Vec<_>, Vec<_>) = pairs.partition(Result::is_ok);
    let reason = "a line can't be parsed; put a value that contains spaces in quotes".to_owned();
    let error = (!broken.is_empty()).then_some(ConfigError {
        variable: ".env",
        reason,
    });
    (read.into_iter().filter_map(Result::ok).collect(), error)
}
