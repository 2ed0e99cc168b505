//! The file transport: one file per email in a folder, for development.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use uuid::Uuid;

/// Mode of the folder. Only the server's operating system user can read emails, because they
/// contain one-time codes.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Mode bit of folders that several operating system users share, such as `/tmp`.
const STICKY_BIT: u32 = 0o1000;

/// Writes an email to `<id>.eml`, atomically: readers find the complete file or none.
pub(super) fn write_email(folder: &Path, id: Uuid, message: &[u8]) -> io::Result<()> {
    make_private(folder)?;
    let unfinished = folder.join(format!("{id}.eml.new"));
    // A killed process might have left this file, and its permissions would be kept.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _removed => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&unfinished)?;
    file.write_all(message)?;
    file.sync_all()?;
    fs::rename(unfinished, folder.join(format!("{id}.eml")))
}

/// Creates the folder without access for other users. An existing folder is made private if it is
/// empty.
fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder)?;
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & 0o777 == FOLDER_MODE {
        return Ok(());
    }
    // Other programs might use this folder, and a change of its permissions could break them.
    if mode & STICKY_BIT != 0 || fs::read_dir(folder)?.next().is_some() {
        return Err(io::Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "other users can open the folder {} and it might be shared; run `chmod 700` on \
                 it, or set another folder in LATCHKEY_SMTP_URL",
                folder.display()
            ),
        ));
    }
    fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn new_folder_and_files_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, id) = (parent.path().join("a/b"), Uuid::now_v7());
        write_email(&folder, id, b"first").unwrap();
        let file = folder.join(format!("{id}.eml"));
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
        write_email(&folder, id, b"second").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"second");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn file_of_killed_process_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o700);
        let id = Uuid::now_v7();
        let leftover = folder.path().join(format!("{id}.eml.new"));
        fs::write(&leftover, "half").unwrap();
        set_mode(&leftover, 0o644);
        write_email(folder.path(), id, b"whole").unwrap();
        let file = folder.path().join(format!("{id}.eml"));
        assert_eq!(fs::read(&file).unwrap(), b"whole");
        assert_eq!((mode(&file), leftover.exists()), (0o600, false));
    }

    #[test]
    fn readable_folder_is_made_private_only_if_empty() {
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o755);
        write_email(folder.path(), Uuid::now_v7(), b"first").unwrap();
        assert_eq!(mode(folder.path()), 0o700);
        set_mode(folder.path(), 0o755);
        let error = write_email(folder.path(), Uuid::now_v7(), b"second").unwrap_err();
        assert!(error.to_string().contains("chmod 700"), "{error}");
        assert_eq!(mode(folder.path()), 0o755);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn shared_folder_keeps_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o1777);
        assert!(write_email(folder.path(), Uuid::now_v7(), b"email").is_err());
        assert_eq!(mode(folder.path()), 0o777);
    }
}
