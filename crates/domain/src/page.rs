//! Pages of a list: ordered by id ascending, continued after the last id seen (keyset pagination).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// At most so many.
    pub limit: u8,
    /// Those with a larger id; the nil id comes before all.
    pub after: Uuid,
}

/// The most items of one page.
pub const MAX_LIMIT: u8 = 100;

/// The items of a page when nobody says otherwise.
pub const DEFAULT_LIMIT: u8 = 20;

/// What cursors look like, as a schema's `pattern`: 16 bytes in base64url.
pub const CURSOR: &str = "^[A-Za-z0-9_-]{21}[AQgw]$";

/// The opaque cursor that continues after `last`.
pub fn cursor(last: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(last.as_bytes())
}

impl Page {
    /// Cuts what was read, one more than the page is to have, and gives the cursor of the next page
    /// if there is one.
    pub fn cut<T>(&self, mut read: Vec<T>, id: impl Fn(&T) -> Uuid) -> (Vec<T>, Option<String>) {
        let more = read.len() > usize::from(self.limit);
        read.truncate(usize::from(self.limit));
        let next = read.last().filter(|_| more).map(|last| cursor(id(last)));
        (read, next)
    }
}

/// The id that a cursor continues after.
pub fn position(cursor: &str) -> Option<Uuid> {
    Uuid::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_looks_like_a_cursor_is_one(text in crate::text::that_fit(CURSOR)) {
            prop_assert!(position(&text).is_some());
        }

        #[test]
        fn cursors_come_back(id in any::<u128>()) {
            let id = Uuid::from_u128(id);
            prop_assert_eq!(position(&cursor(id)), Some(id));
        }

        #[test]
        fn any_other_text_is_refused_or_canonical(text in "\\PC{0,30}") {
            if let Some(id) = position(&text) {
                prop_assert_eq!(cursor(id), text);
            }
        }
    }
}
