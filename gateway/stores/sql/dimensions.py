"""By what entries are summed and found: the columns of dimensions, tags in their JSON, requests."""

import json
import re
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Text, and_, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB

from gateway.stores.sql.tables import entries

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]+")

_COLUMNS: dict[str, ColumnElement[str | None]] = {
    "tenant": entries.c.tenant,
    "key": entries.c.key_id,
    "user": entries.c.user,
    "run": entries.c.root_run_id,
    "session": entries.c.session_id,
    "model": entries.c.model,
    "provider": entries.c.provider,
    "provider_model": entries.c.provider_model,
}


def dimension(per: str, *, sqlite: bool) -> ColumnElement[str | None]:
    """`tenant`, `key`, `user`, `run`, `session`, `model`, `provider`, `provider_model`, or `tag:NAME` of any name."""
    if per in _COLUMNS:
        return _COLUMNS[per]
    name = per.removeprefix("tag:")
    tag: ColumnElement[str | None]
    if not sqlite:
        tag = func.jsonb_extract_path_text(cast(entries.c.tags, JSONB), name)
    elif _PLAIN_NAME.fullmatch(name):
        tag = func.json_extract(entries.c.tags, f'$."{name}"')
    else:
        # SQLite's paths cannot quote every name, and its paths see "\u00e9" where the name says "é".
        members = func.json_each(entries.c.tags).table_valued("key", "value", name="members")
        value: ColumnElement[str | None] = literal_column("members.value")
        tag = select(value).select_from(members).where(members.c.key == name).scalar_subquery()
    return tag


def of_requests(ids: Sequence[str], *, sqlite: bool) -> ColumnElement[bool]:
    """Of at least one. Attempts are named by their request, a point and more: SQLite, whose texts are in the order of
    their bytes, finds them in the index of attempts and keeps no second one."""
    named = entries.c.request_id.in_(ids)
    if not sqlite:
        return named
    other, asked = entries.alias(), func.json_each(json.dumps(list(ids))).table_valued("value", name="asked")
    name: ColumnElement[str] = literal_column("asked.value", Text)
    found = select(other.c.id).join_from(asked, other, other.c.attempt_id.between(name, name + "/"))
    return and_(named, entries.c.id.in_(found))
