//! What Redis keeps of an account, under `{sub}`, and its scripts, each one step, as its `.lua`
//! file has it.

use super::FIRST;

/// The keys of one session and of its account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Account {
    /// The session's key has all that refreshing needs.
    session: bool,
    /// It was written under the history of now.
    home: bool,
    /// It has a tombstone.
    ended: bool,
    /// The account's key: its generation. Without an identity it is not enough to refresh.
    generation: i64,
    identity: bool,
}

/// What `rotate.lua` or `restore_session.lua` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rotation {
    Granted,
    Refused,
    /// The session is to be adopted from the record first.
    Away,
}

impl Account {
    /// `create_session.lua`.
    pub fn signed_in() -> Account {
        Account {
            session: true,
            home: true,
            ended: false,
            generation: FIRST,
            identity: true,
        }
    }

    /// The same from another history: whatever came after the sign-in is lost.
    pub fn fallen_back() -> Account {
        Account {
            home: false,
            ..Account::signed_in()
        }
    }

    fn is_at_home(&self) -> bool {
        self.session && self.home && self.identity
    }

    /// `exchange`: a session of a generation that was ended is over. The token is always the
    /// current one here.
    fn exchange(&self) -> Rotation {
        if FIRST < self.generation {
            Rotation::Refused
        } else {
            Rotation::Granted
        }
    }

    /// `rotate.lua`.
    pub fn rotate(&self) -> Rotation {
        match (self.ended, self.is_at_home()) {
            (true, _) => Rotation::Refused,
            (false, false) => Rotation::Away,
            (false, true) => self.exchange(),
        }
    }

    /// Whether a refresh token would be exchanged, without a look at the record.
    pub fn would_rotate(&self) -> bool {
        self.rotate() == Rotation::Granted
    }

    /// `restore_session.lua`: it reads again first, and ignores outdated values from PostgreSQL if
    /// another replica was faster.
    pub fn adopt(&mut self) -> Rotation {
        if self.ended {
            return Rotation::Refused;
        }
        if !self.is_at_home() {
            *self = Account {
                generation: self.generation.max(FIRST),
                ..Account::signed_in()
            };
        }
        self.exchange()
    }

    /// `revoke_sessions.lua`: also where there is no session.
    pub fn end_session(&mut self) {
        self.ended = true;
    }

    /// `increment_generation.lua`.
    pub fn raise_generation(&mut self, below: i64) {
        self.generation = self.generation.max(below);
    }
}
