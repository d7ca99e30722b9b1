"""Refusals of the admin API, as problem+json (RFC 9457): what was wrong, where, and what to do."""

import json
from collections.abc import Sequence

from pydantic import ValidationError
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """`errors` name the fields: `{"field", "message"}`."""

    def __init__(
        self, status: int, title: str, detail: str, *, errors: Sequence[dict[str, str]] = (), etag: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors
        self.etag = etag

    def response(self) -> Response:
        shown: dict[str, object] = {"title": self.title, "status": self.status, "detail": self.detail}
        if self.errors:
            shown["errors"] = list(self.errors)
        headers = {"www-authenticate": "Bearer"} if self.status == 401 else {}
        if self.etag is not None:
            headers["etag"] = f'"{self.etag}"'
        return Response(json.dumps(shown), self.status, headers, MEDIA_TYPE)


def field(name: str, message: str) -> dict[str, str]:
    return {"field": name, "message": message}


def not_found(what: str, name: str) -> Problem:
    """Also for what belongs to somebody else: nobody learns what others have."""
    return Problem(404, "Not found", f"there is no {what} {name!r}")


def invalid(error: ValidationError) -> Problem:
    """One line for each field, in the caller's terms; the input itself is not repeated."""
    errors = []
    for item in error.errors(include_url=False, include_input=False):
        context = item.get("ctx", {})
        remedy = f"; {context['remedy']}" if "remedy" in context else ""
        field = ".".join(str(part) for part in item["loc"]) or "body"
        errors.append({"field": field, "message": f"{item['msg']}{remedy}"})
    return Problem(422, "Invalid", "the request has fields that cannot be used", errors=errors)
