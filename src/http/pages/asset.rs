//! Content that doesn't change while the process runs.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use hyper::body::Bytes;
use poem::{
    Request, Response,
    http::{HeaderValue, StatusCode, header},
};

use super::{BASE_POLICY, sha256_base64};

/// Content that is compressed once and identified by an ETag.
pub struct Asset {
    content_type: &'static str,
    cache_control: &'static str,
    policy: String,
    plain: Bytes,
    compressed: Bytes,
    etag: String,
}

impl Asset {
    /// Compresses the content. Browsers revalidate it before each use.
    pub fn new(content_type: &'static str, plain: String, policy: String) -> Asset {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder
            .write_all(plain.as_bytes())
            .expect("writing to memory succeeds");
        let compressed = encoder.finish().expect("writing to memory succeeds");
        // Weak, because it identifies the content before compression (RFC 9110 section 8.8.3).
        let etag = format!("W/\"{}\"", &sha256_base64(plain.as_bytes())[..16]);
        Asset {
            content_type,
            cache_control: "no-cache",
            policy,
            plain: plain.into(),
            compressed: compressed.into(),
            etag,
        }
    }

    /// Allows caches to keep the content for a year without revalidation (RFC 8246). Its URL must
    /// contain a hash of the content.
    pub fn immutable(self) -> Asset {
        Asset {
            cache_control: "public, max-age=31536000, immutable",
            ..self
        }
    }

    pub fn respond(&self, request: &Request) -> Response {
        let header_value = |name| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let response = Response::builder()
            .content_type(self.content_type)
            .header(header::ETAG, &self.etag)
            .header(header::CACHE_CONTROL, self.cache_control)
            .header(header::VARY, "Accept-Encoding")
            .header(header::CONTENT_SECURITY_POLICY, &self.policy);
        if header_value(header::IF_NONE_MATCH).contains(&self.etag) {
            response.status(StatusCode::NOT_MODIFIED).finish()
        } else if accepts_gzip(header_value(header::ACCEPT_ENCODING)) {
            response
                .header(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))
                .body(self.compressed.clone())
        } else {
            response.body(self.plain.clone())
        }
    }
}

/// An asset whose name contains a hash of its content, so that browsers cache it without
/// revalidation.
pub struct HashedAsset {
    pub name: String,
    pub asset: Asset,
}

impl HashedAsset {
    pub fn new(
        name: &str,
        extension: &str,
        content_type: &'static str,
        content: String,
    ) -> HashedAsset {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content.as_bytes());
        let hash: String = digest.as_ref()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        HashedAsset {
            name: format!("{name}-{hash}.{extension}"),
            asset: Asset::new(content_type, content, BASE_POLICY.to_owned()).immutable(),
        }
    }
}

/// Whether `Accept-Encoding` contains `gzip` with a weight other than 0 (RFC 9110 section 12.5.3).
fn accepts_gzip(accept_encoding: &str) -> bool {
    accept_encoding.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight
            .trim()
            .strip_prefix("q=")
            .and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight != Some(0.0)
    })
}
