//! Shell commands for this instance, as the user can paste them.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Default folder of the data.
pub(super) const DEFAULT_DIRECTORY: &str = ".latchkey";
/// Variable with the path of the script `dev`, as the user typed it.
const SCRIPT_VARIABLE: &str = "LATCHKEY_DEV_SCRIPT";

/// Commands for the banner.
pub(super) struct ShellCommands {
    pub stop: String,
    pub create_administrator: String,
}

impl ShellCommands {
    pub fn new(directory: &Path, server: &Path) -> Self {
        let arguments = "user create --username admin --role admin";
        let create_administrator = match find_script() {
            Some(script) if is_default_directory(directory) => format!("{script} {arguments}"),
            _ => {
                let (directory, server) = (quote_path(directory), quote_path(server));
                format!("(cd {directory} && {server} {arguments})")
            }
        };
        Self {
            stop: stop_command(directory),
            create_administrator,
        }
    }
}

/// Returns the command that stops the instance with this folder.
pub(super) fn stop_command(directory: &Path) -> String {
    let stop = find_script().map_or_else(
        || format!("{} --down", own_program()),
        |script| format!("{script} down"),
    );
    if is_default_directory(directory) {
        stop
    } else {
        format!("{stop} --directory {}", quote_path(directory))
    }
}

/// Returns the command that starts an instance.
pub(super) fn start_command() -> String {
    find_script().map_or_else(own_program, |script| format!("{script} up"))
}

/// Returns the script `dev` if it started this program, or if it is in the working folder.
fn find_script() -> Option<String> {
    let typed = env::var_os(SCRIPT_VARIABLE).map(PathBuf::from);
    let script = typed.or_else(|| Path::new("dev").is_file().then(|| "./dev".into()))?;
    Some(quote_path(&script))
}

fn own_program() -> String {
    env::current_exe().map_or("latchkey-dev".into(), |program| quote_path(&program))
}

fn is_default_directory(directory: &Path) -> bool {
    let default = Path::new(DEFAULT_DIRECTORY).canonicalize().ok();
    default.is_some() && default == directory.canonicalize().ok()
}

fn quote_path(path: &Path) -> String {
    quote(&path.display().to_string())
}

/// Quotes an argument for the shell, if it contains special characters.
pub(super) fn quote(argument: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+@:=".contains(c);
    // zsh expands words that begin with `=`.
    let is_word = !argument.is_empty() && !argument.starts_with('=');
    if is_word && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_outside_repository_contain_program_paths() {
        let folder = tempfile::tempdir().unwrap();
        let commands = ShellCommands::new(folder.path(), Path::new("/my bin/latchkey"));
        let (directory, program) = (folder.path().display(), own_program());
        assert_eq!(
            (commands.stop, commands.create_administrator),
            (
                format!("{program} --down --directory {directory}"),
                format!(
                    "(cd {directory} && '/my bin/latchkey' user create --username admin --role \
                     admin)"
                )
            )
        );
        assert_eq!(start_command(), program);
    }

    #[test]
    fn paths_are_quoted_for_shell() {
        let quoted = ["/a/b-1.2_x", "/a b", "/it's"].map(quote);
        assert_eq!(quoted, ["/a/b-1.2_x", "'/a b'", r"'/it'\''s'"]);
    }
}
