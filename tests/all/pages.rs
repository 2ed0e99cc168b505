//! Tests of the HTML pages and the OpenAPI document. The binary contains all their resources.

use std::io::Read;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use latchkey::error::Code;
use reqwest::{Method, header};
use serde_json::Value;

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

/// Returns the Content-Security-Policy hashes of all elements with this name.
///
/// As in a browser, an element extends to the first closing tag.
fn hash_elements(page: &str, name: &str) -> Vec<String> {
    let mut rest = page;
    let texts = std::iter::from_fn(|| {
        let (_, content) = rest.split_once(&format!("<{name}"))?.1.split_once('>')?;
        let (text, after) = content.split_once(&format!("</{name}"))?;
        rest = after;
        Some(text)
    });
    texts
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
        for reference in references(&text) {
            assert!(!reference.contains("//"), "{path} refers to {reference}");
            assert!(!text.contains("<script src"), "{path}: scripts are inline");
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
    for (path, has_scripts) in [
        ("/", false),
        ("/docs", true),
        ("/forgot", true),
        ("/problems/busy", false),
    ] {
        let page = server.get(path).await;
        let policy = page.header("content-security-policy");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        let text = page.string();
        // Only the first `<style` is an element. Scripts can contain further occurrences as text.
        let (style, scripts) = (
            &hash_elements(&text, "style")[..1],
            hash_elements(&text, "script"),
        );
        assert_eq!(!scripts.is_empty(), has_scripts, "{path}");
        assert!(
            style
                .iter()
                .chain(&scripts)
                .all(|hash| policy.contains(hash)),
            "{path}: {policy}"
        );
        assert!(
            !text
                .split("<script")
                .next()
                .unwrap_or_default()
                .contains(" style="),
            "{path}: a style without a hash"
        );
    }
    let page = server.get("/docs").await;
    assert!(
        page.string().contains("\"tokenUrl\": \"/login\""),
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
        // The bundled script also contains the name of the setting, but not with this value.
        assert_eq!(
            page.contains("persistAuthorization: true"),
            persists,
            "{issuer}"
        );
        assert!(page.contains("<title>Latchkey API</title>"), "{issuer}");
        for setting in ["docExpansion: \"list\"", "defaultModelsExpandDepth: -1"] {
            assert!(page.contains(setting), "{issuer}: {setting}");
        }
    }
}

#[tokio::test]
async fn every_link_of_pages_returns_200() {
    let server = TestServer::shared().await;
    for path in ["/", "/forgot", "/problems", "/problems/busy"] {
        let links = references(&server.get(path).await.string());
        assert!(!links.is_empty(), "{path}");
        for link in links {
            assert_eq!(server.get(&link).await.status, 200, "{path} → {link}");
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
async fn forgot_page_contains_password_rule() {
    let server = TestServer::shared().await;
    let page = server.get("/forgot").await.string();
    assert!(page.contains("At least 8 characters") && page.contains("minlength=\"8\""));
}

/// An outsider must not learn the hosts of other applications.
#[tokio::test]
async fn forgot_page_contains_only_origin_of_referrer() {
    let (app, other) = ("https://app.example.com", "https://other.example.com");
    let origins = format!("{app},{other}");
    let server = TestServer::with(&[("LATCHKEY_CORS_ORIGINS", &origins)]).await;
    let get_from = |referrer| get_with_header(&server, "/forgot", "referer", referrer);
    for referrer in [
        "https://evil.example/",
        "https://app.example.com.evil.example/",
        "x",
    ] {
        let text = get_from(referrer).await.string();
        assert!(!text.contains("example.com"), "{referrer}: {text}");
        assert!(references(&text).contains(&"/".to_owned()), "{referrer}");
    }
    for (referrer, origin) in [
        ("https://app.example.com/login?next=a", app),
        ("https://other.example.com", other),
    ] {
        let page = get_from(referrer).await;
        let text = page.string();
        assert!(references(&text).contains(&format!("{origin}/")), "{text}");
        assert_eq!(text.matches("example.com").count(), 1, "{text}");
        let vary: Vec<_> = page.headers.get_all("vary").iter().collect();
        assert_eq!(vary, ["Accept-Encoding", "Referer"]);
    }
    let etag = get_from(app).await.header("etag").to_owned();
    let request = server
        .request(Method::GET, "/forgot")
        .header("if-none-match", etag);
    let without_referrer = server.send(request).await;
    assert_eq!(
        without_referrer.status, 200,
        "each variant has its own ETag"
    );
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
async fn large_pages_are_compressed_and_revalidated_by_etag() {
    let server = TestServer::shared().await;
    for path in ["/docs", "/openapi.json"] {
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
            decompressed == plain.bytes && compressed.bytes.len() * 2 < plain.bytes.len(),
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
        assert_eq!(
            plain.header("cache-control"),
            "no-cache",
            "browsers revalidate the cached page"
        );
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
