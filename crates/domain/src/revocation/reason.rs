//! Why something ended.

/// Declares [`Reason`]: variant, the word that is stored, and words for people.
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

            /// The reason in words.
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
    Logout "sign_out" "sign-out";
    /// Its owner signed all other sessions out.
    LogoutOthers "sign_out_others" "sign-out of all other sessions";
    /// Its owner signed all sessions out.
    LogoutAll "sign_out_all" "sign-out of all sessions";
    /// Its owner ended it from the list of devices.
    SessionDeleted "session_revoked" "by the user";
    /// The password was changed.
    PasswordChange "password_change" "password change";
    /// The password was reset.
    PasswordReset "password_reset" "password reset";
    /// The address was changed.
    EmailChange "email_change" "email address change";
    /// The account was disabled.
    Disabled "disabled" "user disabled";
    /// The account's role was changed.
    RoleChange "role_change" "role change";
    /// The account was deleted.
    AccountDeleted "user_deleted" "user deleted";
    /// An administrator or the operator took it back.
    Revoked "revoked" "by an administrator";
    /// A refresh token was used twice.
    Reuse "refresh_token_reused" "refresh token reuse";
    /// A newer sign-in took its place.
    TooManySessions "too_many_sessions" "too many sessions";
    /// Whoever had the token gave it back (RFC 7009).
    TokenRevoked "token_revoked" "by the token holder";
    /// Its owner deleted the personal access token.
    TokenDeleted "personal_access_token_revoked" "by the user";
    /// The client was given another secret.
    SecretRotated "secret_rotated" "client secret rotation";
    /// The client was deleted.
    ClientDeleted "client_deleted" "OAuth client deleted";
}
