"""Hooks of schemathesis: authentication of its requests, and further checks.

Environment:
  FUZZ_CALLER   `admin` or `revoked`
  FUZZ_TOKEN    access token of the caller `revoked`
  FUZZ_REDIS    `stopped` if Redis is stopped
  FUZZ_URL      URL of the server
  FUZZ_PROGRAM  program of the server, whose settings are in the environment as well
"""

import os
import re
import subprocess
import uuid
from base64 import b64encode

import requests
import schemathesis

CALLER = os.environ["FUZZ_CALLER"]
URL = os.environ["FUZZ_URL"]


def latchkey(*arguments, stdin=""):
    """Runs a command of the operator. It works even after the run has disabled all users."""
    command = [os.environ["FUZZ_PROGRAM"], *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout


def accepts_scheme(name):
    def has_scheme(ctx):
        return any(name in requirement for requirement in ctx.operation.definition.raw["security"])

    return has_scheme


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Replaces OAuth schemes, because the check `ignored_auth` can't remove their tokens."""
    for name in ["password", "clientCredentials"]:
        raw_schema["components"]["securitySchemes"][name] = {"type": "http", "scheme": "bearer"}


# The run revokes its own session, deletes its own user, and disables all others. After a 401, schemathesis requests a new
# token once and repeats the request.
@schemathesis.auth(refresh_interval=600).apply_to(accepts_scheme("password"))
class BearerAuth:
    def get(self, case, context):
        if CALLER == "revoked":
            return os.environ["FUZZ_TOKEN"]
        name, password = f"fuzz-{uuid.uuid4().hex[:16]}", uuid.uuid4().hex
        latchkey("user", "create", "--username", name, "--role", "admin", "--password-stdin", stdin=password)
        response = requests.post(f"{URL}/login", json={"username": name, "password": password}, timeout=60)
        response.raise_for_status()
        return response.json()["access_token"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


# Only for the operation that requires client authentication. Elsewhere, the header would contradict the generated `client_id`.
@schemathesis.auth(refresh_interval=600).apply_to(operation_id="introspectToken")
class ClientAuth:
    def get(self, case, context):
        words = latchkey("client", "create", f"fuzz-{uuid.uuid4().hex}", "--scope", "items:read").split()
        return f"{words[words.index('client_id:') + 1]}:{words[-1]}"

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Basic {b64encode(data.encode()).decode()}"


# Reasons for which the server rejects a request that is valid by the document. No schema contains them, for one of these
# reasons: the rule requires a union, which client generators don't support; the rule depends on the time or on the user; or
# the rule is a list of 10,000 passwords. Each pattern matches an error code, or a field and the reason of `invalid_request`.
# schemathesis.toml permits the status 400, and this table restricts it.
NO_NAME = "username provide `username` or `email`"
TWO_NAMES = "email can't be combined with `username`"
COMMON_PASSWORD = "weak_password"
LAST_NAME = "username is required because the user has no email address"
UNKNOWN_GROUP = "groups contains a group that doesn't exist; create the group first"
ORIGIN = "origin must .*"
NO_SCOPE = "scope must contain at least one scope"
DUPLICATE = ".* is duplicated"
REJECTION_REASONS = {
    "signUp": [NO_NAME, COMMON_PASSWORD],
    "signIn": [NO_NAME, TWO_NAMES],
    "createBrowserSession": [NO_NAME, TWO_NAMES],
    "updateCurrentUser": [LAST_NAME],
    "changePassword": [COMMON_PASSWORD],
    "requestEmailVerification": ["The user has no email address."],
    "verifyEmail": ["invalid_code"],
    "resetPassword": [COMMON_PASSWORD, "invalid_code"],
    "createPersonalAccessToken": [
        "expires_at must be in the future, .*",
        NO_SCOPE,
        "scope exceeds the scopes of your token",
        "You have [0-9]+ personal access tokens, .*",
    ],
    "createApplication": [ORIGIN, NO_SCOPE],
    "updateApplication": [ORIGIN, NO_SCOPE],
    "createUser": [NO_NAME, COMMON_PASSWORD, UNKNOWN_GROUP, "email is required without `password` .*"],
    "replaceUser": [LAST_NAME, COMMON_PASSWORD, UNKNOWN_GROUP],
    "updateUser": [LAST_NAME, COMMON_PASSWORD, UNKNOWN_GROUP],
    "issueToken": ["invalid_grant", "invalid_scope", "invalid_target", DUPLICATE, "`refresh_token`: is missing"],
    "revokeToken": [DUPLICATE],
    "introspectToken": [DUPLICATE, "`client_(id|secret)`: .* `Authorization`"],
    "verifyRequest": ["scope must contain at least one scope"],
    "searchAuditEvents": [
        "client can't be combined with `user`",
        "event must be event types, .*",
        "ip_address must be an IPv4 or IPv6 address",
        "(since|until) must be a time in RFC 3339, .*",
    ],
}


def operation_id(case):
    return case.operation.definition.raw["operationId"]


def unexpected_reasons(response, patterns):
    """Returns the reasons in the response that no pattern matches."""
    return [reason for reason in reasons(response) if not any(re.fullmatch(pattern, reason) for pattern in patterns)]


def reasons(response):
    body = response.json()
    if "error" in body:
        text = body["error_description"].rstrip(".")
        return text.split("; ") if body["error"] == "invalid_request" else [body["error"]]
    field_errors = [f"{error['field']} {error['reason']}" for error in body.get("errors", [])]
    return field_errors or [body["detail"] if body["code"] == "invalid_request" else body["code"]]


@schemathesis.check
def rejection_has_known_reason(ctx, response, case):
    """The server accepts a valid request, except for the reasons in the table."""
    if response.status_code != 400 or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    unexpected = unexpected_reasons(response, REJECTION_REASONS.get(operation_id(case), []))
    assert not unexpected, f"unexpected reasons: {unexpected}"


# Errors that the server finds before it verifies the token.
BEFORE_TOKEN = ["method_not_allowed", "not_acceptable", "not_found", "too_large", DUPLICATE]
# Errors of the configuration of a proxy, which don't depend on the token either.
INVALID_REQUIREMENT = [
    ".* is unknown; valid parameters: `role`, `scope`, `group`, `cookies`",
    "role must be .*",
    "scope contains an unknown scope; .*",
    "scope must contain at least one scope",
    "group .*",
    "cookies must be `strip`",
]


@schemathesis.check
def revoked_token_is_rejected(ctx, response, case):
    requirements = case.operation.definition.raw["security"]
    is_protected = any("password" in requirement or "sessionCookie" in requirement for requirement in requirements)
    if CALLER != "revoked" or {} in requirements or not is_protected:
        return
    assert not 200 <= response.status_code < 400, "a revoked token was accepted"
    has_token = response.request.headers.get("Authorization") == f"Bearer {os.environ['FUZZ_TOKEN']}"
    if has_token and response.status_code != 503:
        is_check = operation_id(case) == "verifyRequest"
        before_token = BEFORE_TOKEN + INVALID_REQUIREMENT if is_check else BEFORE_TOKEN
        unexpected = unexpected_reasons(response, ["token_revoked", *before_token])
        assert not unexpected, f"{response.status_code} {unexpected} instead of `token_revoked`"


@schemathesis.check
def redis_outage_causes_only_503(ctx, response, case):
    """Replaces `not_a_server_error`, which rejects every 5xx."""
    if os.environ.get("FUZZ_REDIS") == "stopped" and response.status_code >= 500:
        assert response.status_code == 503 and response.headers["retry-after"], response.status_code
