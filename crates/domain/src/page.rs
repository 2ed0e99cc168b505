//! Pages of a list, ordered by ascending ID and continued after the last ID (keyset pagination).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

/// The requested part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The maximum number of items, from 1 to [`MAX_LIMIT`].
    pub limit: u8,
    /// The last ID of the previous page. The nil UUID selects the first page.
    pub after: Uuid,
}

/// Maximum number of items per page.
///
/// The dashboard reads all sessions of a user as one page, so it must be at least the maximum
/// number of sessions per user.
pub const MAX_LIMIT: u8 = 100;

/// Number of items per page if the request does not contain a limit.
pub const DEFAULT_LIMIT: u8 = 20;

/// The `pattern` of a cursor for the OpenAPI document: 16 bytes in base64url.
pub const CURSOR_PATTERN: &str = "^[A-Za-z0-9_-]{21}[AQgw]$";

/// Returns the opaque cursor of the page after the ID `last`.
pub fn encode_cursor(last: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(last.as_bytes())
}

impl Page {
    /// Truncates a query result to the page, and returns the cursor of the next page, if any.
    ///
    /// The query must read one more item than the limit. The additional item shows whether a next
    /// page exists.
    pub fn cut<T>(&self, mut items: Vec<T>, id: impl Fn(&T) -> Uuid) -> (Vec<T>, Option<String>) {
        let has_more = items.len() > usize::from(self.limit);
        items.truncate(usize::from(self.limit));
        let next = items
            .last()
            .filter(|_| has_more)
            .map(|last| encode_cursor(id(last)));
        (items, next)
    }
}

/// Parses a cursor. Returns the last ID of the previous page, or `None` if it is malformed.
pub fn parse_cursor(cursor: &str) -> Option<Uuid> {
    Uuid::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_that_matches_pattern_is_accepted(text in crate::text::matching(CURSOR_PATTERN)) {
            prop_assert!(parse_cursor(&text).is_some());
        }

        #[test]
        fn encoded_cursor_is_parsed(id in any::<u128>()) {
            let id = Uuid::from_u128(id);
            prop_assert_eq!(parse_cursor(&encode_cursor(id)), Some(id));
        }

        #[test]
        fn accepted_cursor_is_canonical(text in "\\PC{0,30}") {
            if let Some(id) = parse_cursor(&text) {
                prop_assert_eq!(encode_cursor(id), text);
            }
        }
    }
}
