"""Who schemathesis is, and what it looks for beside its own checks.

It reads from its environment: FUZZ_AS, `admin` or `revoked`; FUZZ_REDIS, `stopped` or not; FUZZ_URL, where the gateway is;
FUZZ_PROGRAM, the gateway's program, whose own settings are in the environment as well; FUZZ_TOKEN, the token of a revoked user.
"""

import os
import re
import subprocess
import uuid
from base64 import b64encode

import requests
import schemathesis

WHO = os.environ["FUZZ_AS"]
URL = os.environ["FUZZ_URL"]


def latchkey(*arguments, told=""):
    """The operator's side door, which is open whatever the run has done to every account that it met."""
    command = [os.environ["FUZZ_PROGRAM"], *arguments]
    return subprocess.run(command, input=told, capture_output=True, text=True, check=True).stdout


def with_scheme(name):
    def wants(ctx):
        return any(name in way for way in ctx.operation.definition.raw["security"])

    return wants


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Of OAuth's schemes the tool does not know where the token goes, and so could not leave it out (`ignored_auth`)."""
    for name in ["password", "clientCredentials"]:
        raw_schema["components"]["securitySchemes"][name] = {"type": "http", "scheme": "bearer"}


# The run signs its own session out, deletes its own account, disables all others. After a 401 the tool asks for another token
# once, and sends the request again.
@schemathesis.auth(refresh_interval=600).apply_to(with_scheme("password"))
class Bearer:
    def get(self, case, context):
        if WHO == "revoked":
            return os.environ["FUZZ_TOKEN"]
        name, password = f"fuzz-{uuid.uuid4().hex[:16]}", uuid.uuid4().hex
        latchkey("user", "create", "--username", name, "--role", "admin", "--password-stdin", told=password)
        answer = requests.post(f"{URL}/login", json={"username": name, "password": password}, timeout=60)
        answer.raise_for_status()
        return answer.json()["access_token"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


# Alone where a client must prove who it is: where it may, its proof would contradict the `client_id` that the tool makes up.
@schemathesis.auth(refresh_interval=600).apply_to(operation_id="introspectToken")
class Client:
    def get(self, case, context):
        told = latchkey("client", "create", f"fuzz-{uuid.uuid4().hex}", "--scope", "items:read").split()
        return f"{told[told.index('client_id:') + 1]}:{told[-1]}"

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Basic {b64encode(data.encode()).decode()}"


# What is right by the document and refused all the same, because no schema says it: it would be a union, which generators of
# clients do not know; or it hangs on the moment or on the account; or it is a list of ten thousand words. By operation, patterns
# of codes, and of what `invalid_request` says of a member. schemathesis.toml leaves 400 to this table.
NEITHER = "username provide `username` or `email`"
TWO = "email can't be combined with `username`"
COMMON = "weak_password"
UNNAMED = "username is required because the user has no email address"
TWICE = ".* is duplicated"
REFUSED = {
    "signUp": [NEITHER, COMMON],
    "signIn": [NEITHER, TWO],
    "createBrowserSession": [NEITHER, TWO],
    "updateCurrentUser": [UNNAMED],
    "changePassword": [COMMON],
    "verifyEmail": ["invalid_code"],
    "resetPassword": [COMMON, "invalid_code"],
    "createPersonalAccessToken": [
        "expires_at must be in the future, .*",
        "scope must contain at least one scope",
        "scope exceeds the scopes of your token",
        "You have 50 personal access tokens, .*",
    ],
    "createUser": [NEITHER, COMMON, "email is required without `password` .*"],
    "replaceUser": [UNNAMED, COMMON],
    "updateUser": [UNNAMED, COMMON],
    "issueToken": ["invalid_grant", "invalid_scope", "invalid_target", TWICE, "`refresh_token`: is missing"],
    "revokeToken": [TWICE],
    "introspectToken": [TWICE, "`client_(id|secret)`: .* `Authorization`"],
    "verifyRequest": ["scope must contain at least one scope"],
}


def id_of(case):
    return case.operation.definition.raw["operationId"]


def strange(response, known):
    """What it tells that is not known."""
    return [told for told in reasons(response) if not any(re.fullmatch(way, told) for way in known)]


def reasons(response):
    told = response.json()
    if "error" in told:
        text = told["error_description"].rstrip(".")
        return text.split("; ") if told["error"] == "invalid_request" else [told["error"]]
    flaws = [f"{flaw['field']} {flaw['reason']}" for flaw in told.get("errors", [])]
    return flaws or [told["detail"] if told["code"] == "invalid_request" else told["code"]]


@schemathesis.check
def refused_for_a_known_reason(ctx, response, case):
    """What no schema says is written down; anything else that is right must be accepted."""
    if response.status_code != 400 or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    unknown = strange(response, REFUSED.get(id_of(case), []))
    assert not unknown, f"no reason that is known: {unknown}"


# What is found out before anybody asks who calls: no such address or method, a size, a parameter that is there twice; and a
# demand that a proxy misspelt, which it learns whoever calls.
BEFORE = ["method_not_allowed", "not_acceptable", "not_found", "too_large", TWICE]
MISSPELT = [
    ".* is unknown; valid parameters: `role`, `scope`",
    "role must be .*",
    "scope contains an unknown scope; .*",
    "scope must contain at least one scope",
]


@schemathesis.check
def a_revoked_token_opens_nothing(ctx, response, case):
    ways = case.operation.definition.raw["security"]
    if WHO != "revoked" or {} in ways or not any("password" in way or "sessionCookie" in way for way in ways):
        return
    assert not 200 <= response.status_code < 400, "a revoked token was accepted"
    sent = response.request.headers.get("Authorization") == f"Bearer {os.environ['FUZZ_TOKEN']}"
    if sent and response.status_code != 503:
        before = BEFORE + MISSPELT if id_of(case) == "verifyRequest" else BEFORE
        unknown = strange(response, ["token_revoked", *before])
        assert not unknown, f"{response.status_code} {unknown}, and not `token_revoked`"


@schemathesis.check
def without_redis_only_503(ctx, response, case):
    """In the place of `not_a_server_error`, for which any 5xx is one too many."""
    if os.environ.get("FUZZ_REDIS") == "stopped" and response.status_code >= 500:
        assert response.status_code == 503 and response.headers["retry-after"], response.status_code
