//! The original request of a forward authentication check: the request of the client, which the
//! proxy describes in fields of the check.

use crate::{return_to, web_origin::WebOriginRef};

const FORWARDED_METHOD: &str = "X-Forwarded-Method";
const FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const FORWARDED_HOST: &str = "X-Forwarded-Host";
const FORWARDED_URI: &str = "X-Forwarded-Uri";
const ORIGINAL_URL: &str = "X-Original-URL";

const OTHER_METHOD: &str = "contradicts `X-Original-Method`; the proxy must send one of them, and \
    remove the other";

const OTHER_URL: &str = "contradicts `X-Original-URL`; the proxy must send one of them, and remove \
    the other";

const RELATIVE_URL: &str = "must be an absolute `http` or `https` URL; the proxy must set or remove \
    it";

/// The fields of the original request. A field is `None` if it is absent. An empty field counts as
/// absent, because some proxies can't remove a field.
#[derive(Debug, Default, Clone, Copy)]
pub struct OriginalRequestFields<'a> {
    /// `X-Forwarded-Method`.
    pub forwarded_method: Option<&'a [u8]>,
    /// `X-Original-Method`.
    pub original_method: Option<&'a [u8]>,
    /// `X-Forwarded-Proto`, a list.
    pub forwarded_proto: Option<&'a [u8]>,
    /// `X-Forwarded-Host`, a list.
    pub forwarded_host: Option<&'a [u8]>,
    /// `X-Forwarded-Uri`.
    pub forwarded_uri: Option<&'a [u8]>,
    /// `X-Original-URL`.
    pub original_url: Option<&'a [u8]>,
}

/// The original request. A part is `None` if no field contains it, or if it is invalid.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct OriginalRequest<'a> {
    /// The method, a token (RFC 9110 section 5.6.2).
    pub method: Option<&'a str>,
    /// The origin. `wss` counts as `https`, and `ws` as `http`, because some proxies send them for
    /// WebSockets.
    pub origin: Option<WebOriginRef<'a>>,
    /// Path and query.
    pub uri: Option<OriginForm<'a>>,
}

/// Why the fields don't describe one original request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidOriginalRequest {
    /// Name of a field.
    pub field: &'static str,
    /// The cause and its fix, which follow the name.
    pub reason: &'static str,
}

impl<'a> OriginalRequest<'a> {
    /// Reads the fields.
    ///
    /// `X-Forwarded-Proto` and `X-Forwarded-Host` can be lists. `hops` returns the number of trusted
    /// proxies that forwarded the check, and is called only for lists. Each of them replaces the
    /// field, or appends one entry to it. So this number of entries, from the right, are from
    /// trusted proxies, or all entries of a shorter list. Of these, the leftmost entry is from the
    /// outermost proxy, which received the request of the client. The client can choose every entry
    /// further to the left.
    ///
    /// A path that isn't in origin-form is no error, because the client chooses it.
    ///
    /// # Errors
    /// If two fields contradict each other, or `X-Original-URL` isn't an absolute URL. A client
    /// can cause both if a proxy doesn't remove a field, so neither field can be trusted.
    pub fn read(
        fields: OriginalRequestFields<'a>,
        hops: impl Fn() -> usize,
    ) -> Result<OriginalRequest<'a>, InvalidOriginalRequest> {
        let url = present(fields.original_url).map(Url::split).transpose()?;
        let entry = |list| present(list).map(|list| outermost_entry(list, &hops));
        let (scheme, host) = (entry(fields.forwarded_proto), entry(fields.forwarded_host));
        Ok(OriginalRequest {
            method: read_method(fields)?,
            origin: read_origin(scheme, host, url)?,
            uri: read_uri(present(fields.forwarded_uri), url)?,
        })
    }
}

/// The target of a request in origin-form (RFC 9112 section 3.2.1): path and query, which begin
/// with exactly one slash, as visible ASCII characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginForm<'a>(&'a str);

impl<'a> OriginForm<'a> {
    /// Parses a path and query. Rejects what a browser could read as the start of a host (`//`,
    /// `/\`), a fragment, and more than 2,048 bytes.
    pub fn parse(text: &'a [u8]) -> Option<OriginForm<'a>> {
        let is_visible = |byte: &u8| byte.is_ascii_graphic() && !b"\\#".contains(byte);
        let is_valid = text.len() <= return_to::MAX_LENGTH
            && text.starts_with(b"/")
            && !text.starts_with(b"//")
            && text.iter().all(is_visible);
        let text = is_valid.then(|| std::str::from_utf8(text))?;
        text.ok().map(OriginForm)
    }

    /// Returns path and query.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// The parts of an `X-Original-URL`; `None` if a part is empty.
#[derive(Clone, Copy)]
struct Url<'a> {
    scheme: &'static str,
    host: Option<&'a [u8]>,
    uri: Option<&'a [u8]>,
}

impl<'a> Url<'a> {
    fn split(url: &'a [u8]) -> Result<Url<'a>, InvalidOriginalRequest> {
        const SEPARATOR: &[u8] = b"://";
        let end = url
            .windows(SEPARATOR.len())
            .position(|part| part == SEPARATOR);
        let (scheme, rest) = end
            .and_then(|end| Some((parse_scheme(&url[..end])?, &url[end + SEPARATOR.len()..])))
            .ok_or(invalid(ORIGINAL_URL, RELATIVE_URL))?;
        let end = rest.iter().position(|byte| b"/?#".contains(byte));
        let (host, uri) = rest.split_at(end.unwrap_or(rest.len()));
        Ok(Url {
            scheme,
            host: present(Some(host)),
            uri: present(Some(uri)),
        })
    }
}

fn read_method(fields: OriginalRequestFields<'_>) -> Result<Option<&str>, InvalidOriginalRequest> {
    let forwarded = present(fields.forwarded_method);
    let method = agree(forwarded, present(fields.original_method), |left, right| {
        left == right
    });
    let method = method.ok_or(invalid(FORWARDED_METHOD, OTHER_METHOD))?;
    Ok(method.and_then(parse_token))
}

fn read_origin<'a>(
    scheme: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
    url: Option<Url<'a>>,
) -> Result<Option<WebOriginRef<'a>>, InvalidOriginalRequest> {
    // The outer `None` means that the field is absent, the inner one that it is invalid.
    let url_scheme = url.map(|url| Some(url.scheme));
    let scheme = agree(scheme.map(parse_scheme), url_scheme, |left, right| {
        left == right
    });
    let scheme = scheme.ok_or(invalid(FORWARDED_PROTO, OTHER_URL))?.flatten();
    let parse = |host| WebOriginRef::new(scheme?, std::str::from_utf8(host).ok()?);
    let url_host = url.and_then(|url| url.host);
    let host = agree(host, url_host, |left, right| parse(left) == parse(right));
    let host = host.ok_or(invalid(FORWARDED_HOST, OTHER_URL))?;
    Ok(host.and_then(parse))
}

fn read_uri<'a>(
    forwarded: Option<&'a [u8]>,
    url: Option<Url<'a>>,
) -> Result<Option<OriginForm<'a>>, InvalidOriginalRequest> {
    let uri = agree(forwarded, url.and_then(|url| url.uri), |left, right| {
        left == right
    });
    let uri = uri.ok_or(invalid(FORWARDED_URI, OTHER_URL))?;
    Ok(uri.and_then(OriginForm::parse))
}

/// Returns the first value, otherwise the second. The outer `None` means that both are present and
/// differ.
fn agree<T: Copy>(
    first: Option<T>,
    second: Option<T>,
    is_equal: impl Fn(T, T) -> bool,
) -> Option<Option<T>> {
    match (first, second) {
        (Some(first), Some(second)) if !is_equal(first, second) => None,
        (first, second) => Some(first.or(second)),
    }
}

/// Returns the trimmed value of a field; `None` if it is absent or empty.
fn present(field: Option<&[u8]>) -> Option<&[u8]> {
    field
        .map(<[u8]>::trim_ascii)
        .filter(|value| !value.is_empty())
}

/// Returns the entry of the outermost trusted proxy; the value itself if it isn't a list.
fn outermost_entry(list: &[u8], hops: impl Fn() -> usize) -> &[u8] {
    if !list.contains(&b',') {
        return list;
    }
    let entries = list.rsplit(|byte| *byte == b',');
    let trusted = entries.take(hops().max(1));
    trusted.last().unwrap_or_default().trim_ascii()
}

fn parse_scheme(text: &[u8]) -> Option<&'static str> {
    let schemes = [
        ("https", "https"),
        ("http", "http"),
        ("wss", "https"),
        ("ws", "http"),
    ];
    let is_named = |(name, _): &(&str, _)| text.eq_ignore_ascii_case(name.as_bytes());
    schemes.into_iter().find(is_named).map(|(_, scheme)| scheme)
}

fn parse_token(text: &[u8]) -> Option<&str> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let text = text.iter().all(is_token).then_some(text)?;
    std::str::from_utf8(text).ok()
}

fn invalid(field: &'static str, reason: &'static str) -> InvalidOriginalRequest {
    InvalidOriginalRequest { field, reason }
}

#[cfg(test)]
#[path = "original_request_tests.rs"]
mod tests;
