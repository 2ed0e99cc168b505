//! The folders of data, logs, and sockets, and the removal of those of killed runs.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, Permissions},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, ErrorKind},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use super::{
    Error, PostgresOptions, RedisOptions, account::Account, postgres, redis, shell_commands,
};

/// Base of the socket folders.
///
/// The path of a socket can have at most 103 bytes (107 on Linux), and `TMPDIR` can be long.
const SOCKET_BASE: &str = "/tmp";
/// File system in memory, on Linux, where a copy of a database takes a quarter of the time.
const MEMORY_BASE: &str = "/dev/shm";
/// Minimum free memory for temporary stores, in bytes.
///
/// A run of all tests writes about 5 GiB, mostly copies of one database.
const MIN_MEMORY_BYTES: u64 = 8 << 30;
const RUN_FOLDER_PREFIX: &str = "latchkey-";
/// Base of the data folders if the stores run as another user than the supervisor.
///
/// All users can traverse this folder, but only its owner can list it.
const ACCOUNT_DATA_BASE: &str = "/var/lib/latchkey-dev";
/// Connection limit of PostgreSQL, because all tests share one server.
const MAX_CONNECTIONS: &str = "300";

/// The folders of a stack: data, logs, and sockets.
pub(super) struct Folders {
    data: PathBuf,
    logs: PathBuf,
    sockets: RunFolder,
}

impl Folders {
    pub fn temporary() -> Result<Self, Error> {
        let sockets = RunFolder::create(temporary_base(), Account::for_stores()?)?;
        Ok(Self {
            data: sockets.path.clone(),
            logs: sockets.path.clone(),
            sockets,
        })
    }

    pub fn persistent(directory: &Path) -> Result<Self, Error> {
        let account = Account::for_stores()?;
        let logs = create_private(directory)?;
        let data = match account {
            Some(account) => create_account_data(&logs, account)?,
            None => logs.clone(),
        };
        Ok(Self {
            data,
            logs,
            sockets: RunFolder::create(SOCKET_BASE, account)?,
        })
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn postgres(&self, durable: bool) -> PostgresOptions {
        PostgresOptions {
            data: self.data.join("postgres"),
            sockets: self.sockets.path.clone(),
            log: self.logs.join("postgres.log"),
            durable,
            extra: vec![("max_connections".into(), MAX_CONNECTIONS.into())],
        }
    }

    pub fn redis(&self, persist: bool) -> RedisOptions {
        RedisOptions {
            data: self.data.join("redis"),
            sockets: self.sockets.path.clone(),
            log: self.logs.join("redis.log"),
            persist,
        }
    }
}

/// Creates the folder if it doesn't exist, restricts it to its owner, and returns its full path.
pub(super) fn create_private(folder: &Path) -> Result<PathBuf, Error> {
    create_with_mode(folder, 0o700).map_err(Error::cannot("create the private folder", folder))
}

/// The same for the folder of a run, which another user can't share.
///
/// Root could, but would start with empty stores, and leave files that the other user can't write.
pub(super) fn create_own(folder: &Path) -> Result<PathBuf, Error> {
    let user = rustix::process::geteuid().as_raw();
    let owner = fs::metadata(folder).ok().map(|metadata| metadata.uid());
    match owner.filter(|owner| *owner != user) {
        Some(owner) => Err(Error::new(format!(
            "the folder {} belongs to another user (ID {owner}), who started Latchkey first",
            folder.display()
        ))
        .hint(format!(
            "start as that user, or with another folder:  {} --directory .latchkey-{user}",
            shell_commands::start_command()
        ))),
        None => create_private(folder),
    }
}

/// Creates the folder if it doesn't exist, and sets its mode.
///
/// The mode of an existing folder is set in one step, because programs of other stacks can use it.
fn create_with_mode(folder: &Path, mode: u32) -> io::Result<PathBuf> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(mode))?;
    folder.canonicalize()
}

/// Creates the folder of a store, owned by the user that runs the store.
pub(super) fn create_for_store(folder: &Path, account: Option<Account>) -> Result<(), Error> {
    create_private(folder)?;
    account.map_or(Ok(()), |account| account.take_ownership(folder))
}

/// Returns a new path beside `folder`, where its content is prepared before a rename.
///
/// Removes the remains of earlier preparations that were killed.
pub(super) fn replace_unfinished_path(folder: &Path) -> PathBuf {
    let (parent, name) = (
        folder.parent().unwrap_or(folder),
        folder.file_name().unwrap_or_default().to_string_lossy(),
    );
    let prefix = format!("{name}.new-");
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    parent.join(format!("{prefix}{:06x}", random() & 0xff_ffff))
}

/// Creates the data folder of a stack that root starts, and stores its path in the stack's folder.
///
/// The stores' user can't access the stack's folder, because that folder is private to root.
///
/// The name contains a random part, so that a stack starts empty after its folder is removed. It
/// also contains a hash of the folder's path, so that a copied project doesn't share the data.
fn create_account_data(directory: &Path, account: Account) -> Result<PathBuf, Error> {
    let location_file = directory.join("data-is-in");
    let base = Path::new(ACCOUNT_DATA_BASE);
    let prefix = format!("{:016x}-", fnv1a(directory.as_os_str()));
    let is_own = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        *path == base.join(name) && name.starts_with(&prefix)
    };
    let stored = fs::read_to_string(&location_file)
        .ok()
        .map(|text| PathBuf::from(text.trim_end()));
    let data = stored
        .filter(is_own)
        .unwrap_or_else(|| base.join(format!("{prefix}{:016x}", random())));
    create_with_mode(base, 0o711).map_err(Error::cannot("create", base))?;
    create_for_store(&data, Some(account))?;
    fs::write(&location_file, format!("{}\n", data.display()))
        .map_err(Error::cannot("write", &location_file))?;
    Ok(data)
}

/// Computes the 64-bit FNV-1a hash.
///
/// It names persistent folders, and the standard library's hasher can change between releases.
fn fnv1a(text: &OsStr) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    text.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Returns the base of temporary stores, which is in memory if there is enough space.
fn temporary_base() -> &'static str {
    let free = rustix::fs::statvfs(MEMORY_BASE).map(|system| system.f_bavail * system.f_frsize);
    if free.is_ok_and(|free| free >= MIN_MEMORY_BYTES) {
        MEMORY_BASE
    } else {
        SOCKET_BASE
    }
}

/// A folder with a short path that is removed at the end of its run.
///
/// The run holds a lock in the folder, so that other runs can detect folders of killed runs.
struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    fn create(base: &str, account: Option<Account>) -> Result<Self, Error> {
        remove_stale_folders(account);
        loop {
            let path =
                Path::new(base).join(format!("{RUN_FOLDER_PREFIX}{:06x}", random() & 0xff_ffff));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(reason) if reason.kind() == ErrorKind::AlreadyExists => continue,
                result => result.map_err(Error::cannot("create", &path))?,
            }
            account.map_or(Ok(()), |account| account.take_ownership(&path))?;
            if let Some(lock) = lock_folder(&path).map_err(Error::cannot("lock", &path))? {
                return Ok(Self { path, _lock: lock });
            }
        }
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Locks a new folder.
///
/// Returns `None` if another run removed the folder between its creation and its lock.
fn lock_folder(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join("lock");
    let file = match File::create(&path) {
        Err(reason) if reason.kind() == ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    let is_locked = file.try_lock().is_ok();
    let is_same_file = fs::metadata(&path)
        .is_ok_and(|metadata| file.metadata().is_ok_and(|own| own.ino() == metadata.ino()));
    Ok((is_locked && is_same_file).then_some(file))
}

/// Stops the stores of killed runs, and removes their temporary folders.
pub(super) fn remove_leftovers() {
    if let Ok(account) = Account::for_stores() {
        remove_stale_folders(account);
    }
}

/// Removes the folders of killed runs.
///
/// Errors are ignored, because a remaining folder has no effect on a new run.
fn remove_stale_folders(account: Option<Account>) {
    let own_uid = rustix::process::geteuid().as_raw();
    let owners = [own_uid, account.map_or(own_uid, |account| account.uid)];
    let folders = [SOCKET_BASE, MEMORY_BASE].map(|base| fs::read_dir(base).into_iter().flatten());
    for entry in folders.into_iter().flatten().flatten() {
        let has_prefix = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(RUN_FOLDER_PREFIX));
        // `DirEntry::metadata` doesn't follow links, so a link to a folder is skipped.
        let is_own = entry.metadata().is_ok_and(|metadata| {
            metadata.is_dir()
                && metadata.mode() & 0o777 == 0o700
                && owners.contains(&metadata.uid())
        });
        if has_prefix && is_own {
            remove_if_stale(&entry.path());
        }
    }
}

fn remove_if_stale(folder: &Path) {
    let Ok(lock) = File::open(folder.join("lock")) else {
        return;
    };
    if lock.try_lock().is_err() {
        return;
    }
    postgres::stop_leftover(&folder.join("postgres"));
    redis::stop_leftover(&folder.join("redis"));
    let _ = fs::remove_dir_all(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_of_existing_folder_is_never_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let base = create_with_mode(&folder.path().join("base"), 0o711).unwrap();
        std::thread::scope(|scope| {
            let creator = scope.spawn(|| {
                (0..2000).for_each(|_| drop(create_with_mode(&base, 0o711).unwrap()));
            });
            while !creator.is_finished() {
                assert_eq!(fs::metadata(&base).unwrap().mode() & 0o777, 0o711);
            }
        });
    }

    #[test]
    fn folder_hash_is_stable() {
        assert_eq!(fnv1a(OsStr::new("a")), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn copied_location_file_is_ignored() {
        let Ok(Some(account)) = Account::for_stores() else {
            return;
        };
        let [original, copied] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let data = create_account_data(original.path(), account).unwrap();
        assert_eq!(
            data,
            create_account_data(original.path(), account).unwrap(),
            "the location file is used"
        );
        fs::copy(
            original.path().join("data-is-in"),
            copied.path().join("data-is-in"),
        )
        .unwrap();
        let copy = create_account_data(copied.path(), account).unwrap();
        assert_ne!(data, copy);
        fs::remove_dir(data).unwrap();
        fs::remove_dir(copy).unwrap();
    }
}
