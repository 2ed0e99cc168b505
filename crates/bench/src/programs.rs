//! Finds the programs that a run measures.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::Outcome;

/// The file that the caller named with this flag, or the program `name` beside this one.
pub fn find(flag: &str, given: Option<&PathBuf>, name: &str) -> Outcome<PathBuf> {
    match given {
        Some(file) => find_given(flag, file),
        None => find_beside(&env::current_exe()?, name),
    }
}

/// The path becomes absolute, because programs are started in another folder.
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

fn find_beside(own: &Path, name: &str) -> Outcome<PathBuf> {
    let program = own.with_file_name(name);
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
    fn program_is_found_beside_the_own_one() {
        let folder = tempfile::tempdir().unwrap();
        let (own, server) = (
            folder.path().join("latchkey-bench"),
            folder.path().join("latchkey"),
        );
        let error = find_beside(&own, "latchkey").unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "{} is missing\nhint: run `./dev bench`, which builds it",
                server.display()
            )
        );
        fs::write(&server, "").unwrap();
        assert_eq!(find_beside(&own, "latchkey").unwrap(), server);
    }

    #[test]
    fn given_path_becomes_absolute_and_must_be_a_file() {
        // Tests run in the folder of the package.
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let found = find("server", Some(&"Cargo.toml".into()), "latchkey").unwrap();
        assert_eq!(found, manifest);
        let error = find("server", Some(&"src".into()), "latchkey").unwrap_err();
        assert!(error.to_string().contains("--server"), "{error}");
    }
}
