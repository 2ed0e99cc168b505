use proptest::prelude::*;

use super::*;
use crate::web_origin::WebOrigin;

/// The fields in the order of the struct; an empty text is an empty field.
fn fields<'a>(values: [&'a str; 6]) -> OriginalRequestFields<'a> {
    let [method, original_method, proto, host, uri, url] = values.map(str::as_bytes);
    OriginalRequestFields {
        forwarded_method: Some(method),
        original_method: Some(original_method),
        forwarded_proto: Some(proto),
        forwarded_host: Some(host),
        forwarded_uri: Some(uri),
        original_url: Some(url),
    }
}

fn read(values: [&str; 6]) -> Result<OriginalRequest<'_>, &'static str> {
    OriginalRequest::read(fields(values), || 1).map_err(|error| error.field)
}

fn origin(values: [&str; 6]) -> Option<String> {
    let origin = read(values).unwrap().origin;
    origin.map(|origin| origin.to_web_origin().as_str().to_owned())
}

const APP: &str = "https://app.example.com";
const HOST: &str = "app.example.com";

#[test]
fn absent_and_empty_fields_have_no_parts() {
    let absent = OriginalRequest::read(OriginalRequestFields::default(), || unreachable!());
    assert_eq!(absent, Ok(OriginalRequest::default()));
    assert_eq!(
        read(["", "", "", "", "", " "]),
        Ok(OriginalRequest::default())
    );
}

#[test]
fn method_is_token_of_either_field() {
    for (forwarded, original, method) in [
        ("GET", "", Some("GET")),
        ("", "POST", Some("POST")),
        ("get", "get", Some("get")),
        ("GET, POST", "", None),
        ("\u{e9}", "", None),
    ] {
        let original = read([forwarded, original, "", "", "", ""]).unwrap();
        assert_eq!(original.method, method, "{forwarded}");
    }
    let other_case = read(["GET", "get", "", "", "", ""]);
    assert_eq!(other_case, Err("X-Forwarded-Method"));
}

#[test]
fn origin_is_normalized() {
    for (proto, host, expected) in [
        ("https", HOST, Some(APP)),
        ("HTTPS", "APP.Example.com:443", Some(APP)),
        ("wss", HOST, Some(APP)),
        ("ws", HOST, Some("http://app.example.com")),
        (
            "https",
            "app.example.com:8443",
            Some("https://app.example.com:8443"),
        ),
        (
            "https",
            "app.example.com.",
            Some("https://app.example.com."),
        ),
        ("https", "", None),
        ("", HOST, None),
        ("ftp", HOST, None),
        ("https", "app.example.com/x", None),
        ("https", "user@app.example.com", None),
        ("https", "app.example.com,", None),
    ] {
        let actual = origin(["", "", proto, host, "", ""]);
        assert_eq!(actual.as_deref(), expected, "{proto} {host}");
    }
}

#[test]
fn original_url_contains_origin_and_uri() {
    for (url, expected_origin, expected_uri) in [
        (
            "https://app.example.com/a?b=c,d",
            Some(APP),
            Some("/a?b=c,d"),
        ),
        ("WSS://APP.example.com:443/", Some(APP), Some("/")),
        ("https://app.example.com", Some(APP), None),
        ("https://app.example.com?a", Some(APP), None),
        ("https://app.example.com//evil.example", Some(APP), None),
        (
            "https://app.example.com/?u=http://a",
            Some(APP),
            Some("/?u=http://a"),
        ),
        ("https:///a", None, Some("/a")),
        ("https://app.example.com\\@evil.example/", None, Some("/")),
        ("https://app.example.com@evil.example/", None, Some("/")),
    ] {
        let values = ["", "", "", "", "", url];
        assert_eq!(origin(values).as_deref(), expected_origin, "{url}");
        let uri = read(values).unwrap().uri;
        assert_eq!(uri.map(OriginForm::as_str), expected_uri, "{url}");
    }
    for relative in [
        "/a",
        "/a?b=http://c",
        "app.example.com/a",
        "ftp://a/",
        "https:/a",
    ] {
        assert_eq!(
            read(["", "", "", "", "", relative]),
            Err("X-Original-URL"),
            "{relative}"
        );
    }
}

#[test]
fn contradictory_fields_are_rejected() {
    let url = "https://app.example.com/a";
    for [proto, host, uri] in [
        ["https", HOST, "/a"],
        ["wss", "APP.example.com:443", ""],
        ["", HOST, "/a"],
        ["https", "", ""],
    ] {
        assert_eq!(
            origin(["", "", proto, host, uri, url]).as_deref(),
            Some(APP)
        );
    }
    for ([proto, host, uri], field) in [
        (["http", HOST, "/a"], "X-Forwarded-Proto"),
        (["nonsense", HOST, "/a"], "X-Forwarded-Proto"),
        (["", "evil.example", "/a"], "X-Forwarded-Host"),
        (["https", "app.example.com.", "/a"], "X-Forwarded-Host"),
        (["https", "app.example.com:80", ""], "X-Forwarded-Host"),
        (["https", "a b", ""], "X-Forwarded-Host"),
        (["", "", "/A"], "X-Forwarded-Uri"),
        (["https", HOST, "//evil.example"], "X-Forwarded-Uri"),
    ] {
        assert_eq!(
            read(["", "", proto, host, uri, url]),
            Err(field),
            "{proto} {host} {uri}"
        );
    }
}

#[test]
fn uri_is_in_origin_form() {
    let longest = format!("/{}", "a".repeat(2047));
    for valid in ["/", "/a//b?c=/", "/a?b=c&d=%2f", &longest] {
        let parsed = OriginForm::parse(valid.as_bytes());
        assert_eq!(parsed.map(OriginForm::as_str), Some(valid));
    }
    let too_long = format!("{longest}a");
    for invalid in [
        "",
        "a",
        "//evil",
        "/\\evil",
        "http://evil",
        "*",
        "?a",
        "/a#b",
        "/a b",
        "/a\tb",
        "/\u{e9}",
        "/a\n",
        "/\u{7f}",
        &too_long,
    ] {
        assert_eq!(OriginForm::parse(invalid.as_bytes()), None, "{invalid}");
    }
    assert_eq!(read(["", "", "", "", "//evil", ""]).unwrap().uri, None);
}

#[test]
fn list_is_read_from_right_to_left() {
    let entry = |list: &str, hops| {
        let mut fields = fields(["", "", "https", "", "", ""]);
        fields.forwarded_host = Some(list.as_bytes());
        let origin = OriginalRequest::read(fields, || hops).unwrap().origin;
        origin.map(WebOriginRef::to_web_origin)
    };
    let host = |name: &str| WebOrigin::parse(&format!("https://{name}"));
    for (list, hops, expected) in [
        ("a, b,c", 0, host("c")),
        ("a, b,c", 1, host("c")),
        ("a, b,c", 2, host("b")),
        ("a, b,c", 3, host("a")),
        ("a, b,c", 4, host("a")),
        ("a,", 1, None),
        ("a,,c", 2, None),
    ] {
        assert_eq!(entry(list, hops), expected, "{list} {hops}");
    }
    let values = ["", "", "https, http", HOST, "", ""];
    let original = OriginalRequest::read(fields(values), || 2).unwrap();
    assert_eq!(original.origin, WebOriginRef::parse(APP));
}

proptest! {
    #[test]
    fn any_bytes_are_read(values in any::<[Option<Vec<u8>>; 6]>(), hops in 0..4_usize) {
        let [forwarded_method, original_method, forwarded_proto, forwarded_host, forwarded_uri,
            original_url] = values.each_ref().map(Option::as_deref);
        let fields = OriginalRequestFields {
            forwarded_method, original_method, forwarded_proto, forwarded_host, forwarded_uri,
            original_url,
        };
        let _ = OriginalRequest::read(fields, || hops);
    }

    #[test]
    fn uri_never_names_host(text in "[/\\\\:@?#a-z.%\t ]{0,12}") {
        if let Some(uri) = OriginForm::parse(text.as_bytes()) {
            let base = url::Url::parse("https://app.example.com").unwrap();
            let absolute = format!("{APP}{}", uri.as_str());
            for url in [base.join(uri.as_str()).unwrap(), url::Url::parse(&absolute).unwrap()] {
                prop_assert_eq!(url.origin(), base.origin());
            }
        }
    }
}
