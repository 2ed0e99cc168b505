//! Reads lists of the use cases page by page.

use latchkey::error::Error;
use latchkey_domain::page::{self, MAX_LIMIT, Page};
use uuid::Uuid;

/// The items of one or several pages, and the cursor of the next page; `None` after the last page.
pub type Items<T> = (Vec<T>, Option<String>);

/// Reads a list that is continued after an ID, up to `limit` items. `None` reads the complete list.
pub async fn read_pages<T>(
    limit: Option<u32>,
    read_page: impl AsyncFn(Page) -> Result<Items<T>, Error>,
) -> Result<Items<T>, Error> {
    read_pages_after(limit, page::parse_cursor, async |limit, after| {
        let after = after.unwrap_or(Uuid::nil());
        read_page(Page { limit, after }).await
    })
    .await
}

/// Reads a list that is continued after a key of any type, up to `limit` items. `read_page` gets
/// the size of the page, and the key of the last item of the previous page.
pub async fn read_pages_after<T, K>(
    limit: Option<u32>,
    parse_cursor: impl Fn(&str) -> Option<K>,
    read_page: impl AsyncFn(u8, Option<K>) -> Result<Items<T>, Error>,
) -> Result<Items<T>, Error> {
    let mut items = Vec::new();
    let mut after = None;
    loop {
        let size = page_size(limit, items.len());
        let (page, next) = read_page(size, after).await?;
        items.extend(page);
        after = next.as_deref().and_then(&parse_cursor);
        if after.is_none() || page_size(limit, items.len()) == 0 {
            return Ok((items, next));
        }
    }
}

/// Returns the size of the next page, with which a list has at most `limit` items.
fn page_size(limit: Option<u32>, listed: usize) -> u8 {
    let Some(limit) = limit else { return MAX_LIMIT };
    u8::try_from((limit as usize).saturating_sub(listed))
        .unwrap_or(MAX_LIMIT)
        .min(MAX_LIMIT)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Reads the numbers from 1 to `count`. Returns the number of items, the sizes of the pages,
    /// and whether there is a next page.
    async fn read_numbers(count: u128, limit: Option<u32>) -> (usize, Vec<u8>, bool) {
        let sizes = RefCell::new(Vec::new());
        let (items, next) = read_pages(limit, async |page: Page| {
            sizes.borrow_mut().push(page.limit);
            let first = page.after.as_u128() + 1;
            let rows = (first..=count).take(usize::from(page.limit) + 1).collect();
            Ok(page.cut(rows, |number| Uuid::from_u128(*number)))
        })
        .await
        .unwrap();
        assert!(items.iter().copied().eq(1..=items.len() as u128));
        (items.len(), sizes.into_inner(), next.is_some())
    }

    #[tokio::test]
    async fn complete_list_is_read_without_a_limit() {
        assert_eq!(read_numbers(0, None).await, (0, vec![100], false));
        assert_eq!(read_numbers(100, None).await, (100, vec![100], false));
        let sizes = vec![100, 100, 100];
        assert_eq!(read_numbers(201, None).await, (201, sizes, false));
    }

    #[tokio::test]
    async fn limit_cuts_the_last_page() {
        assert_eq!(read_numbers(60, Some(50)).await, (50, vec![50], true));
        assert_eq!(read_numbers(50, Some(50)).await, (50, vec![50], false));
        let sizes = vec![100, 100, 50];
        assert_eq!(read_numbers(300, Some(250)).await, (250, sizes, true));
        assert_eq!(read_numbers(7, Some(u32::MAX)).await, (7, vec![100], false));
    }

    #[tokio::test]
    async fn empty_page_with_a_next_page_is_continued() {
        let (items, next) = read_pages_after(
            Some(2),
            |cursor| cursor.parse::<u8>().ok(),
            async |_size, after: Option<u8>| {
                let number = after.unwrap_or(0) + 1;
                let items = if number < 3 { Vec::new() } else { vec![number] };
                Ok((items, (number < 9).then(|| number.to_string())))
            },
        )
        .await
        .unwrap();
        assert_eq!((items, next), (vec![3, 4], Some("4".to_owned())));
    }
}
