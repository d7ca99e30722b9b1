"""What was spent, by whom and why: usage, the ledger, runs, single requests, and the audit trail."""

import csv
import io
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from starlette.responses import JSONResponse, Response, StreamingResponse

from gateway.admin import shapes
from gateway.admin.access import VIEW, Access
from gateway.admin.endpoint import Call, Endpoint, page, whole
from gateway.admin.office import Office
from gateway.admin.problems import Problem, not_found
from gateway.admin.threads import in_thread
from gateway.domain.ledger import Entry
from gateway.filing import Span, UsagePlace

READ = Access(VIEW, own=True)
EXPORT_PAGE = 1_000
BUCKETS = ("hour", "day")
GROUPS_MAX = 8
SECONDS_MAX = 1 << 60
DIMENSIONS = frozenset({"tenant", "key", "user", "model", "provider", "provider_model", "run", "session"})
_SPAN = ("tenant", "from", "to")


def endpoints(office: Office) -> Sequence[Endpoint]:
    desk = _Accounts(office)
    return [
        Endpoint(
            "GET",
            "/usage",
            READ,
            desk.usage,
            "Usage and cost, by dimensions and time",
            says=shapes.UsageOut,
            query=("group_by", "bucket", "cursor", "limit", *_SPAN),
            many=True,
        ),
        Endpoint(
            "GET",
            "/tenants/{tenant}/usage",
            READ,
            desk.usage,
            "Usage of one tenant",
            says=shapes.UsageOut,
            query=("group_by", "bucket", "cursor", "limit", "from", "to"),
            many=True,
        ),
        Endpoint(
            "GET",
            "/runs/{run_id}",
            READ,
            desk.run,
            "A run and all runs below it",
            says=shapes.UsageOut,
            query=("cursor", "limit"),
            many=True,
        ),
        Endpoint(
            "GET",
            "/ledger",
            READ,
            desk.ledger,
            "Entries; `format=jsonl` or `csv` exports all of them",
            says=shapes.EntryOut,
            query=("format", "cursor", "limit", *_SPAN),
            many=True,
        ),
        Endpoint("GET", "/requests/{request_id}", READ, desk.request, "What happened to one request, and why"),
        Endpoint(
            "GET",
            "/audit",
            READ,
            desk.audit,
            "Every change, newest first",
            says=shapes.AuditOut,
            query=("cursor", "limit", "tenant"),
            many=True,
        ),
    ]


class _Accounts:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def usage(self, call: Call) -> Response:
        groups = [name for name in (call.query("group_by") or "tenant").split(",") if name]
        if len(groups) > GROUPS_MAX or len(set(groups)) < len(groups):
            raise Problem(400, "Invalid", f"group_by has {len(groups)} names; send up to {GROUPS_MAX}, each once")
        for name in groups:
            if name not in DIMENSIONS and not (name.startswith("tag:") and len(name) > len("tag:")):
                known = ", ".join(sorted(DIMENSIONS))
                raise Problem(400, "Invalid", f"group_by has {name[:100]!r}; it knows {known} and tag:NAME")
        bucket = call.query("bucket")
        if bucket not in (None, *BUCKETS):
            raise Problem(400, "Invalid", f"bucket is {bucket!r}; send hour or day")
        return await self._usage(call, _span(call), groups, bucket)

    async def run(self, call: Call) -> Response:
        span = Span(tenant=call.scope, run=call.path("run_id"))
        return await self._usage(call, span, ["tenant", "run", "model"], None)

    async def ledger(self, call: Call) -> Response:
        await self._office.settled()
        kind = call.query("format")
        span = _span(call)
        if kind in ("jsonl", "csv"):
            media = "text/csv" if kind == "csv" else "application/x-ndjson"
            return StreamingResponse(self._export(span, kind), media_type=media)
        if kind not in (None, "json"):
            raise Problem(400, "Invalid", f"format is {kind!r}; send json, jsonl or csv")
        cursor, count = call.page
        found = await in_thread(self._office.books.entries, span, _serial(cursor), count + 1)
        following = str(found[count - 1][0]) if len(found) > count else None
        return page(call, [entry_out(entry) for _, entry in found[:count]], following)

    async def request(self, call: Call) -> Response:
        """From the record while this process remembers it, and from the ledger for good."""
        await self._office.settled()
        name = call.path("request_id")
        span = Span(tenant=call.scope, request=name)
        found = await in_thread(self._office.books.entries, span, 0, EXPORT_PAGE)
        record = self._office.running.record(name)
        if record is not None and call.scope not in (None, record.tenant):
            record = None
        if record is None and not found:
            raise not_found("request", name)
        told: dict[str, object] = {"entries": [entry_out(entry).model_dump(mode="json") for _, entry in found]}
        if record is not None:
            told |= {
                "status": record.status,
                "error": record.error_code,
                "model": record.model,
                "sticky": record.sticky,
                "duration_s": record.duration_s,
                "attempts": [
                    {"deployment": one.deployment, "status": one.status, "failure": one.failure, "wait_s": one.wait_s}
                    for one in record.attempts
                ],
                "left_out": [{"deployment": drop.deployment, "reason": drop.reason} for drop in record.drops],
            }
        return JSONResponse(told)

    async def audit(self, call: Call) -> Response:
        cursor, count = call.page
        tenant = call.scope or call.query("tenant")
        before = _serial(cursor) if cursor else None
        lines = await in_thread(self._office.store.audit_lines, tenant, before, count + 1)
        items = [
            shapes.AuditOut(
                id=line.id,
                at=shapes.at(line.at_s),
                actor=line.actor,
                role=line.role,
                action=line.action,
                kind=line.kind,
                object_id=line.object_id,
                tenant=line.tenant,
                before=line.before,
                after=line.after,
            )
            for line in lines[:count]
        ]
        return page(call, items, str(items[-1].id) if len(lines) > count else None)

    async def _usage(self, call: Call, span: Span, groups: Sequence[str], bucket: str | None) -> Response:
        await self._office.settled()
        cursor, count = call.page
        after = _place(cursor, len(groups)) if cursor else None
        rows = await in_thread(self._office.books.usage, span, groups, bucket, (after, count + 1))
        items = [
            shapes.UsageOut(
                group=dict(row.group),
                bucket=shapes.at_or_none(row.bucket_s),
                requests=row.requests,
                input_tokens=row.input_tokens,
                output_tokens=row.output_tokens,
                cached_tokens=row.cached_tokens,
                usd=shapes.usd(row.cost_nano_usd),
                replays=row.replays,
            )
            for row in rows[:count]
        ]
        return page(call, items, _cursor(rows[count - 1].place) if len(rows) > count else None)

    async def _export(self, span: Span, kind: str) -> AsyncIterator[bytes]:
        """Page by page, so that no export holds more than one in memory."""
        after, first = 0, True
        while True:
            found = await in_thread(self._office.books.entries, span, after, EXPORT_PAGE)
            rows = [entry_out(entry).model_dump(mode="json") for _, entry in found]
            yield _csv(rows, head=first) if kind == "csv" else b"".join(_line(row) for row in rows)
            if len(found) < EXPORT_PAGE:
                return
            after, first = found[-1][0], False


def entry_out(entry: Entry) -> shapes.EntryOut:
    usage = entry.usage
    return shapes.EntryOut(
        attempt_id=entry.attempt_id,
        kind=entry.kind.value,
        request_id=entry.request_id,
        tenant=entry.tenant,
        key_id=entry.key_id,
        user=entry.user,
        run_id=entry.run_id,
        root_run_id=entry.root_run_id,
        parent_run_id=entry.parent_run_id,
        session_id=entry.session_id,
        tags=dict(entry.tags),
        model=entry.model,
        provider=entry.provider,
        provider_model=entry.provider_model,
        input_tokens=usage.input,
        output_tokens=usage.output,
        cached_tokens=usage.cached_input,
        reasoning_tokens=usage.reasoning,
        cache_write_5m_tokens=usage.cache_write_5m,
        cache_write_1h_tokens=usage.cache_write_1h,
        audio_input_tokens=usage.audio_input,
        image_input_tokens=usage.image_input,
        audio_output_tokens=usage.audio_output,
        image_output_tokens=usage.image_output,
        usd=shapes.usd(entry.cost_nano_usd),
        price_id=entry.price_id,
        service_tier=entry.service_tier,
        provenance=entry.provenance.value,
        unpriced=entry.unpriced,
        reserved_at=shapes.at(entry.reserved_at_s),
        posted_at=shapes.at(entry.posted_at_s),
        late=entry.late,
        replay_of=entry.replay_of,
        budget_id=entry.budget_id,
        budget_who=entry.budget_who,
        actor=entry.actor,
        cause=entry.cause,
    )


def _span(call: Call) -> Span:
    tenant = call.scope or (call.path("tenant") if "tenant" in call.request.path_params else call.query("tenant"))
    return Span(tenant=tenant, from_s=_moment(call, "from", 0.0), to_s=_moment(call, "to", 1e12))


def _moment(call: Call, name: str, default: float) -> float:
    text = call.query(name)
    if text is None:
        return default
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Problem(400, "Invalid", f"{name} is {text!r}; send a time such as 2026-11-23T00:00:00Z") from None
    if moment.tzinfo is None:
        raise Problem(400, "Invalid", f"{name} is {text!r}; add its time zone, such as Z")
    return moment.timestamp()


def _serial(cursor: str) -> int:
    number = whole(cursor or "0")
    if number is None:
        raise _strange(cursor)
    return number


def _cursor(place: UsagePlace) -> str:
    return urlsafe_b64encode(json.dumps([*place[0], place[1]], ensure_ascii=False).encode()).decode()


def _place(cursor: str, groups: int) -> UsagePlace:
    try:
        *values, bucket_s = json.loads(urlsafe_b64decode(cursor))
        known = len(values) == groups and all(value is None or b"\0" not in value.encode() for value in values)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise _strange(cursor) from None
    if not known or type(bucket_s) is not int or abs(bucket_s) > SECONDS_MAX:
        raise _strange(cursor)
    return tuple(values), bucket_s


def _strange(cursor: str) -> Problem:
    return Problem(400, "Invalid", f"cursor is {cursor[:100]!r}; send the one of the page before")


def _line(row: dict[str, object]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _csv(rows: Sequence[dict[str, object]], *, head: bool) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(shapes.EntryOut.model_fields))
    if head:
        writer.writeheader()
    writer.writerows({**row, "tags": json.dumps(row["tags"])} for row in rows)
    return text.getvalue().encode()
