//! Path aliases for clients of the systems that the server replaces. The OpenAPI document does not
//! contain them.

/// Alias and current path.
const ALIASES: &[(&str, &str)] = &[
    ("/refresh-token", "/refresh"),
    ("/refresh_jwt", "/refresh"),
    ("/register", "/signup"),
    ("/send-mail", "/password/forgot"),
];

/// Returns the path without a trailing slash, and the current path for an alias.
pub fn canonicalize(path: &str) -> &str {
    let path = match path.strip_suffix('/') {
        Some(trimmed) if !trimmed.is_empty() => trimmed,
        _other => path,
    };
    ALIASES
        .iter()
        .find(|(alias, _)| *alias == path)
        .map_or(path, |(_, current)| current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_slash_and_alias_are_replaced() {
        assert_eq!(canonicalize("/items/"), "/items");
        assert_eq!(canonicalize("/refresh_jwt/"), "/refresh");
        assert_eq!(canonicalize("/"), "/");
        assert_eq!(canonicalize("/items//"), "/items/");
    }
}
