use poem::http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::try_from(*name).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// Reads headers that came over this number of proxies; returns method, origin, and URI.
fn read(hops: usize, fields: &[(&str, &str)]) -> Result<[String; 3], String> {
    let headers = headers(fields);
    let original = OriginalRequest::from_headers(&headers, || hops);
    let original = original.map_err(|error| match error {
        Error::InvalidRequest { field_errors, .. } => field_errors[0].field.to_string(),
        other => panic!("{other:?}"),
    })?;
    Ok([
        original.method.unwrap_or_default().to_owned(),
        original
            .origin
            .map_or_else(String::new, |origin| origin.as_str().to_owned()),
        original.uri.unwrap_or_default().to_owned(),
    ])
}

fn origin_of(hops: usize, scheme: &str, host: &str) -> Result<String, String> {
    let fields = [(FORWARDED_PROTO, scheme), (FORWARDED_HOST, host)];
    read(hops, &fields).map(|[_, origin, _]| origin)
}

#[test]
fn fields_of_both_kinds_are_read() {
    let forwarded = [
        (FORWARDED_METHOD, "GET"),
        (FORWARDED_PROTO, "https"),
        (FORWARDED_HOST, "app.example.com"),
        (FORWARDED_URI, "/a?b=c,d"),
    ];
    let url = [
        (ORIGINAL_METHOD, "GET"),
        (ORIGINAL_URL, "https://app.example.com/a?b=c,d"),
    ];
    let expected = Ok(["GET", "https://app.example.com", "/a?b=c,d"].map(str::to_owned));
    assert_eq!(read(1, &forwarded), expected);
    assert_eq!(read(1, &url), expected);
    assert_eq!(read(1, &[&forwarded[..], &url].concat()), expected);
    assert_eq!(read(1, &[]), Ok([const { String::new() }; 3]));
}

#[test]
fn equal_origins_do_not_contradict() {
    for (scheme, host, url) in [
        ("https", "APP.example.com:443", "HTTPS://app.example.com/"),
        ("wss", "app.example.com", "https://app.example.com/"),
        ("https", "app.example.com", "wss://app.example.com:443/"),
        ("https", "app.example.com", "https://app.example.com"),
    ] {
        let fields = [
            (FORWARDED_PROTO, scheme),
            (FORWARDED_HOST, host),
            (ORIGINAL_URL, url),
        ];
        let [_, origin, _] = read(1, &fields).unwrap();
        assert_eq!(origin, "https://app.example.com", "{url}");
    }
}

#[test]
fn repeated_and_contradictory_fields_are_errors() {
    for (fields, invalid) in [
        (
            vec![(FORWARDED_METHOD, "GET"), (FORWARDED_METHOD, "GET")],
            FORWARDED_METHOD,
        ),
        (
            vec![(ORIGINAL_METHOD, "GET"), (ORIGINAL_METHOD, "POST")],
            ORIGINAL_METHOD,
        ),
        (
            vec![(FORWARDED_METHOD, "GET"), (ORIGINAL_METHOD, "POST")],
            FORWARDED_METHOD,
        ),
        (
            vec![(FORWARDED_HOST, "a.example"), (FORWARDED_HOST, "a.example")],
            FORWARDED_HOST,
        ),
        (
            vec![(FORWARDED_PROTO, "https"), (FORWARDED_PROTO, "http")],
            FORWARDED_PROTO,
        ),
        (
            vec![(FORWARDED_URI, "/"), (FORWARDED_URI, "/")],
            FORWARDED_URI,
        ),
        (
            vec![
                (ORIGINAL_URL, "https://a.example/"),
                (ORIGINAL_URL, "https://a.example/"),
            ],
            ORIGINAL_URL,
        ),
        (
            vec![
                (ORIGINAL_URL, "https://a.example/"),
                (FORWARDED_PROTO, "http"),
            ],
            FORWARDED_PROTO,
        ),
        (
            vec![
                (ORIGINAL_URL, "https://a.example/"),
                (FORWARDED_HOST, "b.example"),
            ],
            FORWARDED_HOST,
        ),
        (
            vec![
                (ORIGINAL_URL, "https://a.example/"),
                (FORWARDED_HOST, "a.example."),
            ],
            FORWARDED_HOST,
        ),
        (
            vec![
                (ORIGINAL_URL, "https://a.example/"),
                (FORWARDED_HOST, "a.example:8443"),
            ],
            FORWARDED_HOST,
        ),
        (
            vec![(ORIGINAL_URL, "https://a.example/b"), (FORWARDED_URI, "/c")],
            FORWARDED_URI,
        ),
        (vec![(ORIGINAL_URL, "/b")], ORIGINAL_URL),
        (vec![(ORIGINAL_URL, "ftp://a.example/b")], ORIGINAL_URL),
        (
            vec![(ORIGINAL_URL, "https://john@a.example/b")],
            ORIGINAL_URL,
        ),
    ] {
        assert_eq!(read(1, &fields), Err(invalid.to_owned()), "{fields:?}");
    }
}

#[test]
fn incomplete_or_unknown_origin_is_none() {
    let none = Ok(String::new());
    assert_eq!(origin_of(1, "https", ""), none);
    assert_eq!(origin_of(1, "", "app.example.com"), none);
    assert_eq!(origin_of(1, "ftp", "app.example.com"), none);
    assert_eq!(origin_of(1, "https", "app example.com"), none);
    let dot = Ok("https://app.example.com.".to_owned());
    assert_eq!(origin_of(1, "https", "app.example.com."), dot);
}

#[test]
fn lists_are_read_from_right_to_left() {
    let https = Ok("https://app.example.com".to_owned());
    let http = Ok("http://app.example.com".to_owned());
    let host = "app.example.com";
    assert_eq!(origin_of(2, "https, http", host), https);
    assert_eq!(origin_of(1, "https, http", host), http);
    assert_eq!(origin_of(0, "https, http", host), http);
    assert_eq!(origin_of(2, "https", host), https);
    assert_eq!(origin_of(2, "http,https , http", host), https);
    assert_eq!(
        origin_of(2, "https,http", "evil.example, app.example.com, b"),
        https
    );
    let too_short = Err(FORWARDED_PROTO.to_owned());
    assert_eq!(origin_of(3, "https, http", host), too_short);
    assert_eq!(origin_of(1, "https,", host), too_short);
}

#[test]
fn browsers_return_to_paths_only() {
    let long = format!("/{}", "a".repeat(2_048));
    for (uri, expected) in [
        ("/", "/"),
        ("/a/../b?c=//d", "/a/../b?c=//d"),
        ("", ""),
        ("a", ""),
        ("//evil.example/", ""),
        ("http://evil.example/", ""),
        ("/a b", ""),
        ("/\\evil.example", ""),
        (&long, ""),
    ] {
        let [_, _, uri] = read(1, &[(FORWARDED_URI, uri)]).unwrap();
        assert_eq!(uri, expected);
    }
}

proptest! {
    /// Whatever entries the client sends, the result is the entry of the outermost proxy.
    #[test]
    fn client_does_not_choose_the_entry(
        sent in proptest::collection::vec("[a-z]{1,5}(\\.example)?", 0..4),
        appended in proptest::collection::vec("[a-z]{1,5}\\.test", 2..4),
    ) {
        let list = [sent, appended.clone()].concat().join(", ");
        let origin = origin_of(appended.len(), "https", &list).unwrap();
        prop_assert_eq!(origin, format!("https://{}", appended[0]));
    }
}
