//! The settings of pages: the name of the service and the theme.

use super::Value;

const MAX_BRAND_CHARACTERS: usize = 40;

/// The size limit of a theme, in bytes.
const MAX_THEME_BYTES: usize = 64 * 1024;

/// The name of the service in pages and emails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brand(String);

impl Brand {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for Brand {
    fn read(text: &str) -> Result<Self, String> {
        // Subjects of emails contain the name.
        let is_valid = (1..=MAX_BRAND_CHARACTERS).contains(&text.chars().count())
            && !text.contains(char::is_control);
        is_valid.then(|| Brand(text.to_owned())).ok_or_else(|| {
            format!("must be a name of at most {MAX_BRAND_CHARACTERS} characters on one line")
        })
    }
}

/// The content of a CSS file that changes the appearance of pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Theme(String);

impl Theme {
    /// Returns the CSS.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks CSS. The content security policy would also block resources of other hosts, but an
    /// error at the start is clearer.
    fn parse(css: String) -> Result<Theme, String> {
        let compact: String = css
            .chars()
            .filter(|c| !c.is_whitespace() && !"\"'\\".contains(*c))
            .collect::<String>()
            .to_ascii_lowercase();
        let has_other_url = compact
            .split("url(")
            .skip(1)
            .any(|rest| !rest.starts_with("data:"));
        if css.len() > MAX_THEME_BYTES {
            Err(format!("must have at most {MAX_THEME_BYTES} bytes"))
        } else if compact.contains("@import") || has_other_url {
            Err("must not contain `@import`, or `url()` other than `data:` URLs".into())
        } else {
            Ok(Theme(css))
        }
    }
}

impl Value for Theme {
    fn read(text: &str) -> Result<Self, String> {
        let css = std::fs::read_to_string(text)
            .map_err(|error| format!("must be the path of a readable UTF-8 file ({error})"))?;
        Theme::parse(css)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brand_is_one_short_line() {
        for valid in ["Example", "Café 24/7", &"x".repeat(40)] {
            assert_eq!(Brand::read(valid).unwrap().as_str(), valid);
        }
        for invalid in ["", "a\nb", "a\u{7f}", &"x".repeat(41)] {
            assert!(Brand::read(invalid).is_err(), "{invalid:?}");
        }
    }

    #[test]
    fn theme_loads_no_other_resources() {
        let parse = |css: &str| Theme::parse(css.to_owned());
        for valid in [
            "",
            ":root { --accent: #067; }",
            ":root { --logo: url(\"data:image/svg+xml,x\"); }",
            ":root { --logo: URL( data:image/png;base64,x ); }",
        ] {
            assert!(parse(valid).is_ok(), "{valid}");
        }
        for invalid in [
            "@import 'a.css';",
            "@IMPORT url(data:text/css,x);",
            "a { background: url(https://example.com/a.png) }",
            "a { background: url( '/a.png' ) }",
            "a { background: u\\rl(/a.png) }",
            &"x".repeat(MAX_THEME_BYTES + 1),
        ] {
            assert!(parse(invalid).is_err(), "{invalid:.60}");
        }
    }
}
