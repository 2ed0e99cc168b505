//! The URL of a store in a setting, which can change while the process runs.

use std::sync::{Arc, Mutex, MutexGuard};

use secrecy::{ExposeSecret, SecretString};

/// Reads the URL from its file again. Returns `None` if the URL isn't in a file, or the file can't
/// be read.
pub type UrlReader = Box<dyn Fn() -> Option<SecretString> + Send + Sync>;

/// Parses a URL. The error is the reason why the URL is invalid, without the URL.
type Parse<T> = fn(&SecretString) -> Result<T, String>;

/// The current URL, parsed.
pub struct ReloadableUrl<T> {
    setting: &'static str,
    parse: Parse<T>,
    current: Mutex<CurrentUrl<T>>,
    read_again: UrlReader,
}

struct CurrentUrl<T> {
    text: SecretString,
    parsed: Arc<T>,
    version: u64,
}

impl<T> ReloadableUrl<T> {
    /// Parses the URL of a setting.
    ///
    /// # Errors
    /// The reason why the URL is invalid, without the URL.
    pub fn new(
        setting: &'static str,
        url: &SecretString,
        parse: Parse<T>,
        read_again: UrlReader,
    ) -> Result<ReloadableUrl<T>, String> {
        let current = CurrentUrl {
            text: url.clone(),
            parsed: Arc::new(parse(url)?),
            version: 0,
        };
        Ok(ReloadableUrl {
            setting,
            parse,
            current: Mutex::new(current),
            read_again,
        })
    }

    /// Returns the parsed URL, and its version.
    pub fn current(&self) -> (Arc<T>, u64) {
        let current = self.lock();
        (current.parsed.clone(), current.version)
    }

    /// Reads the URL again. Returns whether it differs from the version that was used, so that
    /// another attempt makes sense.
    pub fn refresh(&self, used_version: u64) -> bool {
        let Some(url) = (self.read_again)() else {
            return false;
        };
        let mut current = self.lock();
        if current.text.expose_secret() != url.expose_secret() {
            match (self.parse)(&url) {
                Ok(parsed) => {
                    tracing::info!(setting = self.setting, "reloaded setting from file");
                    *current = CurrentUrl {
                        text: url,
                        parsed: Arc::new(parsed),
                        version: current.version + 1,
                    };
                }
                Err(reason) => tracing::warn!(
                    setting = self.setting,
                    reason,
                    "reloading setting from file failed"
                ),
            }
        }
        current.version != used_version
    }

    /// Reads the URL again at the request of the operator, and logs if it stays the same. Returns
    /// whether it has changed.
    pub fn reload(&self) -> bool {
        let is_changed = self.refresh(self.current().1);
        if !is_changed {
            let reason = "it isn't in a file, or the file is unchanged, unreadable, or invalid";
            tracing::info!(setting = self.setting, reason, "setting kept");
        }
        is_changed
    }

    fn lock(&self) -> MutexGuard<'_, CurrentUrl<T>> {
        self.current.lock().expect("no holder panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_valid_url_replaces_the_previous_one() {
        let file = Arc::new(Mutex::new(Some("7")));
        let content = file.clone();
        let read = move || content.lock().unwrap().map(SecretString::from);
        let parse: Parse<u8> = |url| url.expose_secret().parse().map_err(|_| "invalid".into());
        let url = ReloadableUrl::new("URL", &"7".into(), parse, Box::new(read)).unwrap();
        for unchanged in [Some("7"), None, Some("x")] {
            *file.lock().unwrap() = unchanged;
            assert!(!url.refresh(0), "{unchanged:?}");
        }
        *file.lock().unwrap() = Some("8");
        assert!(url.refresh(0));
        assert!(url.refresh(0), "another attempt that used the previous URL");
        assert!(!url.refresh(1));
        assert_eq!(*url.current().0, 8);
    }
}
