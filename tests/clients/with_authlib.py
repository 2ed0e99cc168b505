"""Uses the server with the independent libraries Authlib and joserfc. An error is a bug of the server.

Reads the fixture as JSON from standard input, and prints each completed step.
"""

import json
import sys

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from authlib.oauth2.rfc9068.claims import JWTAccessTokenClaims
from joserfc import jwt
from joserfc.jwk import KeySet

fixture = json.load(sys.stdin)
METHODS = ["client_secret_basic", "client_secret_post"]


def discover():
    response = requests.get(get_well_known_url(fixture["issuer"], external=True))
    metadata = AuthorizationServerMetadata(response.json())
    metadata.validate()
    assert metadata["issuer"] == fixture["issuer"]
    return metadata


def user_client():
    """Returns the client of users, which has no secret."""
    return OAuth2Session(
        "latchkey", token_endpoint_auth_method="none", revocation_endpoint_auth_method="none"
    )


def client(method, secret=fixture["client_secret"]):
    return OAuth2Session(
        fixture["client_id"], secret, token_endpoint_auth_method=method, revocation_endpoint_auth_method=method
    )


def refresh():
    session = user_client()
    first = session.refresh_token(metadata["token_endpoint"], refresh_token=fixture["refresh_token"])
    assert first["token_type"] == "Bearer" and first["refresh_token"] != fixture["refresh_token"]
    narrowed = session.refresh_token(metadata["token_endpoint"], scope="items:read")
    assert narrowed["scope"] == "items:read" and narrowed["refresh_token"] != first["refresh_token"]
    return narrowed


def request_wider_scope(token):
    try:
        user_client().refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"], scope="admin")
        raise AssertionError("the scope was widened")
    except OAuthError as error:
        assert error.error == "invalid_scope", error


def client_credentials(method):
    session = client(method)
    token = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    assert token["scope"] == "items:read" and "refresh_token" not in token
    assert not token.is_expired()
    return token["access_token"]


def wrong_secret(method):
    try:
        client(method, "wrong").fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
        raise AssertionError("a token was issued")
    except OAuthError as error:
        assert error.error == "invalid_client", error


def introspect(method, token):
    response = client(method).introspect_token(metadata["introspection_endpoint"], token=token)
    assert response.status_code == 200, response.text
    return response.json()


def revoke(session, token, hint):
    response = session.revoke_token(metadata["revocation_endpoint"], token=token, token_type_hint=hint)
    assert response.status_code == 200, response.text


def verify(keys, token, audience):
    """Validates a token like a resource server (RFC 9068 section 4)."""
    decoded = jwt.decode(token, keys, algorithms=["EdDSA"])
    options = {name: {"essential": True} for name in ["exp", "sub", "client_id", "iat", "jti"]}
    options |= {"iss": {"essential": True, "value": fixture["issuer"]}, "aud": {"essential": True, "value": audience}}
    assert decoded.header["typ"] == "at+jwt"
    JWTAccessTokenClaims(decoded.claims, decoded.header, options).validate()
    return decoded.claims


def complete(step):
    print(step, flush=True)


metadata = discover()
complete("metadata")
pair = refresh()
complete("refresh")
request_wider_scope(pair)
complete("wider scope")
tokens = [client_credentials(method) for method in METHODS]
complete("client credentials")
for method in METHODS:
    wrong_secret(method)
complete("wrong secret")
for method in METHODS:
    claims = introspect(method, pair["access_token"])
    assert claims["active"] and claims["scope"] == "items:read" and claims["iss"] == fixture["issuer"], claims
    assert introspect(method, tokens[0])["sub"] == fixture["client_id"]
    assert introspect(method, fixture["personal_token"])["active"]
    assert introspect(method, pair["refresh_token"]) == {"active": False}
complete("introspection")
keys = KeySet.import_key_set(requests.get(metadata["jwks_uri"]).json())
for token in [pair["access_token"], fixture["cookie"]]:
    assert verify(keys, token, fixture["audience"])["sub"] == fixture["sub"]
assert verify(keys, tokens[0], fixture["audience"])["client_id"] == fixture["client_id"]
complete("keys")
revoke(client("client_secret_basic"), tokens[0], "access_token")
revoke(client("client_secret_post"), tokens[1], "refresh_token")
revoke(user_client(), pair["refresh_token"], "refresh_token")
revoke(user_client(), fixture["personal_token"], None)
for token in [*tokens, pair["access_token"], fixture["personal_token"]]:
    assert introspect("client_secret_basic", token) == {"active": False}
complete("revocation")
