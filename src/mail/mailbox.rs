//! The mailbox of `latchkey dev`: a folder with a file for each mail, read by `/dev/mailbox`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Letter, MailError};

/// A folder that mails go to instead of a server.
pub struct MailFolder(PathBuf);

/// A mail in the folder.
#[derive(Serialize, Deserialize)]
pub struct StoredMail {
    /// Whom it is for.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// The text.
    pub text: String,
}

impl MailFolder {
    /// The folder; it is made when the first mail comes.
    pub fn new(folder: PathBuf) -> MailFolder {
        MailFolder(folder)
    }

    /// Stores a mail under its id, which sorts by time. Whoever looks sees the whole mail or none.
    pub(super) async fn store(
        &self,
        id: Uuid,
        recipient: &str,
        letter: &Letter,
    ) -> Result<(), MailError> {
        let mail = StoredMail {
            to: recipient.to_owned(),
            subject: letter.subject.to_owned(),
            text: letter.text.clone(),
        };
        tokio::fs::create_dir_all(&self.0).await?;
        let unfinished = self.0.join(format!("{id}.unfinished"));
        tokio::fs::write(&unfinished, serde_json::to_vec_pretty(&mail)?).await?;
        tokio::fs::rename(&unfinished, self.0.join(format!("{id}.json"))).await?;
        Ok(())
    }

    /// The newest mails, the newest first.
    pub async fn newest(&self, most: usize) -> Result<Vec<StoredMail>, MailError> {
        let mut names = Vec::new();
        let Ok(mut folder) = tokio::fs::read_dir(&self.0).await else {
            return Ok(Vec::new());
        };
        while let Some(entry) = folder.next_entry().await? {
            names.push(entry.path());
        }
        names.retain(|name| name.extension().is_some_and(|ending| ending == "json"));
        names.sort_by(|a, b| b.cmp(a));
        let mut mails = Vec::new();
        for name in names.into_iter().take(most) {
            mails.push(serde_json::from_slice(&tokio::fs::read(name).await?)?);
        }
        Ok(mails)
    }
}
