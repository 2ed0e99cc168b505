//! Moments, reasons and subjects in words.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{explanation::RevocationRecord, revocation::Subject};

/// What the denylist holds.
pub const fn listed(subject: Subject) -> &'static str {
    match subject {
        Subject::Key(_) => "the signing key",
        Subject::Session(_) => "the session",
        Subject::Token(_) => "the token itself",
        Subject::User(_) => "a higher generation of the user",
        Subject::Client(_) => "a higher generation of the OAuth client",
        Subject::Probe(_) => "a probe",
    }
}

/// When and why something was revoked, in words that follow "revoked".
pub fn told(ended: RevocationRecord) -> String {
    let by = ended
        .reason
        .map(|reason| format!(" ({})", reason.told()))
        .unwrap_or_default();
    format!("at {}{by}", moment(ended.at))
}

/// A moment in seconds since the epoch.
pub fn second(seconds: u64) -> String {
    let at = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    at.map_or_else(|| "an invalid time".to_owned(), moment)
}

/// A moment, to the second.
pub fn moment(at: OffsetDateTime) -> String {
    let at = at.replace_nanosecond(0).unwrap_or(at);
    at.format(&Rfc3339).unwrap_or_default()
}
