//! The current `DATABASE_URL`, which can change while the process runs.

use std::sync::{Arc, Mutex};

use secrecy::{ExposeSecret, SecretString};

use super::target::Target;

/// Reads the URL from its file again. Returns `None` if the URL isn't in a file, or the file can't
/// be read.
pub type UrlReader = Box<dyn Fn() -> Option<SecretString> + Send + Sync>;

/// The URL, and the hosts in it.
pub(in crate::postgres) struct TargetSource {
    current: Mutex<(SecretString, Arc<Target>)>,
    read_again: UrlReader,
}

impl TargetSource {
    /// Parses the URL.
    ///
    /// # Errors
    /// The reason why the URL is invalid, without the URL.
    pub fn new(url: &SecretString, read_again: UrlReader) -> Result<TargetSource, String> {
        let target = Arc::new(Target::parse(url.expose_secret())?);
        Ok(TargetSource {
            current: Mutex::new((url.clone(), target)),
            read_again,
        })
    }

    /// Returns the current hosts.
    pub(super) fn target(&self) -> Arc<Target> {
        self.current.lock().expect("no holder panics").1.clone()
    }

    /// Reads the URL again. Returns whether it has changed, so that another attempt makes sense.
    pub(super) fn refresh(&self, used: &Arc<Target>) -> bool {
        let Some(url) = (self.read_again)() else {
            return false;
        };
        let mut current = self.current.lock().expect("no holder panics");
        if current.0.expose_secret() == url.expose_secret() {
            // Another attempt might have read it already.
            return !Arc::ptr_eq(&current.1, used);
        }
        match Target::parse(url.expose_secret()) {
            Ok(target) => {
                tracing::info!(setting = "DATABASE_URL", "reloaded setting from file");
                *current = (url, Arc::new(target));
                true
            }
            Err(reason) => {
                tracing::warn!(
                    setting = "DATABASE_URL",
                    reason,
                    "reloading setting from file failed"
                );
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_valid_url_replaces_the_previous_one() {
        let file = Arc::new(Mutex::new(Some("postgres://u:old@127.0.0.1/x")));
        let content = file.clone();
        let read = move || content.lock().unwrap().map(SecretString::from);
        let url = SecretString::from("postgres://u:old@127.0.0.1/x");
        let source = TargetSource::new(&url, Box::new(read)).unwrap();
        let old = source.target();
        assert!(!source.refresh(&old), "unchanged");
        for invalid in [None, Some("nowhere")] {
            *file.lock().unwrap() = invalid;
            assert!(!source.refresh(&old), "{invalid:?}");
        }
        *file.lock().unwrap() = Some("postgres://u:new@127.0.0.1/x");
        assert!(source.refresh(&old));
        assert!(
            source.refresh(&old),
            "another attempt that used the previous URL"
        );
        assert!(!source.refresh(&source.target()));
    }
}
