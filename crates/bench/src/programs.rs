//! Finds the programs that a run measures.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::Outcome;

/// Returns the file of the flag, or the program `name` beside the current executable.
pub fn find_program(flag: &str, given: Option<&PathBuf>, name: &str) -> Outcome<PathBuf> {
    match given {
        Some(file) => find_given(flag, file),
        None => find_beside(&env::current_exe()?, name),
    }
}

/// Makes the path absolute, because programs start in another folder.
fn find_given(flag: &str, file: &Path) -> Outcome<PathBuf> {
    let program = std::path::absolute(file)?;
    if !program.is_file() {
        return Err(format!(
            "{} isn't a file\nhint: correct the path after --{flag}, or omit the flag",
            file.display()
        )
        .into());
    }
    Ok(program)
}

fn find_beside(executable: &Path, name: &str) -> Outcome<PathBuf> {
    let program = executable.with_file_name(name);
    if !program.is_file() {
        return Err(format!(
            "{} is missing\nhint: run `./dev bench`, which builds it",
            program.display()
        )
        .into());
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn program_beside_executable_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (executable, server) = (
            folder.path().join("latchkey-bench"),
            folder.path().join("latchkey"),
        );
        let error = find_beside(&executable, "latchkey")
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            format!(
                "{} is missing\nhint: run `./dev bench`, which builds it",
                server.display()
            )
        );
        fs::write(&server, "").unwrap();
        assert_eq!(find_beside(&executable, "latchkey").unwrap(), server);
    }

    #[test]
    fn given_path_is_made_absolute_and_must_be_a_file() {
        // The working directory of tests is the folder of the package.
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let found = find_program("server", Some(&"Cargo.toml".into()), "latchkey").unwrap();
        assert_eq!(found, manifest);
        let error = find_program("server", Some(&"src".into()), "latchkey").unwrap_err();
        assert!(error.to_string().contains("--server"), "{error}");
    }
}
