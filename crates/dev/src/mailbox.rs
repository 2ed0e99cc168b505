//! The emails that the server's file transport wrote, and a page that shows them.

mod server;

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

use askama::Template;
use mail_parser::MessageParser;

pub use self::server::serve;

/// Maximum number of emails on the page.
const MAX_EMAILS: usize = 50;

/// Maximum size of an email file; the server's emails have a few kilobytes.
const MAX_EMAIL_BYTES: u64 = 1024 * 1024;

/// An email in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEmail {
    /// The email address of the recipient.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// The plain text, with `\n` between lines.
    pub text: String,
}

#[derive(Template)]
#[template(path = "mailbox.html")]
struct MailboxPage<'a> {
    emails: &'a [StoredEmail],
}

/// Reads the 50 newest emails, newest first.
///
/// A missing folder contains no emails. Files that can't be parsed as emails are skipped.
pub fn read_emails(folder: &Path) -> Vec<StoredEmail> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .collect();
    // The file names are UUIDs that start with a timestamp.
    paths.sort_unstable_by(|first, second| second.cmp(first));
    paths
        .iter()
        .filter_map(|path| read_email(path))
        .take(MAX_EMAILS)
        .collect()
}

/// Renders the page with these emails.
pub fn render_page(emails: &[StoredEmail]) -> String {
    // Rendering into a string can't fail.
    MailboxPage { emails }.render().unwrap_or_default()
}

fn read_email(path: &Path) -> Option<StoredEmail> {
    // Skip named pipes, because opening one waits for a writer. Skip links, because they can lead
    // out of the folder.
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_EMAIL_BYTES {
        return None;
    }
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_EMAIL_BYTES).read_to_end(&mut bytes).ok()?;
    parse_email(&bytes)
}

fn parse_email(bytes: &[u8]) -> Option<StoredEmail> {
    let message = MessageParser::default().parse(bytes)?;
    Some(StoredEmail {
        to: message.to()?.first()?.address()?.to_owned(),
        subject: message.subject()?.to_owned(),
        text: message.body_text(0)?.replace("\r\n", "\n"),
    })
}
