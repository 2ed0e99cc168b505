//! Why the delivery of an email failed, and whether another attempt can succeed.

use std::{error::Error, fmt, time::Duration};

use lettre::transport::smtp;

/// A step of a delivery. Each has its own time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpStep {
    /// Connect, and read the greeting.
    Connect,
    /// STARTTLS.
    Encrypt,
    /// AUTH.
    Authenticate,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// DATA.
    Data,
    /// The content of the email.
    Content,
}

impl SmtpStep {
    /// Returns the time limit (RFC 5321 section 4.5.3.2).
    pub(super) const fn time_limit(self) -> Duration {
        let minutes = match self {
            SmtpStep::Connect
            | SmtpStep::Encrypt
            | SmtpStep::Authenticate
            | SmtpStep::Sender
            | SmtpStep::Recipient => 5,
            SmtpStep::Data => 2,
            SmtpStep::Content => 10,
        };
        Duration::from_secs(minutes * 60)
    }

    const fn description(self) -> &'static str {
        match self {
            SmtpStep::Connect => "connecting to the mail server",
            SmtpStep::Encrypt => "starting TLS (STARTTLS)",
            SmtpStep::Authenticate => "signing in to the mail server (AUTH)",
            SmtpStep::Sender => "sending the sender address (MAIL FROM)",
            SmtpStep::Recipient => "sending the recipient address (RCPT TO)",
            SmtpStep::Data => "starting the content (DATA)",
            SmtpStep::Content => "sending the content",
        }
    }

    /// Runs the step within a time limit.
    pub(super) async fn run<T>(
        self,
        step: impl Future<Output = Result<T, smtp::Error>>,
        limit: Duration,
    ) -> Result<T, SmtpFailure> {
        let failure = |cause| SmtpFailure { step: self, cause };
        match tokio::time::timeout(limit, step).await {
            Ok(outcome) => outcome.map_err(|error| failure(Some(error))),
            Err(_) => Err(failure(None)),
        }
    }
}

/// A failed delivery.
#[derive(Debug)]
pub struct SmtpFailure {
    step: SmtpStep,
    /// The error of the step; `None` if it exceeded its time limit.
    cause: Option<smtp::Error>,
}

impl SmtpFailure {
    /// Returns whether the mail server has responded.
    pub(super) fn is_response(&self) -> bool {
        self.code().is_some()
    }

    /// Returns whether another attempt would fail in the same way: the mail server has permanently
    /// rejected the recipient or the content.
    pub fn is_rejection_of_email(&self) -> bool {
        let status = self.code().filter(|code| code.starts_with('5'));
        status.is_some_and(|code| rejects_email(self.step, &code, &self.response_text()))
    }

    /// Returns whether the failure concerns this email only: a temporary failure or a time limit at the
    /// recipient or the content.
    pub fn concerns_only_this_email(&self) -> bool {
        matches!(self.step, SmtpStep::Recipient | SmtpStep::Content)
            && !self.code().is_some_and(|code| code.starts_with('5'))
    }

    /// Describes the failure without the response of the mail server, which can contain a recipient.
    pub fn describe(&self) -> String {
        let step = self.step.description();
        match (self.code(), &self.cause) {
            (Some(code), _) => format!("{step} failed with the code {code}"),
            (None, Some(error)) if !error.is_timeout() => format!("{step} failed"),
            (None, _) => format!("{step} took too long"),
        }
    }

    /// Returns the code of the response, for example `550`.
    fn code(&self) -> Option<String> {
        let status = self.cause.as_ref().and_then(smtp::Error::status);
        status.map(|code| code.to_string())
    }

    /// Returns the text of the response.
    fn response_text(&self) -> String {
        let source = self.cause.as_ref().and_then(Error::source);
        source.map(ToString::to_string).unwrap_or_default()
    }
}

impl fmt::Display for SmtpFailure {
    /// Contains the response of the mail server.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = self.step.description();
        match (&self.cause, self.code()) {
            (Some(_), Some(code)) => write!(f, "{step}: {code} {}", self.response_text()),
            (Some(error), None) => write!(f, "{step}: {error}"),
            (None, _) => {
                let limit = self.step.time_limit().as_secs();
                write!(f, "{step}: no response within {limit} s")
            }
        }
    }
}

impl Error for SmtpFailure {}

/// Returns whether a permanent response is about the recipient or the content of an email.
///
/// The enhanced status code (RFC 3463) decides if there is one. A rejected password, a rejected
/// sender, and a server that doesn't relay for this client are settings that an operator corrects, so
/// the emails are kept. Servers report them after each command: by default, Postfix rejects a sender
/// only after the recipient.
fn rejects_email(step: SmtpStep, code: &str, response: &str) -> bool {
    match (step, enhanced_status(response)) {
        // The address, the domain, and the mailbox of the recipient. 5.4.1 is the response of Exchange
        // Online to an unknown recipient.
        (SmtpStep::Recipient, Some((1, 1 | 2 | 3 | 6 | 10) | (2, _) | (4, 1 | 4))) => true,
        (SmtpStep::Recipient, None | Some((0, _))) => {
            matches!(code, "550" | "551" | "552" | "553" | "556") && !concerns_sender(response)
        }
        // The content, its size, and a policy, for example against spam. Details of policies above 1
        // concern the sender, for example 5.7.26 a missing signature.
        (SmtpStep::Content, Some((1, 1 | 2 | 3 | 6 | 10) | (2, 0..=4) | (6, _) | (3, 4))) => true,
        (SmtpStep::Content, Some((7, 0 | 1))) => !concerns_sender(response),
        (SmtpStep::Content, None | Some((0, _))) => {
            matches!(code, "550" | "552" | "554") && !concerns_sender(response)
        }
        _other => false,
    }
}

/// Returns whether the text of a response without a useful status mentions the sender or the rights of
/// the client.
fn concerns_sender(response: &str) -> bool {
    let response = response.to_lowercase();
    [
        "sender",
        "relay",
        "rcpthosts",
        "auth",
        "verified",
        "permi",
        "denied",
        "quota",
        "limit",
    ]
    .iter()
    .any(|word| response.contains(word))
}

/// Returns the subject and the detail of the enhanced status code at the start of a response.
fn enhanced_status(response: &str) -> Option<(u16, u16)> {
    let mut parts = response.split_whitespace().next()?.split('.');
    let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
    (class == "5" && parts.next().is_none()).then_some(())?;
    Some((subject.parse().ok()?, detail.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_recipient_and_content_drop_an_email() {
        for (step, code, response) in [
            (SmtpStep::Recipient, "550", "no such mailbox"),
            (SmtpStep::Recipient, "550", "5.1.1 User unknown"),
            (SmtpStep::Recipient, "554", "5.2.1 Mailbox disabled"),
            (
                SmtpStep::Recipient,
                "550",
                "5.4.1 Recipient address rejected: Access denied",
            ),
            (SmtpStep::Recipient, "553", "5.0.0 Invalid recipient"),
            (SmtpStep::Recipient, "556", "Domain does not accept mail"),
            (SmtpStep::Content, "554", "5.7.1 Message rejected as spam"),
            (SmtpStep::Content, "552", "5.3.4 Message too large"),
            (SmtpStep::Content, "550", "Rejected"),
            (SmtpStep::Content, "554", "5.6.0 Invalid content"),
        ] {
            assert!(
                rejects_email(step, code, response),
                "{step:?} {code} {response}"
            );
        }
        for (step, code, response) in [
            (
                SmtpStep::Authenticate,
                "535",
                "5.7.8 Authentication credentials invalid",
            ),
            (SmtpStep::Sender, "550", "5.1.0 Sender rejected"),
            (SmtpStep::Sender, "550", "no such sender"),
            (
                SmtpStep::Sender,
                "530",
                "5.7.0 Must issue a STARTTLS command first",
            ),
            (SmtpStep::Recipient, "554", "5.7.1 Relay access denied"),
            (SmtpStep::Recipient, "530", "5.7.0 Authentication required"),
            (
                SmtpStep::Recipient,
                "550",
                "5.4.5 Daily user sending limit exceeded",
            ),
            (SmtpStep::Recipient, "503", "5.5.1 Need MAIL before RCPT"),
            (
                SmtpStep::Recipient,
                "550",
                "5.1.8 Sender address rejected: Domain not found",
            ),
            (SmtpStep::Recipient, "550", "5.1.0 Sender address rejected"),
            (SmtpStep::Recipient, "550", "relay not permitted"),
            (SmtpStep::Recipient, "550", "Sender verify failed"),
            (
                SmtpStep::Recipient,
                "553",
                "that domain isn't in my list of allowed rcpthosts",
            ),
            (
                SmtpStep::Content,
                "554",
                "Message rejected: Email address is not verified.",
            ),
            (SmtpStep::Content, "554", "5.2.252 SendAsDenied"),
            (
                SmtpStep::Content,
                "550",
                "5.7.60 no permission to send as this sender",
            ),
            (
                SmtpStep::Content,
                "550",
                "5.7.26 Unauthenticated email is not accepted",
            ),
            (SmtpStep::Recipient, "554", "rejected"),
            (SmtpStep::Data, "554", "5.1.1 no valid recipients"),
            (
                SmtpStep::Content,
                "550",
                "5.4.5 Daily user sending limit exceeded",
            ),
            (SmtpStep::Content, "554", "5.3.0 Local failure"),
            (
                SmtpStep::Connect,
                "554",
                "5.7.1 No connections from your network",
            ),
        ] {
            assert!(
                !rejects_email(step, code, response),
                "{step:?} {code} {response}"
            );
        }
    }

    #[test]
    fn enhanced_status_is_at_the_start_of_the_response() {
        assert_eq!(enhanced_status("5.1.1 User unknown"), Some((1, 1)));
        assert_eq!(enhanced_status("5.7.26\nmore"), Some((7, 26)));
        for response in ["", "User 5.1.1 unknown", "5.1", "5.1.1.1", "4.1.1", "5.x.1"] {
            assert_eq!(enhanced_status(response), None, "{response:?}");
        }
    }
}
