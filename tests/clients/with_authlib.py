"""Authlib and joserfc, independent libraries, use the server. An error of theirs is a bug of the server.

The fixture comes on standard input, as JSON; each completed step is printed.
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

scene = json.load(sys.stdin)
METHODS = ["client_secret_basic", "client_secret_post"]


def discover():
    answer = requests.get(get_well_known_url(scene["issuer"], external=True))
    metadata = AuthorizationServerMetadata(answer.json())
    metadata.validate()
    assert metadata["issuer"] == scene["issuer"]
    return metadata


def person():
    """What people use themselves: a client without a secret."""
    return OAuth2Session(
        "latchkey", token_endpoint_auth_method="none", revocation_endpoint_auth_method="none"
    )


def client(method, secret=scene["client_secret"]):
    return OAuth2Session(
        scene["client_id"], secret, token_endpoint_auth_method=method, revocation_endpoint_auth_method=method
    )


def refresh():
    session = person()
    first = session.refresh_token(metadata["token_endpoint"], refresh_token=scene["refresh_token"])
    assert first["token_type"] == "Bearer" and first["refresh_token"] != scene["refresh_token"]
    narrow = session.refresh_token(metadata["token_endpoint"], scope="items:read")
    assert narrow["scope"] == "items:read" and narrow["refresh_token"] != first["refresh_token"]
    return narrow


def refresh_beyond(token):
    try:
        person().refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"], scope="admin")
        raise AssertionError("it grew")
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
        raise AssertionError("it got a token")
    except OAuthError as error:
        assert error.error == "invalid_client", error


def introspect(method, token):
    answer = client(method).introspect_token(metadata["introspection_endpoint"], token=token)
    assert answer.status_code == 200, answer.text
    return answer.json()


def revoke(session, token, hint):
    answer = session.revoke_token(metadata["revocation_endpoint"], token=token, token_type_hint=hint)
    assert answer.status_code == 200, answer.text


def verify(keys, token, audience):
    """As a resource server does it by itself (RFC 9068 section 4)."""
    decoded = jwt.decode(token, keys, algorithms=["EdDSA"])
    options = {name: {"essential": True} for name in ["exp", "sub", "client_id", "iat", "jti"]}
    options |= {"iss": {"essential": True, "value": scene["issuer"]}, "aud": {"essential": True, "value": audience}}
    assert decoded.header["typ"] == "at+jwt"
    JWTAccessTokenClaims(decoded.claims, decoded.header, options).validate()
    return decoded.claims


def told(step):
    print(step, flush=True)


metadata = discover()
told("metadata")
pair = refresh()
told("refresh")
refresh_beyond(pair)
told("no growth")
tokens = [client_credentials(method) for method in METHODS]
told("client credentials")
for method in METHODS:
    wrong_secret(method)
told("wrong secret")
for method in METHODS:
    seen = introspect(method, pair["access_token"])
    assert seen["active"] and seen["scope"] == "items:read" and seen["iss"] == scene["issuer"], seen
    assert introspect(method, tokens[0])["sub"] == scene["client_id"]
    assert introspect(method, scene["personal_token"])["active"]
    assert introspect(method, pair["refresh_token"]) == {"active": False}
told("introspection")
keys = KeySet.import_key_set(requests.get(metadata["jwks_uri"]).json())
for token in [pair["access_token"], scene["cookie"]]:
    assert verify(keys, token, scene["audience"])["sub"] == scene["sub"]
assert verify(keys, tokens[0], scene["audience"])["client_id"] == scene["client_id"]
told("keys")
revoke(client("client_secret_basic"), tokens[0], "access_token")
revoke(client("client_secret_post"), tokens[1], "refresh_token")
revoke(person(), pair["refresh_token"], "refresh_token")
revoke(person(), scene["personal_token"], None)
for token in [*tokens, pair["access_token"], scene["personal_token"]]:
    assert introspect("client_secret_basic", token) == {"active": False}
told("revocation")
