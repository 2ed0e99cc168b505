//! The account that runs the stores if the stack runs as root.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::Command,
};

use super::Error;

/// The user that runs the stores if the supervisor is root, because PostgreSQL rejects root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// Returns `None` if the supervisor isn't root, because the stores then run as the same user.
    pub fn for_stores() -> Result<Option<Self>, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let path = Path::new("/etc/passwd");
        let users = fs::read_to_string(path).map_err(Error::cannot("read", path))?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| Self::find(name, &users))
            .map(Some)
            .ok_or_else(|| {
                Error::new(
                    "PostgreSQL can't run as root, and the system user `postgres` doesn't exist",
                )
                .hint("create this user, or run this program as another user")
            })
    }

    fn find(name: &str, users: &str) -> Option<Self> {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some(Self {
            uid: numbers.next()?.ok()?,
            gid: numbers.next()?.ok()?,
        })
    }

    /// Makes this user the owner of the file or folder, not of its content.
    pub fn take_ownership(self, path: &Path) -> Result<(), Error> {
        chown(path, Some(self.uid), Some(self.gid))
            .map_err(Error::cannot("change the owner of", path))
    }
}

/// Runs the command as this user, without supplementary groups.
pub(super) fn run_as(account: Option<Account>, command: &mut Command) {
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
}

#[cfg(test)]
mod tests {
    use super::Account;

    #[test]
    fn account_lookup_compares_whole_name() {
        let users =
            "postgresql:x:1:1::/:/bin/sh\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        let account = Account::find("postgres", users).expect("an account");
        assert_eq!((account.uid, account.gid), (101, 104));
        assert!(Account::find("nobody", users).is_none());
    }
}
