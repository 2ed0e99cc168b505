//! Ending things. The order is always the same: the row in PostgreSQL, the script of the account (so that refreshing
//! stops), then the entry on the denylist (so that access tokens stop). Each part may be repeated.

use uuid::Uuid;

use super::Gateway;
use crate::{domain::revocation::Revocation, error::Error};

impl Gateway {
    /// Ends one session for good; `token`, the id and `exp` of the access token that asked, is taken back as well.
    pub(super) async fn end_session(
        &self,
        sub: Uuid,
        sid: Uuid,
        token: Option<(Uuid, u64)>,
        reason: &str,
    ) -> Result<(), Error> {
        self.record.end_session(sid, reason).await?;
        self.publish_end(sub, sid, token, reason).await.map_err(Error::after_commit)?;
        tracing::info!(event = "session_ended", %sub, %sid, reason, "session ended");
        Ok(())
    }

    /// Tells Redis of a session that has ended in the record.
    pub(super) async fn publish_end(
        &self,
        sub: Uuid,
        sid: Uuid,
        token: Option<(Uuid, u64)>,
        reason: &str,
    ) -> Result<(), Error> {
        self.speed.end_session(sub, sid, reason).await?;
        let token = token.map(|(jti, exp)| Revocation::Token { jti, exp });
        let entries: Vec<_> = [Some(Revocation::Session { sid }), token].into_iter().flatten().collect();
        self.speed.revoke(&entries, self.clock.now()).await?;
        metrics::counter!("latchkey_revocations_total", "kind" => "session").increment(1);
        Ok(())
    }

    /// Tells Redis of a generation that was raised in the record: everything older is refused.
    pub(super) async fn publish_generation(&self, sub: Uuid, generation: i64) -> Result<(), Error> {
        self.speed.raise_generation(sub, generation, self.idle_seconds()).await?;
        self.speed.revoke(&[Revocation::User { sub, below: generation }], self.clock.now()).await?;
        metrics::counter!("latchkey_revocations_total", "kind" => "user").increment(1);
        Ok(())
    }
}
