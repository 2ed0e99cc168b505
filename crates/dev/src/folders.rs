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

use super::{Error, PostgresOptions, RedisOptions, account::Account, postgres, redis};

/// Short, because the path of a socket may have 103 bytes at most (107 on Linux); `TMPDIR` may be
/// long.
const SHORT: &str = "/tmp";
/// A file system in memory, on Linux: a copy of a database takes a quarter of the time there.
const IN_MEMORY: &str = "/dev/shm";
/// A run of all tests writes about 5 GiB, mostly copies of one database.
const NEEDED_IN_MEMORY: u64 = 8 << 30;
const PREFIX: &str = "latchkey-";
/// Where data live that belong to another user than the project. Everybody may pass, nobody may
/// list.
const OUTSIDE: &str = "/var/lib/latchkey-dev";
/// Tests share one server, and each of them brings connections of its own.
const CONNECTIONS: &str = "300";

/// Where one stack keeps its data, its logs and its sockets.
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
        let logs = private(directory)?;
        let data = match account {
            Some(account) => outside(&logs, account)?,
            None => logs.clone(),
        };
        Ok(Self {
            data,
            logs,
            sockets: RunFolder::create(SHORT, account)?,
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
            extra: vec![("max_connections".into(), CONNECTIONS.into())],
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
pub(super) fn private(folder: &Path) -> Result<PathBuf, Error> {
    let make = || {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        folder.canonicalize()
    };
    make().map_err(Error::cannot("create the private folder", folder))
}

/// The folder of a store: made for the user that will run it.
pub(super) fn for_store(folder: &Path, account: Option<Account>) -> Result<(), Error> {
    private(folder)?;
    account.map_or(Ok(()), |account| account.own(folder))
}

/// A new name beside `folder`, for what will become that folder. Earlier ones, which never did, are
/// removed.
pub(super) fn unfinished(folder: &Path) -> PathBuf {
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

/// The data of a stack that root starts. Its own folder is closed to others, so the stores' user
/// cannot get there.
///
/// The name has a random part, noted in the stack's folder: whoever removes that folder starts
/// afresh. It also has a hash of the folder's path: a copied project does not share its original's
/// data.
fn outside(directory: &Path, account: Account) -> Result<PathBuf, Error> {
    let note = directory.join("data-is-in");
    let base = Path::new(OUTSIDE);
    let prefix = format!("{:016x}-", fnv1a(directory.as_os_str()));
    let ours = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        *path == base.join(name) && name.starts_with(&prefix)
    };
    let noted = fs::read_to_string(&note)
        .ok()
        .map(|text| PathBuf::from(text.trim_end()));
    let data = noted
        .filter(ours)
        .unwrap_or_else(|| base.join(format!("{prefix}{:016x}", random())));
    private(base)?;
    fs::set_permissions(base, Permissions::from_mode(0o711))
        .map_err(Error::cannot("change the mode of", base))?;
    for_store(&data, Some(account))?;
    fs::write(&note, format!("{}\n", data.display())).map_err(Error::cannot("write", &note))?;
    Ok(data)
}

/// Stable over releases of the compiler, unlike the standard library's hasher: it names folders
/// that stay.
fn fnv1a(text: &OsStr) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    text.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Where the stores of tests keep their data: in memory if there is room.
fn temporary_base() -> &'static str {
    let free = rustix::fs::statvfs(IN_MEMORY).map(|system| system.f_bavail * system.f_frsize);
    if free.is_ok_and(|free| free >= NEEDED_IN_MEMORY) {
        IN_MEMORY
    } else {
        SHORT
    }
}

/// A folder with a short path that lives as long as its run. The lock in it says whether the run
/// lives.
struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    fn create(base: &str, account: Option<Account>) -> Result<Self, Error> {
        sweep(account);
        loop {
            let path = Path::new(base).join(format!("{PREFIX}{:06x}", random() & 0xff_ffff));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(reason) if reason.kind() == ErrorKind::AlreadyExists => continue,
                result => result.map_err(Error::cannot("create", &path))?,
            }
            account.map_or(Ok(()), |account| account.own(&path))?;
            if let Some(lock) = lock(&path).map_err(Error::cannot("lock", &path))? {
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

/// `None` if somebody swept the folder away between its creation and its lock.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join("lock");
    let file = match File::create(&path) {
        Err(reason) if reason.kind() == ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    let held = file.try_lock().is_ok();
    let there = fs::metadata(&path)
        .is_ok_and(|metadata| file.metadata().is_ok_and(|own| own.ino() == metadata.ino()));
    Ok((held && there).then_some(file))
}

/// Removes what killed runs and ended tests left in the short folder.
pub(super) fn tidy() {
    if let Ok(account) = Account::for_stores() {
        sweep(account);
    }
}

/// Removes the folders of killed runs. One that cannot be removed harms nobody, hence no errors.
fn sweep(account: Option<Account>) {
    let us = rustix::process::geteuid().as_raw();
    let owners = [us, account.map_or(us, |account| account.uid)];
    let folders = [SHORT, IN_MEMORY].map(|base| fs::read_dir(base).into_iter().flatten());
    for entry in folders.into_iter().flatten().flatten() {
        let named = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX));
        // Of the entry itself: a link is no folder.
        let owned = entry.metadata().is_ok_and(|own| {
            own.is_dir() && own.mode() & 0o777 == 0o700 && owners.contains(&own.uid())
        });
        if named && owned {
            sweep_away(&entry.path());
        }
    }
}

fn sweep_away(folder: &Path) {
    let Ok(lock) = File::open(folder.join("lock")) else {
        return;
    };
    if lock.try_lock().is_err() {
        return;
    }
    postgres::end_leftover(&folder.join("postgres"));
    redis::end_leftover(&folder.join("redis"));
    let _ = fs::remove_dir_all(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_folder_never_changes() {
        assert_eq!(
            fnv1a(OsStr::new("/root/project/.latchkey")),
            fnv1a(OsStr::new("/root/project/.latchkey"))
        );
        assert_eq!(fnv1a(OsStr::new("a")), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn a_copied_note_is_not_followed() {
        let Ok(Some(account)) = Account::for_stores() else {
            return;
        };
        let [one, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let data = outside(one.path(), account).unwrap();
        assert_eq!(
            data,
            outside(one.path(), account).unwrap(),
            "the note is followed"
        );
        fs::copy(
            one.path().join("data-is-in"),
            other.path().join("data-is-in"),
        )
        .unwrap();
        let copy = outside(other.path(), account).unwrap();
        assert_ne!(data, copy);
        fs::remove_dir(data).unwrap();
        fs::remove_dir(copy).unwrap();
    }
}
