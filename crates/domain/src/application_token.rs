//! Application tokens: the values of application cookies.
//!
//! An application token has the user, the session, and the scopes of a session cookie, but only the
//! check of a proxy for one application accepts it. It is renewed like a session cookie.

use crate::{
    access_token::Claims, session::APPLICATION_CLIENT, ticket::SignInTicket, web_origin::WebOrigin,
};
use uuid::Uuid;

/// The path below which the server responds at the host of an application.
pub const APPLICATION_PATH: &str = "/.latchkey/";

/// Returns the `aud` claim of the tokens and tickets of an application.
///
/// It isn't the origin itself, so that a service with the origin as its audience rejects them, even
/// if the service ignores the `typ` header.
pub fn audience(application: &WebOrigin) -> String {
    format!("{}{APPLICATION_PATH}", application.as_str())
}

/// Returns whether the audience is that of this application.
pub fn is_audience_of(audience: &str, application: &WebOrigin) -> bool {
    audience.strip_suffix(APPLICATION_PATH) == Some(application.as_str())
}

/// Returns whether the claims are those of an application token for this application.
pub fn is_for(claims: &Claims, application: &WebOrigin) -> bool {
    claims.client_id == APPLICATION_CLIENT
        && claims.sid.is_some()
        && is_audience_of(&claims.aud, application)
}

/// Returns the claims of the first application token of a sign-in.
///
/// A ticket contains no name and no email address, because it is part of a URL. The caller adds
/// them. `now` is in seconds since the Unix epoch, `idle` (the idle timeout) in seconds.
pub fn claims(ticket: &SignInTicket, jti: Uuid, now: u64, idle: u64) -> Claims {
    Claims {
        iss: ticket.iss.clone(),
        aud: ticket.aud.clone(),
        sub: ticket.sub,
        client_id: APPLICATION_CLIENT.to_owned(),
        sid: Some(ticket.sid),
        jti,
        iat: now,
        nbf: now,
        exp: (now + idle).min(ticket.session_exp),
        scope: ticket.scope.clone(),
        roles: ticket.roles.clone(),
        groups: ticket.groups.clone(),
        generation: ticket.generation,
        auth_time: Some(ticket.auth_time),
        session_exp: Some(ticket.session_exp),
        username: None,
        email: None,
        email_verified: false,
        name: None,
    }
}
