//! `latchkey user sign-out --all-users`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use latchkey::app::App;
use uuid::Uuid;

use crate::cli::CommandError;

/// The pause between two lines about the progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Revokes all sessions and personal access tokens of all users, some users at a time.
pub async fn all_users(app: &Arc<App>) -> Result<String, CommandError> {
    let (mut signed_out, mut reported) = (0, Instant::now());
    let mut after = Some(Uuid::nil());
    while let Some(last) = after {
        let progress = app.users.sign_out_next_users(last).await;
        let progress = progress.map_err(|error| {
            let hint = format!("{signed_out} users are signed out; run the command again");
            CommandError::from(error).hint(hint)
        })?;
        signed_out += progress.users;
        after = progress.last;
        if reported.elapsed() >= PROGRESS_INTERVAL {
            reported = Instant::now();
            eprintln!("{signed_out} users are signed out");
        }
    }
    Ok(format!(
        "Revoked all sessions and personal access tokens of {signed_out} users.\n"
    ))
}
