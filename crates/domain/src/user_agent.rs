//! Descriptions of `User-Agent` headers for users, such as "Firefox on Linux".
//!
//! The tables contain only common programs and systems. For all others, the start of the header is
//! shown.

/// A part of the header, and the program that it identifies.
///
/// The headers of most browsers also contain the names of older browsers, so specific parts come
/// first.
const PROGRAMS: &[(&str, &str)] = &[
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edge/", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("Opera", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("Wget/", "Wget"),
    ("HTTPie/", "HTTPie"),
    ("PostmanRuntime/", "Postman"),
    ("insomnia/", "Insomnia"),
    ("python-requests/", "Python requests"),
    ("python-httpx/", "Python HTTPX"),
    ("aiohttp/", "Python aiohttp"),
    ("Python-urllib/", "Python urllib"),
    ("okhttp/", "OkHttp"),
    ("Go-http-client/", "Go"),
    ("axios/", "axios"),
    ("undici", "Node.js"),
    ("Dart/", "Dart"),
    ("Java/", "Java"),
    ("Java-http-client/", "Java"),
];

/// A part of the header, and the operating system that it identifies.
///
/// The headers of phones also contain the names of desktop systems, so phones come first.
const SYSTEMS: &[(&str, &str)] = &[
    ("iPhone", "iOS"),
    ("iPad", "iOS"),
    ("iPod", "iOS"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
    ("X11", "Linux"),
];

/// Maximum length of the description of an unknown header.
const MAX_UNKNOWN_CHARACTERS: usize = 40;

/// Returns the program and its system, or the start of an unknown header.
pub fn describe(agent: &str) -> String {
    known(agent).unwrap_or_else(|| shorten(agent))
}

/// Returns a known program and its system. The text never contains parts of the header.
pub fn known(agent: &str) -> Option<String> {
    let find_name = |table: &[(&str, &'static str)]| {
        table
            .iter()
            .find(|(part, _)| agent.contains(part))
            .map(|(_, name)| *name)
    };
    let program = find_name(PROGRAMS)?;
    Some(match find_name(SYSTEMS) {
        Some(system) => format!("{program} on {system}"),
        None => program.to_owned(),
    })
}

fn shorten(agent: &str) -> String {
    let agent = agent.trim();
    match agent.char_indices().nth(MAX_UNKNOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", agent[..end].trim_end()),
        None => agent.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn common_user_agents_are_described() {
        let windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 \
            (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
        let android = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 \
            (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36";
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 \
            (KHTML, like Gecko)";
        let mac = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 \
            (KHTML, like Gecko) Version/17.5 Safari/605.1.15";
        let samsung = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 \
            (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36";
        let chromebook = "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 \
            (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
        let cases = [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0",
                "Firefox on Windows",
            ),
            (
                "Mozilla/5.0 (Android 14; Mobile; rv:132.0) Gecko/132.0 Firefox/132.0",
                "Firefox on Android",
            ),
            (windows, "Chrome on Windows"),
            (&format!("{windows} Edg/131.0.0.0"), "Edge on Windows"),
            (&format!("{windows} OPR/115.0.0.0"), "Opera on Windows"),
            (android, "Chrome on Android"),
            (&format!("{android} EdgA/131.0.0.0"), "Edge on Android"),
            (samsung, "Samsung Internet on Android"),
            (chromebook, "Chrome on ChromeOS"),
            (mac, "Safari on macOS"),
            (
                &format!("{iphone} Version/17.5 Mobile/15E148 Safari/604.1"),
                "Safari on iOS",
            ),
            (
                &format!("{iphone} CriOS/131.0.6778.73 Mobile/15E148 Safari/604.1"),
                "Chrome on iOS",
            ),
            (
                &format!("{iphone} FxiOS/132.0 Mobile/15E148 Safari/605.1.15"),
                "Firefox on iOS",
            ),
            (
                &format!("{iphone} EdgiOS/131.0.2903.68 Version/17.0 Mobile/15E148 Safari/604.1"),
                "Edge on iOS",
            ),
            (
                &windows.replace("Chrome/", "HeadlessChrome/"),
                "Chrome on Windows",
            ),
            ("curl/7.88.1", "curl"),
            ("Wget/1.21.3", "Wget"),
            ("HTTPie/3.2.2", "HTTPie"),
            ("PostmanRuntime/7.42.0", "Postman"),
            ("python-requests/2.32.3", "Python requests"),
            ("Python/3.12 aiohttp/3.10.10", "Python aiohttp"),
            ("okhttp/4.12.0", "OkHttp"),
            ("Go-http-client/1.1", "Go"),
            ("Go-http-client/2.0", "Go"),
            ("Dart/3.5 (dart:io)", "Dart"),
        ];
        for (agent, description) in cases {
            assert_eq!(describe(agent), description, "{agent}");
        }
    }

    #[test]
    fn unknown_user_agent_is_shortened() {
        assert_eq!(describe("acme-sync/2.1 (Linux)"), "acme-sync/2.1 (Linux)");
        assert_eq!(describe(&"x".repeat(41)), format!("{}…", "x".repeat(40)));
        assert_eq!(describe(""), "");
        assert_eq!(known("acme-sync/2.1 (Linux)"), None);
    }

    proptest! {
        #[test]
        fn description_is_short(agent in "\\PC{0,300}") {
            prop_assert!(describe(&agent).chars().count() <= MAX_UNKNOWN_CHARACTERS + 1);
        }
    }
}
