//! Why something ended.

/// Declares [`Reason`]: variant, the word that is stored, and words that follow "ended".
macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident $word:literal $told:literal;)*) => {
        /// Why something ended, for the person who asks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reason { $($(#[doc = $doc])* $variant,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Reason] = &[$(Reason::$variant,)*];

            /// The reason as it is stored.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $word,)* }
            }

            /// The reason in words that follow "ended".
            pub const fn told(self) -> &'static str {
                match self { $(Reason::$variant => $told,)* }
            }

            /// Whether it ends everything of an account, and not single sessions.
            pub const fn ends_everything(self) -> bool {
                match self {
                    Reason::LogoutAll
                    | Reason::PasswordReset
                    | Reason::Disabled
                    | Reason::RoleChange
                    | Reason::AccountDeleted
                    | Reason::Revoked => true,
                    Reason::Logout
                    | Reason::LogoutOthers
                    | Reason::SessionDeleted
                    | Reason::PasswordChange
                    | Reason::EmailChange
                    | Reason::Reuse
                    | Reason::TooManySessions
                    | Reason::TokenRevoked
                    | Reason::TokenDeleted
                    | Reason::SecretRotated
                    | Reason::ClientDeleted => false,
                }
            }

            /// The reason that is stored as this word.
            pub fn from_name(name: &str) -> Option<Reason> {
                Reason::ALL.iter().copied().find(|reason| reason.as_str() == name)
            }
        }
    };
}

reasons! {
    /// Its owner signed out.
    Logout "logout" "by signing out";
    /// Its owner signed all other sessions out.
    LogoutOthers "logout_others" "by signing out everywhere else";
    /// Its owner signed all sessions out.
    LogoutAll "logout_all" "by signing out everywhere";
    /// Its owner ended it from the list of devices.
    SessionDeleted "session_deleted" "from the list of devices";
    /// The password was changed.
    PasswordChange "password_change" "by a change of password";
    /// The password was reset.
    PasswordReset "password_reset" "by a reset of the password";
    /// The address was changed.
    EmailChange "email_change" "by a change of the e-mail address";
    /// The account was disabled.
    Disabled "disabled" "because the account was disabled";
    /// The account's role was changed.
    RoleChange "role_change" "by a change of the role";
    /// The account was deleted.
    AccountDeleted "account_deleted" "because the account was deleted";
    /// An administrator or the operator took it back.
    Revoked "revoked" "by an administrator";
    /// A refresh token was used twice.
    Reuse "reuse" "because a refresh token was used twice";
    /// A newer sign-in took its place.
    TooManySessions "too_many_sessions" "because there were too many newer ones";
    /// Whoever had the token gave it back (RFC 7009).
    TokenRevoked "token_revoked" "by whoever had it";
    /// Its owner deleted the personal access token.
    TokenDeleted "token_deleted" "by deleting it";
    /// The client was given another secret.
    SecretRotated "secret_rotated" "because the client was given another secret";
    /// The client was deleted.
    ClientDeleted "client_deleted" "because the client was deleted";
}
