//! Paths that the systems before used. They work, and the document does not know them.

/// Old name, name.
const OLD_NAMES: &[(&str, &str)] = &[
    ("/refresh-token", "/refresh"),
    ("/refresh_jwt", "/refresh"),
    ("/register", "/signup"),
    ("/send-mail", "/password/forgot"),
];

/// The path under which an operation is known: without a slash at its end, and by its name of
/// today.
pub fn canonical(path: &str) -> &str {
    let path = match path.strip_suffix('/') {
        Some(bare) if !bare.is_empty() => bare,
        _other => path,
    };
    OLD_NAMES
        .iter()
        .find(|(old, _)| *old == path)
        .map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_at_the_end_and_old_names_are_tolerated() {
        assert_eq!(canonical("/items/"), "/items");
        assert_eq!(canonical("/refresh_jwt/"), "/refresh");
        assert_eq!(canonical("/"), "/");
        assert_eq!(canonical("/items//"), "/items/");
    }
}
