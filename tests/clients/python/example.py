"""Example for a client generated with openapi-python-client: from sign-up to sign-out. The argument is the URL of a server;
each completed step is printed. docs/how-to/generate-client.md describes how to generate the client.
"""

import secrets
import sys
from typing import TypeVar

from latchkey_api_client import AuthenticatedClient, Client
from latchkey_api_client.api.authentication import refresh_tokens, sign_in, sign_out, sign_up
from latchkey_api_client.api.current_user import get_current_user
from latchkey_api_client.api.items_sample import create_item, get_item, list_items, update_item
from latchkey_api_client.api.sessions import list_sessions, revoke_session
from latchkey_api_client.models import (
    CreateItemRequest,
    ErrorCode,
    ErrorResponse,
    Item,
    RefreshTokensRequest,
    SignInRequest,
    SignUpRequest,
    TokenPair,
    UpdateItemRequest,
)
from latchkey_api_client.types import UNSET

URL = sys.argv[1]
USERNAME = f"john-{secrets.token_hex(8)}"
PASSWORD = secrets.token_urlsafe()

Result = TypeVar("Result")


def success(result: Result | ErrorResponse | None) -> Result:
    """Returns the result of a request that must succeed."""
    assert result is not None and not isinstance(result, ErrorResponse), result
    return result


def expect_error(result: object, code: ErrorCode) -> None:
    """Every error has a code from a closed list."""
    assert isinstance(result, ErrorResponse) and result.code is code, result


def with_token(tokens: TokenPair) -> AuthenticatedClient:
    return AuthenticatedClient(base_url=URL, token=tokens.access_token)


def sign_in_with(password: str = PASSWORD) -> TokenPair | ErrorResponse | None:
    return sign_in.sync(client=public, body=SignInRequest(username=USERNAME, password=password))


public = Client(base_url=URL)
user = success(sign_up.sync(client=public, body=SignUpRequest(username=USERNAME, password=PASSWORD))).user
assert user.username == USERNAME and user.role == "user"
print("sign up")

tokens = success(sign_in_with())
client = with_token(tokens)
expect_error(sign_in_with("wrong"), ErrorCode.INVALID_CREDENTIALS)
print("sign in")

NAMES = ["Book", "Lamp", "Chair", "Table", "Clock"]
for name in NAMES:
    success(create_item.sync(client=client, body=CreateItemRequest(name=name)))
items: list[Item] = []
after: str | None = None
while True:
    page = success(list_items.sync(client=client, limit=2, after=after or UNSET))
    items += page.data
    after = page.next_
    if after is None:
        break
assert [item.name for item in items] == NAMES
print("pages")

# The second update uses an ETag that the first update has replaced.
book = items[0].id
etag = get_item.sync_detailed(client=client, id=book).headers["etag"]
success(update_item.sync(client=client, id=book, if_match=etag, body=UpdateItemRequest(name="A better book")))
lost = update_item.sync(client=client, id=book, if_match=etag, body=UpdateItemRequest(name="Lost"))
expect_error(lost, ErrorCode.PRECONDITION_FAILED)
assert success(get_item.sync(client=client, id=book)).name == "A better book"
print("lost update")

# A refresh token works once. Store the new one.
tokens = success(refresh_tokens.sync(client=public, body=RefreshTokensRequest(refresh_token=tokens.refresh_token)))
client = with_token(tokens)
assert success(get_current_user.sync(client=client)).username == USERNAME
print("refresh")

phone = with_token(success(sign_in_with()))
sessions = success(list_sessions.sync(client=client)).data
assert len(sessions) == 3, "one of the sign-up, two of the sign-ins"
for session in sessions:
    if not session.current:
        assert revoke_session.sync_detailed(client=client, id=session.id).status_code == 204
expect_error(get_current_user.sync(client=phone), ErrorCode.TOKEN_REVOKED)
print("sessions")

assert sign_out.sync_detailed(client=client).status_code == 204
expect_error(get_current_user.sync(client=client), ErrorCode.TOKEN_REVOKED)
print("sign out")
