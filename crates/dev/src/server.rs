//! The program of the server, `latchkey`.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::Error;

const NAME: &str = "latchkey";

/// The program beside this one.
pub(super) fn find() -> Result<PathBuf, Error> {
    let own = env::current_exe().map_err(Error::cannot("find", Path::new("the program itself")))?;
    find_beside(&own)
}

fn find_beside(own: &Path) -> Result<PathBuf, Error> {
    let folder = own.parent().unwrap_or(own);
    // Cargo builds tests into `deps`, one folder below the programs.
    let above = folder.parent().filter(|_| folder.ends_with("deps"));
    [Some(folder), above]
        .into_iter()
        .flatten()
        .map(|folder| folder.join(NAME))
        .find(|program| program.is_file())
        .ok_or_else(|| {
            Error::new(format!(
                "the server `{NAME}` isn't in {}",
                above.unwrap_or(folder).display()
            ))
            .hint(format!("build it there with `cargo build -p {NAME}`"))
        })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn server_is_found_beside_programs_and_tests() {
        let folder = tempfile::tempdir().unwrap();
        let deps = folder.path().join("deps");
        fs::create_dir(&deps).unwrap();
        let (own, test) = (folder.path().join("latchkey-dev"), deps.join("stack-1a2b"));
        for program in [&own, &test] {
            let error = find_beside(program).unwrap_err().to_string();
            assert!(error.contains("cargo build -p latchkey"), "{error}");
            assert!(
                error.contains(&format!(" {}\n", folder.path().display())),
                "{error}"
            );
        }
        let server = folder.path().join("latchkey");
        fs::write(&server, "").unwrap();
        assert_eq!(find_beside(&own).unwrap(), server);
        assert_eq!(find_beside(&test).unwrap(), server);
    }

    #[test]
    fn folder_above_is_only_for_tests() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        fs::write(folder.path().join("latchkey"), "").unwrap();
        assert!(find_beside(&folder.path().join("bin/latchkey-dev")).is_err());
    }
}
