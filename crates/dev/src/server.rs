//! Finds the server's program, `latchkey`.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::Error;

const SERVER_NAME: &str = "latchkey";

/// Finds the server's program in the folder of this program.
pub(super) fn find() -> Result<PathBuf, Error> {
    let own = env::current_exe().map_err(Error::cannot("find", Path::new("the program itself")))?;
    find_beside(&own)
}

fn find_beside(own: &Path) -> Result<PathBuf, Error> {
    let folder = own.parent().unwrap_or(own);
    // Cargo builds tests into `deps`, a subfolder of the folder of the programs.
    let parent = folder.parent().filter(|_| folder.ends_with("deps"));
    [Some(folder), parent]
        .into_iter()
        .flatten()
        .map(|folder| folder.join(SERVER_NAME))
        .find(|program| program.is_file())
        .ok_or_else(|| {
            Error::new(format!(
                "the server `{SERVER_NAME}` isn't in {}",
                parent.unwrap_or(folder).display()
            ))
            .hint(format!("build it:  cargo build -p {SERVER_NAME}"))
        })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn server_is_found_beside_programs_and_above_tests() {
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
    fn parent_folder_is_searched_only_for_tests() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        fs::write(folder.path().join("latchkey"), "").unwrap();
        assert!(find_beside(&folder.path().join("bin/latchkey-dev")).is_err());
    }
}
