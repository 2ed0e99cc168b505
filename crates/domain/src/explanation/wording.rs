//! Texts for times, revocations, and subjects.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{explanation::RevocationRecord, revocation::Subject};

/// Describes the subject of an entry in the revocation log.
pub const fn describe_subject(subject: Subject) -> &'static str {
    match subject {
        Subject::Key(_) => "the signing key",
        Subject::Session(_) => "the session",
        Subject::Token(_) => "the token itself",
        Subject::User(_) => "a higher generation of the user",
        Subject::Client(_) => "a higher generation of the OAuth client",
        Subject::Identity(_) => "a change of the identity",
        Subject::Probe(_) => "a probe",
    }
}

/// Describes the time and the reason of a revocation, to follow the word "revoked".
pub fn describe_revocation(revocation: RevocationRecord) -> String {
    let reason = revocation
        .reason
        .map(|reason| format!(" ({})", reason.description()))
        .unwrap_or_default();
    format!("at {}{reason}", format_time(revocation.at))
}

/// Formats a time in seconds since the Unix epoch.
pub fn format_seconds(seconds: u64) -> String {
    let at = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    at.map_or_else(|| "an invalid time".to_owned(), format_time)
}

/// Formats a time in RFC 3339, without fractions of a second.
pub fn format_time(at: OffsetDateTime) -> String {
    let at = at.replace_nanosecond(0).unwrap_or(at);
    at.format(&Rfc3339).unwrap_or_default()
}
