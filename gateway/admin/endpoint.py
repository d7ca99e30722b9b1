"""An endpoint of the admin API as a value: its path, who may use it, its shapes, and the function behind it."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.admin.access import Access, Principal
from gateway.admin.problems import Problem, invalid

BODY_BYTES_MAX = 1024 * 1024
PAGE = 100
PAGE_MAX = 1_000
SERIAL_MAX = 2**62


@dataclass(frozen=True, slots=True)
class Call:
    """One authorized request."""

    request: Request
    principal: Principal
    body: Any = None

    def path(self, name: str) -> str:
        """Decoded here: the listener hands over paths as they were sent."""
        return unquote(self.request.path_params[name])

    def query(self, name: str) -> str | None:
        """Raises Problem 400 for control characters, which no database would keep either."""
        text = self.request.query_params.get(name)
        if text is not None and any(ord(char) < 0x20 or char == "\x7f" for char in text):
            raise Problem(400, "Invalid", f"{name} holds control characters: {text[:100]!r}")
        return text

    @property
    def scope(self) -> str | None:
        """The tenant to which a tenant-admin is bound; None sees all."""
        return self.principal.tenant

    @property
    def page(self) -> tuple[str, int]:
        """`?cursor=&limit=`: what to begin behind, and how much."""
        text = self.query("limit") or str(PAGE)
        count = whole(text)
        if count is None or not 1 <= count <= PAGE_MAX:
            raise Problem(400, "Invalid", f"limit is {text[:100]!r}; send 1 to {PAGE_MAX}")
        return self.query("cursor") or "", count

    @property
    def expected(self) -> int:
        """The revision of `If-Match`. Raises Problem 428 without one."""
        text = self.request.headers.get("if-match")
        if text is None:
            detail = "send If-Match with the ETag that you have read, so that no change of others is lost"
            raise Problem(428, "If-Match is missing", detail)
        number = whole(text.strip().removeprefix("W/").strip('"'))
        if number is None:
            raise Problem(400, "Invalid", f"If-Match is {text[:100]!r}; send the ETag as you got it")
        return number


def whole(text: str) -> int | None:
    """A number as a database counts, else None."""
    plain = text.isascii() and text.isdecimal() and len(text) <= len(str(SERIAL_MAX))
    return int(text) if plain and int(text) <= SERIAL_MAX else None


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`body` is the shape of what is sent, `says` of what comes back, or of each item of `many`."""

    method: str
    path: str
    access: Access
    handler: Handler
    summary: str
    body: type[BaseModel] | None = None
    says: type[BaseModel] | None = None
    query: tuple[str, ...] = ()
    status: int = 200
    many: bool = False

    async def serve(self, request: Request, principal: Principal) -> Response:
        tenant = request.path_params.get("tenant")
        self.access.check(principal, None if tenant is None else unquote(tenant))
        self._check_query(request)
        body = None if self.body is None else await _body(request, self.body)
        return await self.handler(Call(request, principal, body))

    def _check_query(self, request: Request) -> None:
        """A filter that is misspelt would show more than was asked for."""
        names = [name for name, _ in request.query_params.multi_items()]
        for name in names:
            if name not in self.query:
                known = ", ".join(self.query) or "no parameters"
                raise Problem(400, "Invalid", f"{name[:100]!r} is not known here; this takes {known}")
            if names.count(name) > 1:
                raise Problem(400, "Invalid", f"{name!r} is there more than once; send it once")


async def _body(request: Request, shape: type[BaseModel]) -> BaseModel:
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > BODY_BYTES_MAX:
            raise Problem(413, "Too large", f"the body is larger than {BODY_BYTES_MAX} bytes")
    try:
        told = shape.model_validate_json(raw or b"{}")
    except ValidationError as error:
        raise invalid(error) from None
    json.loads(raw or b"{}", object_pairs_hook=_each_once)
    return told


def _each_once(pairs: list[tuple[str, object]]) -> None:
    """Two readers of one body must not see two things in it."""
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            errors = [{"field": name, "message": "it stands there more than once; send it once"}]
            raise Problem(422, "Invalid", "the body names a field more than once", errors=errors)


def shown(shape: BaseModel, *, status: int = 200, etag: int | None = None) -> Response:
    headers = {} if etag is None else {"etag": f'"{etag}"'}
    return JSONResponse(shape.model_dump(mode="json", by_alias=True), status, headers)


def page(call: Call, items: Sequence[BaseModel], cursor: str | None) -> Response:
    """`{"items": [...], "next": cursor or null}`, and the same as a Link."""
    body = {"items": [item.model_dump(mode="json", by_alias=True) for item in items], "next": cursor}
    headers = {}
    if cursor is not None:
        url = call.request.url.include_query_params(cursor=cursor)
        headers["link"] = f'<{url.path}?{url.query}>; rel="next"'
    return JSONResponse(body, headers=headers)
