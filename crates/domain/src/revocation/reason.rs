//! Reasons for revocations.

/// Declares [`RevocationReason`]: the variant, its stored name, and its description.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident $name:literal $description:literal;)*) => {
        /// Reason for a revocation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
        pub enum RevocationReason {
            $($(#[doc = $doc])* #[strum(serialize = $name)] $variant,)*
        }

        impl RevocationReason {
            /// All reasons.
            pub const ALL: &[RevocationReason] = &[$(RevocationReason::$variant,)*];

            /// Returns the stored name.
            pub const fn as_str(self) -> &'static str {
                match self { $(RevocationReason::$variant => $name,)* }
            }

            /// Returns the description for a sentence such as "revoked (password change)".
            pub const fn description(self) -> &'static str {
                match self { $(RevocationReason::$variant => $description,)* }
            }

            /// Returns whether the reason revokes all credentials of a user, not individual ones.
            pub const fn revokes_all_credentials(self) -> bool {
                match self {
                    RevocationReason::SignOutAll
                    | RevocationReason::PasswordReset
                    | RevocationReason::Disabled
                    | RevocationReason::RoleChange
                    | RevocationReason::GroupChange
                    | RevocationReason::UserDeleted
                    | RevocationReason::Revoked => true,
                    RevocationReason::SignOut
                    | RevocationReason::SignOutOthers
                    | RevocationReason::SessionRevoked
                    | RevocationReason::PasswordChange
                    | RevocationReason::EmailChange
                    | RevocationReason::RefreshTokenReused
                    | RevocationReason::TooManySessions
                    | RevocationReason::TokenRevoked
                    | RevocationReason::PersonalAccessTokenRevoked
                    | RevocationReason::SecretRotated
                    | RevocationReason::ClientUpdated
                    | RevocationReason::ClientDeleted => false,
                }
            }
        }
    };
}

reasons! {
    /// The user signed out.
    SignOut "sign_out" "sign-out";
    /// The user signed out of all other sessions.
    SignOutOthers "sign_out_others" "sign-out of all other sessions";
    /// The user signed out of all sessions.
    SignOutAll "sign_out_all" "sign-out of all sessions";
    /// The user revoked the session in the list of sessions.
    SessionRevoked "session_revoked" "by the user";
    /// The password was changed.
    PasswordChange "password_change" "password change";
    /// The password was reset.
    PasswordReset "password_reset" "password reset";
    /// The email address was changed.
    EmailChange "email_change" "email address change";
    /// The user was disabled.
    Disabled "disabled" "user disabled";
    /// The role of the user was changed.
    RoleChange "role_change" "role change";
    /// The groups of the user were changed.
    GroupChange "group_change" "group change";
    /// The user was deleted.
    UserDeleted "user_deleted" "user deleted";
    /// An administrator or the operator revoked the credentials.
    Revoked "revoked" "by an administrator";
    /// A refresh token was reused.
    RefreshTokenReused "refresh_token_reused" "refresh token reuse";
    /// A newer sign-in exceeded the maximum number of sessions.
    TooManySessions "too_many_sessions" "too many sessions";
    /// The token holder revoked the token (RFC 7009).
    TokenRevoked "token_revoked" "by the token holder";
    /// The user revoked the personal access token.
    PersonalAccessTokenRevoked "personal_access_token_revoked" "by the user";
    /// The secret of the OAuth client was rotated.
    SecretRotated "secret_rotated" "client secret rotation";
    /// A scope or an audience of the OAuth client was removed.
    ClientUpdated "client_updated" "scope or audience of the OAuth client removed";
    /// The OAuth client was deleted.
    ClientDeleted "client_deleted" "OAuth client deleted";
}
