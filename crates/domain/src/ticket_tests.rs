use secrecy::ExposeSecret;

use super::*;
use crate::{
    access_token::{TokenKind, TokenPolicy, claims, verify_signature},
    account::Identity,
    group::GroupName,
    return_to,
    session::{APPLICATION_CLIENT, BROWSER_CLIENT, Session},
    text::ParsedText,
};

const NOW: u64 = 1_800_000_000;

const ISSUER: &str = "https://auth.example.com";

fn origin(text: &str) -> WebOrigin {
    WebOrigin::parse(text).unwrap()
}

fn application() -> WebOrigin {
    origin("https://app.example.com")
}

fn key() -> (SigningKey, VerifyingKeys) {
    let key = SigningKey::from_pkcs8(SigningKey::generate().unwrap().expose_secret()).unwrap();
    let mut keys = VerifyingKeys::default();
    keys.add(key.public());
    (key, keys)
}

fn session_claims(groups: GroupNames) -> Claims {
    let session = Session {
        session_id: Uuid::from_u128(1),
        user_id: Uuid::from_u128(2),
        generation: 1,
        client_id: BROWSER_CLIENT.into(),
        scope: "user:read items:read".into(),
        auth_time: NOW - 100,
        expires_at: NOW + 5_000,
    };
    let identity = Identity {
        version: 1,
        role: Role::User,
        username: Some("john".into()),
        email: Some("john@example.com".into()),
        email_verified: true,
        name: Some("John Doe".into()),
        groups,
    };
    let policy = TokenPolicy {
        issuer: ISSUER.into(),
        audience: ISSUER.into(),
        clock_skew: 5,
    };
    claims(&policy, &session, &identity, Uuid::from_u128(3), NOW, 600)
}

fn ticket(nonce: &Nonce) -> SignInTicket {
    let (claims, path) = (session_claims(GroupNames::default()), "/dash?a=b".into());
    let jti = Uuid::from_u128(4);
    SignInTicket::new(&claims, &application(), path, nonce.state(), jti, NOW).unwrap()
}

fn verify_for(
    text: &str,
    keys: &VerifyingKeys,
    application: &WebOrigin,
    nonce: &Nonce,
    now: u64,
) -> Result<SignInTicket, TokenError> {
    let expected = ExpectedTicket {
        issuer: ISSUER,
        application,
        nonce,
        clock_skew: 5,
    };
    SignInTicket::verify(text, keys, &expected, now).map(|(_, ticket)| ticket)
}

#[test]
fn ticket_is_valid_for_one_application_browser_and_minute() {
    let ((key, keys), (_, other_keys)) = (key(), key());
    let (nonce, other) = (Nonce::generate().unwrap(), Nonce::generate().unwrap());
    let text = ticket(&nonce).sign(&key).unwrap();
    let verify = |application: &str, nonce: &Nonce, now| {
        verify_for(&text, &keys, &origin(application), nonce, now)
    };
    let url = "https://app.example.com";
    assert_eq!(verify(url, &nonce, NOW), Ok(ticket(&nonce)));
    assert_eq!(verify(url, &nonce, NOW + 59), Ok(ticket(&nonce)));
    assert_eq!(verify(url, &nonce, NOW - 5), Ok(ticket(&nonce)));
    let rejected = Err(TokenError::Claims);
    assert_eq!(verify(url, &nonce, NOW + 60), rejected);
    assert_eq!(verify(url, &nonce, NOW - 6), rejected);
    assert_eq!(verify(url, &other, NOW), rejected);
    for other_url in [
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app2.example.com",
        "https://auth.example.com",
    ] {
        assert_eq!(verify(other_url, &nonce, NOW), rejected, "{other_url}");
    }
    let other_issuer = SignInTicket {
        iss: "https://other.example.com".into(),
        ..ticket(&nonce)
    };
    let text = other_issuer.sign(&key).unwrap();
    assert_eq!(
        verify_for(&text, &keys, &application(), &nonce, NOW),
        rejected
    );
    let text = ticket(&nonce).sign(&key).unwrap();
    assert!(matches!(
        verify_for(&text, &other_keys, &application(), &nonce, NOW),
        Err(TokenError::UnknownKey(Some(_)))
    ));
}

#[test]
fn altered_ticket_is_rejected() {
    let (key, keys) = key();
    let nonce = Nonce::generate().unwrap();
    let text = ticket(&nonce).sign(&key).unwrap();
    for position in 0..text.len() {
        let mut altered = text.clone();
        let other = if &text[position..=position] == "A" {
            "B"
        } else {
            "A"
        };
        altered.replace_range(position..=position, other);
        let verified = verify_for(&altered, &keys, &application(), &nonce, NOW);
        assert!(verified.is_err(), "{position}");
    }
}

#[test]
fn kinds_are_not_accepted_as_each_other() {
    let (key, keys) = key();
    let nonce = Nonce::generate().unwrap();
    let sign_in = ticket(&nonce).sign(&key).unwrap();
    let claims = session_claims(GroupNames::default());
    let sign_out = SignOutTicket::new(&claims, NOW).unwrap();
    let sign_out_text = sign_out.sign(&key).unwrap();
    let access = key.sign(&claims).unwrap();
    let application_text = key.sign_as(TokenKind::Application, &claims).unwrap();
    for text in [&sign_out_text, &access, &application_text] {
        let verified = verify_for(text, &keys, &application(), &nonce, NOW);
        assert_eq!(verified, Err(TokenError::Malformed));
    }
    for text in [&sign_in, &access, &application_text] {
        let verified = SignOutTicket::verify(text, &keys, ISSUER, 5, NOW);
        assert_eq!(verified, Err(TokenError::Malformed));
    }
    for text in [&sign_in, &sign_out_text, &application_text] {
        let verified = verify_signature(text, TokenKind::Access, &keys);
        assert_eq!(verified, Err(TokenError::Malformed));
    }
    for text in [&sign_in, &sign_out_text, &access] {
        let verified = verify_signature(text, TokenKind::Application, &keys);
        assert_eq!(verified, Err(TokenError::Malformed));
    }
    assert_eq!(
        SignOutTicket::verify(&sign_out_text, &keys, ISSUER, 5, NOW + 299),
        Ok(sign_out)
    );
    for (issuer, now) in [
        (ISSUER, NOW + 300),
        (ISSUER, NOW - 6),
        ("https://other.example.com", NOW),
    ] {
        let verified = SignOutTicket::verify(&sign_out_text, &keys, issuer, 5, now);
        assert_eq!(verified, Err(TokenError::Claims));
    }
}

#[test]
fn application_token_has_session_of_ticket() {
    let nonce = Nonce::generate().unwrap();
    let ticket = ticket(&nonce);
    let claims = application_token::claims(&ticket, Uuid::from_u128(9), NOW + 20, 3_600);
    let session = session_claims(GroupNames::default());
    assert!(application_token::is_for(&claims, &application()));
    assert!(!application_token::is_for(
        &claims,
        &origin("https://app.example.com:8443")
    ));
    assert!(!application_token::is_for(&session, &origin(ISSUER)));
    assert_eq!(claims.client_id, APPLICATION_CLIENT);
    assert_eq!(claims.aud, "https://app.example.com/.latchkey/");
    assert_eq!(
        (claims.sid, claims.sub, claims.generation, claims.auth_time),
        (session.sid, session.sub, 1, Some(NOW - 100))
    );
    assert_eq!((claims.exp, claims.iat), (NOW + 3_620, NOW + 20));
    assert_eq!(claims.email, None, "a URL contains no email address");
    let late = application_token::claims(&ticket, Uuid::nil(), NOW + 4_000, 3_600);
    assert_eq!(Some(late.exp), session.session_exp);
}

#[test]
fn ticket_of_expired_session_expires_with_it() {
    let claims = Claims {
        session_exp: Some(NOW + 10),
        ..session_claims(GroupNames::default())
    };
    let (path, state) = (String::from("/"), String::new());
    let ticket = SignInTicket::new(&claims, &application(), path, state, Uuid::nil(), NOW).unwrap();
    assert_eq!(ticket.exp, NOW + 10);
}

#[test]
fn longest_ticket_is_accepted() {
    let (key, keys) = key();
    let nonce = Nonce::generate().unwrap();
    let names: Vec<String> = (0..32).map(|number| format!("{number:0>32}")).collect();
    let names = names.iter().map(String::as_str);
    assert!(names.clone().all(|name| GroupName::parse(name).is_ok()));
    let claims = session_claims(GroupNames::parse_list(names).unwrap());
    let path = format!("/{}", "a".repeat(return_to::MAX_LENGTH));
    let ticket = SignInTicket::new(
        &claims,
        &application(),
        path,
        nonce.state(),
        Uuid::nil(),
        NOW,
    )
    .unwrap();
    let text = ticket.sign(&key).unwrap();
    assert_eq!(
        verify_for(&text, &keys, &application(), &nonce, NOW),
        Ok(ticket)
    );
}
