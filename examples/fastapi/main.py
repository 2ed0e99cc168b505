"""A FastAPI application. Latchkey checks the access token of each request to a protected route."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

AUTH_URL = os.environ.get("AUTH_URL", "http://127.0.0.1:8000")
HOST, PORT = os.environ.get("LISTEN", "127.0.0.1:9000").rsplit(":", 1)
TIMEOUT_SECONDS = 2

logger = logging.getLogger("uvicorn.error")
# The security scheme of the OpenAPI document. Latchkey rejects requests without a token.
Token = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


class Identity(BaseModel):
    """The caller: a user or, if the route requires a scope, possibly an OAuth client."""

    id: str
    username: str  # Empty for an OAuth client, and for a user without a username.


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    # One client for all requests, so that checks reuse connections.
    async with httpx.AsyncClient(base_url=AUTH_URL, timeout=TIMEOUT_SECONDS) as client:
        yield {"latchkey": client}


def require(**query: str) -> Callable[[Request, Token], Awaitable[Identity]]:
    """Creates a dependency that checks the caller, and the role or scope in the query."""

    async def check(request: Request, token: Token) -> Identity:
        client: httpx.AsyncClient = request.state.latchkey
        value = f"Bearer {token.credentials}" if token else ""
        headers = {b"Authorization": value.encode("latin-1")}  # The value might not be ASCII.
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                response = await client.get("/auth/verify", params=query, headers=headers)
        except (httpx.HTTPError, TimeoutError) as error:
            logger.error("check failed: %r", error)
            raise HTTPException(503) from error
        get, status = response.headers.get, response.status_code
        if status == 204 and (user_id := get("X-Auth-User")):
            return Identity(id=user_id, username=get("X-Auth-Username", ""))
        # 401 and 403 are about the caller. Every other response denies the request as well.
        if status not in (401, 403):
            logger.error("check failed: %r", response)
            status = 503
        names = ("WWW-Authenticate", "Retry-After")
        raise HTTPException(status, headers={name: value for name in names if (value := get(name))})

    return check


current_user = require()
app = FastAPI(title="Example", lifespan=lifespan)


@app.get("/me")
async def me(user: Annotated[Identity, Depends(current_user)]) -> Identity:
    return user


@app.get("/items", dependencies=[Depends(require(scope="items:read"))])
async def items() -> list[str]:
    return ["Book", "Lamp"]


@app.get("/admin")
async def admin(user: Annotated[Identity, Depends(require(role="admin"))]) -> Identity:
    return user


if __name__ == "__main__":
    with socket.create_server((HOST, int(PORT))) as listener:
        print("listening on http://{}:{}".format(*listener.getsockname()), flush=True)
        uvicorn.Server(uvicorn.Config(app)).run(sockets=[listener])
