//! Renders the settings as flags, help, a table, `.env.example`, and effective values.

use clap::Arg;

use super::{SETTINGS, Setting, Source};

/// Maximum number of columns of rendered help and of comments in `.env.example`.
const MAX_COLUMNS: usize = 80;

/// The text in place of a secret that is set.
const MASK: &str = "(set, not shown)";

const SETTINGS_INTRODUCTION: &str = "\
A setting is an environment variable, a line of `.env` in the working directory, or a flag of \
`serve`. Flags override the environment, and the environment overrides `.env`. An empty value \
counts as unset.

Secrets (*) have no flag, because process arguments are visible. Set the variable, or name a file \
in its `…_FILE` form, for example `LATCHKEY_SECRET_FILE`.

Durations have a unit: `ms`, `s`, `m`, `h`, or `d`. A rate limit is `COUNT/PERIOD`: `10/15m` allows \
10 attempts at once, and refills evenly within 15 minutes.";

/// Returns the flags: one for each setting that isn't a secret.
pub fn arguments() -> impl Iterator<Item = Arg> {
    SETTINGS
        .iter()
        .filter(|setting| !setting.secret)
        .map(|setting| {
            let default = setting
                .default
                .map(|default| format!(" [default: {default}]"))
                .unwrap_or_default();
            Arg::new(setting.variable)
                .long(flag_name(setting))
                .value_name("VALUE")
                // Manual pages contain no other help of flags that `-h` omits.
                .long_help(format!(
                    "{} [env: {}]{default}",
                    setting.help, setting.variable
                ))
                .help_heading(setting.group)
        })
}

/// Returns the settings without a flag, for the end of `latchkey serve --help`.
pub fn secrets_help() -> String {
    let secrets = SETTINGS.iter().filter(|setting| setting.secret);
    format!(
        "Secrets, by environment variable or `…_FILE` form only:\n{}",
        secrets.map(describe).collect::<String>().trim_end()
    )
}

/// Returns the text of `latchkey help settings`.
pub fn settings_help() -> String {
    let groups = groups().map(|(group, settings)| {
        format!(
            "\n{group}:\n{}",
            settings.iter().map(describe).collect::<String>()
        )
    });
    format!(
        "{}\n{}",
        wrap(SETTINGS_INTRODUCTION, ""),
        groups.collect::<String>()
    )
}

/// Returns the effective settings, one `VARIABLE=value` per line, with masked secrets.
pub fn effective(source: &Source) -> String {
    let line = |(variable, value): (&str, Option<String>)| match value {
        Some(text) if text.contains(' ') && text != MASK => format!("{variable}=\"{text}\"\n"),
        Some(text) => format!("{variable}={text}\n"),
        None => format!("# {variable} is not set\n"),
    };
    effective_values(source).map(line).collect()
}

/// Returns the variables of all settings with their effective values. A secret is masked, and an
/// unset setting has none.
pub fn effective_values(source: &Source) -> impl Iterator<Item = (&'static str, Option<String>)> {
    SETTINGS.iter().map(|setting| {
        let value = source.resolve(setting).ok().flatten();
        let mask = |text| {
            if setting.secret {
                MASK.to_owned()
            } else {
                text
            }
        };
        (setting.variable, value.map(mask))
    })
}

/// Returns the table of settings for the reference page.
pub fn reference_table() -> String {
    let row = |setting: &Setting| {
        let mark = if setting.secret { " ●" } else { "" };
        let default = setting
            .default
            .map_or("none".to_owned(), |default| format!("`{default}`"));
        format!(
            "| `{}`{mark} | {default} | {} |\n",
            setting.variable, setting.help
        )
    };
    let group = |(group, settings): (&str, &[Setting])| {
        let rows: String = settings.iter().map(row).collect();
        format!("| **{group}** | | |\n{rows}")
    };
    let groups: String = groups().map(group).collect();
    format!("| Variable | Default | Description |\n|---|---|---|\n{groups}")
}

/// Returns the text of `.env.example`: required settings, then all others, commented out with their
/// defaults.
pub fn env_example() -> String {
    let line = |setting: &Setting| {
        let comment = if setting.is_required() { "" } else { "# " };
        let default = setting.default.unwrap_or_default();
        let quote = if default.contains(' ') { "\"" } else { "" };
        format!(
            "\n{}\n{comment}{}={quote}{default}{quote}\n",
            wrap(setting.help, "# "),
            setting.variable
        )
    };
    let group = |(group, settings): (&str, &[Setting])| {
        let lines: String = settings.iter().map(line).collect();
        format!("\n# --- {group} ---\n{lines}")
    };
    let groups: String = groups().map(group).collect();
    let introduction = "Settings of Latchkey. Copy this file to `.env` and set the required \
                        values. An empty value counts as unset.\n\n\
                        With Docker Compose, set LATCHKEY_SECRET and add POSTGRES_PASSWORD, see \
                        docs/how-to/compose.md. `./dev up` requires no settings, and ignores a \
                        `.env` with POSTGRES_PASSWORD.";
    format!("{}\n{groups}", wrap(introduction, "# "))
}

/// Returns the groups with their settings, in the order of the declaration.
fn groups() -> impl Iterator<Item = (&'static str, &'static [Setting])> {
    SETTINGS
        .chunk_by(|one, next| one.group == next.group)
        .map(|settings| (settings[0].group, settings))
}

/// Renders a setting with its default and its description, for a terminal.
fn describe(setting: &Setting) -> String {
    let mark = if setting.secret { " *" } else { "" };
    let default = setting
        .default
        .map(|default| format!("={default}"))
        .unwrap_or_default();
    format!(
        "  {}{default}{mark}\n{}\n",
        setting.variable,
        wrap(setting.help, "      ")
    )
}

/// Wraps a text at [`MAX_COLUMNS`] columns, with `prefix` before each line.
fn wrap(text: &str, prefix: &str) -> String {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = prefix.to_owned();
        for word in paragraph.split(' ') {
            if line.len() > prefix.len()
                && line.chars().count() + 1 + word.chars().count() > MAX_COLUMNS
            {
                lines.push(std::mem::replace(&mut line, prefix.to_owned()));
            }
            if line.len() > prefix.len() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line.trim_end().to_owned());
    }
    lines.join("\n")
}

fn flag_name(setting: &Setting) -> String {
    setting
        .variable
        .trim_start_matches("LATCHKEY_")
        .to_ascii_lowercase()
        .replace('_', "-")
}
