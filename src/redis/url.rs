//! The current `REDIS_URL`, which can change while the process runs.

use std::sync::{Mutex, MutexGuard};

use deadpool_redis::redis::{Client, IntoConnectionInfo, RedisError};
use secrecy::{ExposeSecret, SecretString};

/// Reads the URL from its file again. Returns `None` if the URL isn't in a file, or the file can't
/// be read.
pub type UrlReader = Box<dyn Fn() -> Option<SecretString> + Send + Sync>;

pub(super) struct RedisUrl {
    current: Mutex<CurrentUrl>,
    read_again: UrlReader,
}

struct CurrentUrl {
    url: SecretString,
    client: Client,
    version: u64,
}

impl RedisUrl {
    /// Parses the URL.
    ///
    /// # Errors
    /// The reason why the URL is invalid, without the URL.
    pub fn new(url: &SecretString, read_again: UrlReader) -> Result<RedisUrl, String> {
        let current = CurrentUrl {
            url: url.clone(),
            client: parse(url)?,
            version: 0,
        };
        Ok(RedisUrl {
            current: Mutex::new(current),
            read_again,
        })
    }

    /// Returns the client, and the version of the URL.
    pub fn client(&self) -> (Client, u64) {
        let current = self.current();
        (current.client.clone(), current.version)
    }

    /// Reads the URL again. Returns whether it differs from the version that was used, so that
    /// another attempt makes sense.
    pub fn refresh(&self, used_version: u64) -> bool {
        let Some(url) = (self.read_again)() else {
            return false;
        };
        let mut current = self.current();
        if current.url.expose_secret() != url.expose_secret() {
            match parse(&url) {
                Ok(client) => {
                    tracing::info!(setting = "REDIS_URL", "reloaded setting from file");
                    *current = CurrentUrl {
                        url,
                        client,
                        version: current.version + 1,
                    };
                }
                Err(reason) => tracing::warn!(
                    setting = "REDIS_URL",
                    reason,
                    "reloading setting from file failed"
                ),
            }
        }
        current.version != used_version
    }

    fn current(&self) -> MutexGuard<'_, CurrentUrl> {
        self.current.lock().expect("no holder panics")
    }
}

fn parse(url: &SecretString) -> Result<Client, String> {
    let url_error =
        |_: RedisError| "must be a URL, for example `redis://USER:PASSWORD@HOST`".to_owned();
    let info = url
        .expose_secret()
        .into_connection_info()
        .map_err(url_error)?;
    // With Nagle's algorithm, a small command might wait 40 ms for the acknowledgment of the
    // previous one.
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    Client::open(info.set_tcp_settings(tcp)).map_err(url_error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn changed_valid_url_replaces_the_previous_one() {
        let file = Arc::new(Mutex::new(Some("redis://:old@127.0.0.1")));
        let content = file.clone();
        let read = move || content.lock().unwrap().map(SecretString::from);
        let source = RedisUrl::new(&"redis://:old@127.0.0.1".into(), Box::new(read)).unwrap();
        for unchanged in [Some("redis://:old@127.0.0.1"), None, Some("nowhere")] {
            *file.lock().unwrap() = unchanged;
            assert!(!source.refresh(0), "{unchanged:?}");
        }
        *file.lock().unwrap() = Some("redis://:new@127.0.0.1");
        assert!(source.refresh(0));
        assert!(
            source.refresh(0),
            "another attempt that used the previous URL"
        );
        assert!(!source.refresh(1));
    }
}
