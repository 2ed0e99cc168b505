//! Tests of the HTML pages and the OpenAPI document. The binary contains all their resources.

use std::io::Read;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use latchkey::error::Code;
use reqwest::{Method, header};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    contract::DOCUMENT,
    test_server::{TestResponse, TestServer},
};

async fn get_with_header(server: &TestServer, path: &str, name: &str, value: &str) -> TestResponse {
    server
        .send(server.request(Method::GET, path).header(name, value))
        .await
}

/// Returns the values of `src` and `href` in a page, without the contents of scripts and styles.
fn references(page: &str) -> Vec<String> {
    let markup: String = page
        .split("<script")
        .map(|part| part.split_once("</script>").map_or(part, |(_, rest)| rest))
        .collect();
    let markup: String = markup
        .split("<style")
        .map(|part| part.split_once("</style>").map_or(part, |(_, rest)| rest))
        .collect();
    let values_of = |name: &'static str| {
        markup
            .split(name)
            .skip(1)
            .map(|rest| {
                rest.split(['"', '\''])
                    .nth(1)
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect::<Vec<_>>()
    };
    [values_of("src="), values_of("href=")].concat()
}

/// Returns the URLs of the scripts that a page loads.
fn scripts(page: &str) -> Vec<String> {
    let urls = page.split("<script src=\"").skip(1);
    urls.map(|rest| rest.split('"').next().unwrap_or_default().to_owned())
        .collect()
}

/// Returns the paths of the script and of the style of Swagger UI.
fn swagger_assets(page: &str) -> [String; 2] {
    let styles = references(page)
        .into_iter()
        .filter(|path| path.ends_with(".css"));
    let assets: Vec<String> = scripts(page).into_iter().chain(styles).collect();
    assets.try_into().expect("one script and one style")
}

/// Returns the Content-Security-Policy hashes of all inline elements with this name.
///
/// As in a browser, an element extends to the first closing tag.
fn hash_elements(page: &str, name: &str) -> Vec<String> {
    let mut rest = page;
    let elements = std::iter::from_fn(|| {
        let (attributes, content) = rest.split_once(&format!("<{name}"))?.1.split_once('>')?;
        let (text, after) = content.split_once(&format!("</{name}"))?;
        rest = after;
        Some((attributes, text))
    });
    elements
        .filter(|(attributes, _)| !attributes.contains("src="))
        .map(|(_, text)| text)
        .map(|text| {
            format!(
                "'sha256-{}'",
                STANDARD.encode(digest(&SHA256, text.as_bytes()))
            )
        })
        .collect()
}

#[tokio::test]
async fn pages_load_nothing_from_other_hosts() {
    let server = TestServer::shared().await;
    for path in [
        "/",
        "/docs",
        "/forgot",
        "/problems",
        "/problems/weak_password",
    ] {
        let page = server.get(path).await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, "text/html; charset=utf-8"),
            "{path}"
        );
        let text = page.string();
        assert!(
            text.trim_start()
                .to_lowercase()
                .starts_with("<!doctype html>"),
            "{path}"
        );
        for reference in references(&text).into_iter().chain(scripts(&text)) {
            assert!(!reference.contains("//"), "{path} refers to {reference}");
        }
        let policy = page.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("http"),
            "{path}: {policy}"
        );
    }
}

/// The policy contains the hash of each inline style and script and allows no others. The browser
/// tests verify that the pages work with this policy.
#[tokio::test]
async fn content_security_policy_allows_inline_elements_by_hash() {
    let server = TestServer::shared().await;
    for (path, styles, inline_scripts) in [("/", 0, 0), ("/docs", 0, 1), ("/problems/busy", 0, 0)] {
        let page = server.get(path).await;
        let policy = page.header("content-security-policy");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        let text = page.string();
        let (style, scripts) = (
            hash_elements(&text, "style"),
            hash_elements(&text, "script"),
        );
        assert_eq!(
            (style.len(), scripts.len()),
            (styles, inline_scripts),
            "{path}"
        );
        assert!(
            style
                .iter()
                .chain(&scripts)
                .all(|hash| policy.contains(hash)),
            "{path}: {policy}"
        );
        assert!(!text.contains(" style="), "{path}: a style without a hash");
    }
    let page = server.get("/docs").await;
    assert_eq!(
        page.header("content-security-policy")
            .split("; ")
            .filter(|directive| !directive.starts_with("script-src"))
            .collect::<Vec<_>>(),
        [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src data:",
        ]
    );
    assert_eq!(
        DOCUMENT["components"]["securitySchemes"]["password"]["flows"]["password"]["tokenUrl"],
        "/login",
        "*Authorize* uses this server"
    );
}

/// Swagger UI stores credentials in the browser only on a developer's machine.
#[tokio::test]
async fn swagger_ui_stores_credentials_only_with_loopback_issuer() {
    for (issuer, persists) in [
        ("http://127.0.0.1:8000", true),
        ("http://localhost", true),
        ("https://auth.example.com", false),
    ] {
        let server = TestServer::with(&[("LATCHKEY_ISSUER", issuer)]).await;
        let page = server.get("/docs").await.string();
        assert_eq!(
            page.contains("persistAuthorization: true"),
            persists,
            "{issuer}"
        );
        for part in [
            "<title>Latchkey API</title>",
            "url: '/openapi.json'",
            "docExpansion: 'list'",
            "defaultModelsExpandDepth: 0",
            // Otherwise, the page would refer to a validator on the Internet.
            "validatorUrl: null",
        ] {
            assert!(page.contains(part), "{issuer}: {part}");
        }
    }
}

#[tokio::test]
async fn swagger_ui_assets_have_hashed_names_and_are_immutable() {
    let server = TestServer::shared().await;
    let page = get_with_header(&server, "/docs", "accept-encoding", "gzip").await;
    let page_bytes = page.bytes.len();
    assert!(page_bytes < 1500, "{page_bytes} bytes");
    let [script, style] = swagger_assets(&server.get("/docs").await.string());
    for (path, extension, media_type) in [
        (&script, "js", "text/javascript; charset=utf-8"),
        (&style, "css", "text/css; charset=utf-8"),
    ] {
        let asset = server.get(path).await;
        let hash = digest(&SHA256, &asset.bytes).as_ref()[..8]
            .iter()
            .fold(String::new(), |hash, byte| format!("{hash}{byte:02x}"));
        assert_eq!(*path, format!("/docs/swagger-ui-{hash}.{extension}"));
        assert_eq!(
            (asset.header("content-type"), asset.header("cache-control")),
            (media_type, "public, max-age=31536000, immutable"),
            "{path}"
        );
        let method = Method::POST;
        let response = server.send(server.request(method, path)).await;
        assert_eq!(
            response.is(405, "method_not_allowed").header("allow"),
            "GET, HEAD"
        );
        let head = server.send(server.request(Method::HEAD, path)).await;
        assert_eq!((head.status, head.bytes.len()), (200, 0), "{path}");
    }
    for unknown in [
        "/docs/swagger-ui.js",
        "/docs/swagger-ui-0000000000000000.js",
        "/docs/swagger-ui-bundle.js",
        "/docs/oauth-receiver.html",
        "/docs/..%2fopenapi.json",
    ] {
        let response = server.get(unknown).await;
        assert_eq!(
            response.is(404, "not_found").header("cache-control"),
            "no-store",
            "{unknown}"
        );
    }
}

/// RFC 9116. An expired file and one that expires in a year or later are invalid.
#[tokio::test]
async fn security_txt_contains_contact_and_expires_within_a_year() {
    let contact = "mailto:security@example.com";
    let server = TestServer::with(&[
        ("LATCHKEY_SECURITY_CONTACT", contact),
        ("LATCHKEY_ISSUER", "https://auth.example.com/"),
    ])
    .await;
    let path = "/.well-known/security.txt";
    let file = server.get(path).await;
    assert_eq!(
        (file.status, file.header("content-type")),
        (200, "text/plain; charset=utf-8")
    );
    let text = file.string();
    let (fields, expires): (Vec<_>, Vec<_>) = text
        .lines()
        .map(|line| line.split_once(": ").expect("a field"))
        .partition(|(name, _)| *name != "Expires");
    assert_eq!(
        fields,
        [
            ("Contact", contact),
            ("Preferred-Languages", "en"),
            (
                "Canonical",
                "https://auth.example.com/.well-known/security.txt"
            ),
        ]
    );
    assert!(text.ends_with('\n'), "each line ends with a line feed");
    let [(_, expires)] = expires[..] else {
        panic!("one `Expires`: {text}")
    };
    let expires = OffsetDateTime::parse(expires, &Rfc3339).expect("a timestamp of RFC 3339");
    let remaining = expires - OffsetDateTime::now_utc();
    assert!(
        (170..365).contains(&remaining.whole_days()),
        "{remaining:?}"
    );
    let head = server.send(server.request(Method::HEAD, path)).await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    let post = server.send(server.request(Method::POST, path)).await;
    assert_eq!(
        post.is(405, "method_not_allowed").header("allow"),
        "GET, HEAD"
    );
}

/// A web URL in this file must start with `https://` (RFC 9116 section 2.5.2).
#[tokio::test]
async fn security_txt_has_canonical_url_only_with_https() {
    let server = TestServer::with(&[
        ("LATCHKEY_SECURITY_CONTACT", "https://example.com/report"),
        ("LATCHKEY_ISSUER", "http://localhost"),
    ])
    .await;
    let text = server.get("/.well-known/security.txt").await.string();
    assert!(text.starts_with("Contact: https://example.com/report\n"));
    assert!(
        text.contains("\nExpires: ") && !text.contains("Canonical"),
        "{text}"
    );
}

#[tokio::test]
async fn security_txt_without_contact_returns_404() {
    let server = TestServer::shared().await;
    for method in [Method::GET, Method::POST] {
        let request = server.request(method, "/.well-known/security.txt");
        server.send(request).await.is(404, "not_found");
    }
}

#[tokio::test]
async fn every_link_of_pages_returns_200() {
    let server = TestServer::shared().await;
    for path in ["/", "/docs", "/forgot", "/problems", "/problems/busy"] {
        let links = references(&server.get(path).await.string());
        assert!(!links.is_empty(), "{path}");
        for link in links.iter().filter(|link| !link.starts_with("data:")) {
            assert_eq!(server.get(link).await.status, 200, "{path} → {link}");
        }
    }
}

#[tokio::test]
async fn unknown_path_returns_html_only_to_browsers() {
    let server = TestServer::shared().await;
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for path in [
        "/nope",
        "/nope/",
        "/items/a/b",
        "/docs/x",
        "/problems/nope",
        "/problems/busy/x",
        "/oauth/nope",
        "/health/nope",
        "/.well-known/nope",
    ] {
        let page = get_with_header(&server, path, "accept", browser).await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (404, "text/html; charset=utf-8"),
            "{path}"
        );
        assert!(page.string().contains("Page not found"), "{path}");
        assert!(
            page.header("content-security-policy")
                .starts_with("default-src 'none'"),
            "{path}"
        );
        for link in references(&page.string()) {
            assert_eq!(server.get(&link).await.status, 200, "{path} → {link}");
        }
        for accept in ["*/*", "application/json", "text/html;q=0, */*"] {
            get_with_header(&server, path, "accept", accept)
                .await
                .is(404, "not_found");
        }
    }
    // An operation responds with an API error for every `Accept`.
    let session = server.sign_up("john").await;
    let missing = server
        .request(Method::GET, "/items/018f0000-0000-7000-8000-000000000000")
        .header("accept", browser);
    server
        .send(missing.bearer_auth(&session.access_token))
        .await
        .is(404, "not_found");
    let post = server
        .request(Method::POST, "/nope")
        .header("accept", browser);
    server.send(post).await.is(404, "not_found");
}

#[tokio::test]
async fn every_error_code_has_a_page() {
    let server = TestServer::shared().await;
    let codes = DOCUMENT["components"]["schemas"]["ErrorCode"]["enum"]
        .as_array()
        .expect("a list");
    let list = server.get("/problems").await.string();
    assert!(codes.len() > 20);
    for code in codes.iter().filter_map(Value::as_str) {
        let page = server.get(&format!("/problems/{code}")).await;
        assert!(
            page.status == 200 && page.string().contains(code) && list.contains(code),
            "{code}"
        );
    }
    for code in Code::ALL {
        let page = server.get(&format!("/problems/{}", code.slug())).await;
        let (page, escape) = (page.string(), |text: &str| text.replace('\'', "&#39;"));
        let parts = [code.title(), code.cause(), code.fix()];
        for part in parts.iter().flat_map(|text| text.split('`')) {
            assert!(page.contains(&escape(part)), "{part} is not in {page}");
        }
        assert!(page.contains("request_id"), "the page has an example");
        let fix = code.fix().split('`').next().unwrap_or_default();
        assert!(list.contains(&escape(fix)), "{fix}");
    }
    server
        .get("/problems/%3Cscript%3E")
        .await
        .is(404, "not_found");
}

#[tokio::test]
async fn served_openapi_document_equals_printed_document() {
    let server = TestServer::shared().await;
    let served = server.get("/openapi.json").await;
    assert_eq!(
        (served.header("content-type"), &served.body),
        ("application/json", &*DOCUMENT)
    );
}

#[tokio::test]
async fn assets_are_compressed_and_revalidated_by_etag() {
    let server = TestServer::shared().await;
    let [script, style] = swagger_assets(&server.get("/docs").await.string());
    let immutable = "public, max-age=31536000, immutable";
    for (path, cache_control) in [
        ("/docs", "no-cache"),
        ("/openapi.json", "no-cache"),
        (&script, immutable),
        (&style, immutable),
    ] {
        let plain = server.get(path).await;
        assert_eq!(plain.header("content-encoding"), "");
        let compressed = get_with_header(&server, path, "accept-encoding", "br, gzip").await;
        assert_eq!(
            (
                compressed.header("content-encoding"),
                compressed.header("vary")
            ),
            ("gzip", "Accept-Encoding")
        );
        let mut decompressed = Vec::new();
        flate2::read::GzDecoder::new(compressed.bytes.as_slice())
            .read_to_end(&mut decompressed)
            .expect("gzip");
        assert!(
            decompressed == plain.bytes && compressed.bytes.len() < plain.bytes.len(),
            "{path}"
        );
        let identity =
            get_with_header(&server, path, "accept-encoding", "gzip;q=0, identity").await;
        assert_eq!(
            (identity.header("content-encoding"), identity.bytes.len()),
            ("", plain.bytes.len()),
            "{path}"
        );
        let etag = plain.header("etag").to_owned();
        assert!(
            etag.starts_with("W/\""),
            "a weak ETag, because it identifies two encodings: {etag}"
        );
        assert_eq!(plain.header("cache-control"), cache_control, "{path}");
        let revalidated =
            get_with_header(&server, path, header::IF_NONE_MATCH.as_str(), &etag).await;
        assert_eq!(
            (
                revalidated.status,
                revalidated.bytes.len(),
                revalidated.header("etag")
            ),
            (304, 0, etag.as_str()),
            "{path}"
        );
        assert_eq!(
            get_with_header(&server, path, "if-none-match", "\"another\"")
                .await
                .status,
            200,
            "{path}"
        );
    }
}
