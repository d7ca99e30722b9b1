"""Speaks to a gateway's admin API and shows what it says: tables on a terminal, JSON for programs."""

import json
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NoReturn

import typer

PREFIX = "/admin/v1"
TIMEOUT_S = 30.0
URL = "http://127.0.0.1:8081"


class Remote:
    """One gateway's admin API. Refusals end the command with what they say and the code 1."""

    def __init__(self, url: str | None = None) -> None:
        key = os.environ.get("METERWAY_ADMIN_KEY")
        if not key:
            fail("METERWAY_ADMIN_KEY is not set; export the gateway's admin key")
        self._http = import_module("httpx")
        self._client = self._http.Client(
            base_url=(url or os.environ.get("METERWAY_ADMIN_URL") or URL).rstrip("/"),
            headers={"authorization": f"Bearer {key}"},
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    def ask(self, method: str, path: str, body: object = None, *, etag: str | None = None, **query: str | None) -> Any:
        """The JSON of the answer, None for an empty one."""
        answer = self._send(method, path, body, etag, query)
        return answer.json() if answer.content else None

    def revision(self, path: str) -> str:
        """The ETag of an object, to change it on."""
        tag: str = self._send("GET", path, None, None, {}).headers.get("etag", "")
        return tag

    def items(self, path: str, **query: str | None) -> Iterator[dict[str, Any]]:
        """All of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.ask("GET", path, cursor=cursor, **query)
            yield from page["items"]
            cursor = page.get("next")
            if cursor is None:
                return

    def export(self, path: str, **query: str | None) -> None:
        """Straight to standard output, as it comes."""
        params = {name: value for name, value in query.items() if value is not None}
        with self._client.stream("GET", PREFIX + path, params=params) as answer:
            if answer.status_code >= 400:
                answer.read()
                fail(_words(answer))
            for chunk in answer.iter_bytes():
                sys.stdout.buffer.write(chunk)

    def _send(self, method: str, path: str, body: object, etag: str | None, query: dict[str, str | None]) -> Any:
        params = {name: value for name, value in query.items() if value is not None}
        headers = {} if etag is None else {"if-match": etag}
        try:
            answer = self._client.request(method, PREFIX + path, json=body, params=params, headers=headers)
        except self._http.HTTPError as error:
            fail(f"the admin API at {self._client.base_url} does not answer ({error}); see --url")
        if answer.status_code >= 400:
            fail(_words(answer))
        return answer


def fail(words: str) -> NoReturn:
    typer.echo(f"meterway: {words}", err=True)
    raise typer.Exit(1)


def show(items: list[dict[str, Any]], columns: list[str], *, as_json: bool) -> None:
    """A table of these columns on a terminal; one JSON document otherwise."""
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps(items, indent=None if not sys.stdout.isatty() else 2))
        return
    table = import_module("rich.table").Table(*columns)
    for item in items:
        table.add_row(*(_cell(item.get(column)) for column in columns))
    import_module("rich.console").Console().print(table)


def done(told: dict[str, Any], name: str | None = None, *, as_json: bool) -> None:
    """What a change came to: all of it as JSON where that is asked for, else its one figure of use, or nothing."""
    if as_json:
        typer.echo(json.dumps(told))
    elif name is not None:
        typer.echo(told[name])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return (
            ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else ", ".join(map(str, value))
        )
    return str(value)


def _words(answer: Any) -> str:
    try:
        said = answer.json()
    except ValueError:
        return f"{answer.status_code}: {answer.text[:200]}"
    lines = [str(said.get("detail", said))]
    lines += [f"  {error['field']}: {error['message']}" for error in said.get("errors", ())]
    return "\n".join(lines)
