//! The closed list of error codes, with the texts of the error pages.

/// Declares [`Code`]: variant, status, code, title, cause, and fix.
macro_rules! codes {
    ($(
        $variant:ident $status:literal $slug:literal $title:literal
            $cause:literal $fix:literal;
    )*) => {
        /// The closed list of error codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $(#[doc = $title] $variant,)* }

        impl Code {
            /// All codes, in the order of the error table.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// Returns the HTTP status of responses with this code.
            pub const fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)* }
            }

            /// Returns the value of `code`, which is also the last path segment of `type`.
            pub const fn slug(self) -> &'static str {
                match self { $(Code::$variant => $slug,)* }
            }

            /// Returns the value of `title`.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }

            /// Returns the cause, for the error table and the page of the code.
            pub const fn cause(self) -> &'static str {
                match self { $(Code::$variant => $cause,)* }
            }

            /// Returns the fix, for the error table and the page of the code.
            pub const fn fix(self) -> &'static str {
                match self { $(Code::$variant => $fix,)* }
            }
        }
    };
}

codes! {
    InvalidRequest 400 "invalid_request" "Invalid request"
        "A field, parameter, or header is invalid, or the body can't be parsed."
        "Fix the fields that `errors` lists, or the part that `detail` describes, and send the \
         request again.";
    WeakPassword 400 "weak_password" "Password too weak"
        "The new password is too short, too common, in the list of rejected passwords of this \
         server, or similar to the username, name, or email address."
        "Choose a longer or less common password that isn't similar to these names. All characters \
         are allowed.";
    InvalidCode 400 "invalid_code" "Invalid or expired code"
        "The one-time code is wrong, expired, already used, or replaced by a newer code."
        "Request a new code.";
    Unauthenticated 401 "unauthenticated" "Authentication required"
        "The request has no access token or session cookie."
        "Send `Authorization: Bearer TOKEN`, or sign in with `POST /session`.";
    InvalidToken 401 "invalid_token" "Invalid access token"
        "The access token is malformed or wasn't issued by this server for this audience."
        "Sign in again or request a new token.";
    TokenExpired 401 "token_expired" "Access token expired"
        "The access token has expired."
        "Exchange the refresh token at `POST /refresh`, request a new token, or sign in again.";
    TokenRevoked 401 "token_revoked" "Access token revoked"
        "The access token, its session, user, OAuth client, or signing key was revoked."
        "Use the refresh token if there is one. Otherwise, sign in again or request a new token.";
    InvalidCredentials 401 "invalid_credentials" "Incorrect username or password"
        "The username or password is incorrect, or the user is disabled. The response is the same \
         in each case."
        "Check the username and password, or reset the password.";
    InvalidRefreshToken 401 "invalid_refresh_token" "Invalid refresh token"
        "The refresh token is invalid, expired, or revoked."
        "Sign in again.";
    RefreshTokenReused 401 "refresh_token_reused" "Refresh token reuse detected"
        "A refresh token was used again after the reuse interval, so its session was revoked. The \
         token might be stolen."
        "Sign in again. Use each refresh token once, and store the new one.";
    IncorrectPassword 403 "incorrect_password" "Incorrect password"
        "The current password in the request is incorrect. The session remains valid."
        "Send the current password of the user.";
    Forbidden 403 "forbidden" "Permission denied"
        "The user or the token doesn't have the required role, the user isn't in a required group, \
         or this type of token can't use the operation."
        "For the `admin` role, use a token of an administrator with the scope `admin`. For a \
         group, ask an administrator to add the user to the group. Otherwise, use the token of a \
         user session.";
    InsufficientScope 403 "insufficient_scope" "Insufficient scope"
        "The access token doesn't have the required scope."
        "Request a token with the scope that `detail` and `WWW-Authenticate` contain.";
    Csrf 403 "csrf" "Cross-site request blocked"
        "The request uses the session cookie, and another site might have caused it."
        "Browser apps: send `X-Latchkey-Request: 1` from the origin of this server or from an \
         allowed origin. Forward authentication: fix the header or setting that `detail` names.";
    ReauthenticationRequired 403 "reauthentication_required" "Recent sign-in required"
        "The operation requires a sign-in within the last five minutes."
        "Sign in again and repeat the request.";
    LastAdmin 403 "last_admin" "Last administrator"
        "The change would leave no enabled administrator."
        "Grant the `admin` role to another user first.";
    SignupClosed 403 "signup_closed" "Registration not allowed here"
        "Only administrators can create users on this server, or the server registers users with \
         another operation, which `detail` contains."
        "If `detail` contains an operation, use it. Otherwise, ask an administrator to create the \
         user.";
    NotFound 404 "not_found" "Not found"
        "The resource doesn't exist, or you don't have access to it."
        "Check the path and the ID.";
    MethodNotAllowed 405 "method_not_allowed" "Method not allowed"
        "The path doesn't support this HTTP method."
        "Use a method that the `Allow` header lists.";
    NotAcceptable 406 "not_acceptable" "Not acceptable"
        "The endpoint doesn't return a media type that `Accept` allows."
        "Change or omit `Accept`.";
    UsernameTaken 409 "username_taken" "Username already in use"
        "Another user has this username, or had it within the reservation period (90 days by \
         default)."
        "Choose another username. If you already registered, sign in.";
    EmailTaken 409 "email_taken" "Email address already in use"
        "Another user has this email address, or had it within the reservation period (90 days by \
         default)."
        "Use another email address. If you already registered, sign in.";
    ApplicationTaken 409 "application_taken" "Application already exists"
        "An application with this origin exists."
        "Change the existing application, or choose another origin.";
    GroupTaken 409 "group_taken" "Group already exists"
        "A group with this name exists."
        "Use the existing group, or choose another name.";
    GroupHasMembers 409 "group_has_members" "Group has members"
        "The group has members; remove them first. Deleting a group revokes no sessions."
        "List the members with `GET /users?group=NAME`, remove each of them from the group, and \
         delete the group again.";
    PreconditionFailed 412 "precondition_failed" "Precondition failed"
        "The item changed since you read it."
        "Get the item again, apply your change, and send the new `ETag` in `If-Match`.";
    TooLarge 413 "too_large" "Request body too large"
        "The request body exceeds the size limit of this server."
        "Send a body within the limit in `detail`.";
    UnsupportedMediaType 415 "unsupported_media_type" "Unsupported media type"
        "The endpoint doesn't support the media type of the request body."
        "Send the body in a media type that `detail` lists.";
    TooManyRequests 429 "too_many_requests" "Too many requests"
        "The request exceeds a rate limit."
        "Wait for the number of seconds in `Retry-After`, then try again.";
    Internal 500 "internal" "Internal server error"
        "An unexpected error occurred on the server."
        "Try again. If the error persists, contact the operator with the request ID.";
    EmailDisabled 501 "email_disabled" "Email disabled"
        "This server doesn't send email."
        "Contact the operator of this server.";
    Busy 503 "busy" "Server busy"
        "The server is overloaded, has too many open streams, is stopping, or is processing \
         another request for the same resource."
        "Wait for the number of seconds in `Retry-After`, then try again.";
    Unavailable 503 "unavailable" "Temporarily unavailable"
        "A required service, such as the database, is unavailable."
        "Wait for the number of seconds in `Retry-After`, then try again. If `detail` confirms \
         that the change is saved, you don't need to retry.";
}

/// The detail of [`Code::Csrf`] if the custom header is missing.
pub const CSRF_HEADER_MISSING: &str =
    "The header `X-Latchkey-Request: 1` is missing. Browser apps must send it.";
