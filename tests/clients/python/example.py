"""A client from openapi-python-client: an account's whole life. The address of a gateway is its argument; each step that
was completed is told on standard output. How the client is made: README.md, "Generate a client".
"""

import secrets
import sys
from typing import TypeVar

from latchkey_client import AuthenticatedClient, Client
from latchkey_client.api.account import end_session, get_user, list_sessions
from latchkey_client.api.items import create_item, get_item, list_items, update_item
from latchkey_client.api.signing_in import log_in, log_out, refresh, sign_up
from latchkey_client.models import (
    Item,
    ItemBody,
    ItemPatchBody,
    LoginBody,
    Problem,
    ProblemCode,
    RefreshBody,
    SignUpBody,
    TokenPair,
)
from latchkey_client.types import UNSET

ADDRESS = sys.argv[1]
USERNAME = f"john-{secrets.token_hex(8)}"
PASSWORD = secrets.token_urlsafe()

Answer = TypeVar("Answer")


def good(answer: Answer | Problem | None) -> Answer:
    """What was answered, where nothing may go wrong."""
    assert answer is not None and not isinstance(answer, Problem), answer
    return answer


def refused(answer: object, code: ProblemCode) -> None:
    """Each refusal is a problem with a code of a closed list."""
    assert isinstance(answer, Problem) and answer.code is code, answer


def signed_in(pair: TokenPair) -> AuthenticatedClient:
    return AuthenticatedClient(base_url=ADDRESS, token=pair.access_token)


def sign_in(password: str = PASSWORD) -> TokenPair | Problem | None:
    return log_in.sync(client=anybody, body=LoginBody(username=USERNAME, password=password))


anybody = Client(base_url=ADDRESS)
user = good(sign_up.sync(client=anybody, body=SignUpBody(username=USERNAME, password=PASSWORD))).user
assert user.username == USERNAME and user.role == "user"
print("sign up")

pair = good(sign_in())
client = signed_in(pair)
refused(sign_in("wrong"), ProblemCode.INVALID_CREDENTIALS)
print("sign in")

NAMES = ["Book", "Lamp", "Chair", "Table", "Clock"]
for name in NAMES:
    good(create_item.sync(client=client, body=ItemBody(name=name)))
items: list[Item] = []
after: str | None = None
while True:
    page = good(list_items.sync(client=client, limit=2, after=after or UNSET))
    items += page.items
    after = page.next_
    if after is None:
        break
assert [item.name for item in items] == NAMES
print("pages")

# Two people change what both have read: the second one is told.
book = items[0].id
etag = get_item.sync_detailed(client=client, id=book).headers["etag"]
good(update_item.sync(client=client, id=book, if_match=etag, body=ItemPatchBody(name="A better book")))
lost = update_item.sync(client=client, id=book, if_match=etag, body=ItemPatchBody(name="Lost"))
refused(lost, ProblemCode.PRECONDITION_FAILED)
assert good(get_item.sync(client=client, id=book)).name == "A better book"
print("lost update")

# Once: whoever comes with it again later has stolen it.
client = signed_in(good(refresh.sync(client=anybody, body=RefreshBody(refresh_token=pair.refresh_token))))
assert good(get_user.sync(client=client)).username == USERNAME
print("refresh")

phone = signed_in(good(sign_in()))
devices = good(list_sessions.sync(client=client)).items
assert len(devices) == 3, "of the sign-up, and two of the sign-in"
for device in devices:
    if not device.current:
        assert end_session.sync_detailed(client=client, id=device.id).status_code == 204
refused(get_user.sync(client=phone), ProblemCode.TOKEN_REVOKED)
print("devices")

assert log_out.sync_detailed(client=client).status_code == 204
refused(get_user.sync(client=client), ProblemCode.TOKEN_REVOKED)
print("sign out")
