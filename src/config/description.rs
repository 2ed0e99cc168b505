//! How settings are shown: flags, help, the README's table, `.env.example`, the effective values.

use clap::Arg;

use super::{SETTINGS, Setting, Source};

/// The flags: one for each setting that holds no secret.
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
                .long(flag(setting))
                .value_name("VALUE")
                .help(format!(
                    "{} [env: {}]{default}",
                    setting.help, setting.variable
                ))
                .help_heading("Settings")
        })
}

/// The settings without a flag, for the end of `--help`.
pub fn secrets_help() -> String {
    let lines = SETTINGS
        .iter()
        .filter(|setting| setting.secret)
        .map(|setting| format!("  {:<18} {}", setting.variable, setting.help));
    let lines: Vec<_> = lines.collect();
    format!(
        "Secrets come from the environment only, because flags show in `ps`; each has a …_FILE \
         form that names a file:\n{}",
        lines.join("\n")
    )
}

/// The effective settings, one `VARIABLE=value` a line, secrets masked.
pub fn effective(source: &Source) -> String {
    let line = |setting: &Setting| match source.resolve(setting) {
        Ok(Some(_)) if setting.secret => format!("{}=(set, not shown)\n", setting.variable),
        Ok(Some(text)) if text.contains(' ') => format!("{}=\"{text}\"\n", setting.variable),
        Ok(Some(text)) => format!("{}={text}\n", setting.variable),
        Ok(None) | Err(_) => format!("# {} is not set\n", setting.variable),
    };
    SETTINGS.iter().map(line).collect()
}

/// The README's table.
pub fn readme_table() -> String {
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
    let rows: String = SETTINGS.iter().map(row).collect();
    format!("| variable | default | meaning |\n|---|---|---|\n{rows}")
}

/// `.env.example`: what must be set, and everything else commented out with its default.
pub fn env_example() -> String {
    let line = |setting: &Setting| {
        let mark = if setting.default.is_some() { "# " } else { "" };
        let default = setting.default.unwrap_or_default();
        let quote = if default.contains(' ') { "\"" } else { "" };
        format!(
            "# {}\n{mark}{}={quote}{default}{quote}\n\n",
            setting.help, setting.variable
        )
    };
    let lines: String = SETTINGS.iter().map(line).collect();
    format!(
        "# Settings of Latchkey; copy this file to .env. An empty value counts as not set.\n\n{}\n",
        lines.trim_end()
    )
}

fn flag(setting: &Setting) -> String {
    setting
        .variable
        .trim_start_matches("LATCHKEY_")
        .to_ascii_lowercase()
        .replace('_', "-")
}
