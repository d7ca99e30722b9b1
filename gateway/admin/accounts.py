"""What was spent, by whom and why: usage, the ledger, runs, single requests, and the audit trail."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from starlette.responses import JSONResponse, Response, StreamingResponse

from gateway.admin import shapes
from gateway.admin.access import OPERATE, OWN_ADMIN, VIEW, Access
from gateway.admin.endpoint import Call, Endpoint, page, whole
from gateway.admin.office import Office
from gateway.admin.problems import Problem, field, not_found
from gateway.config.prices import nano
from gateway.domain.budget import Unit
from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.record import Provenance
from gateway.domain.tenancy import BudgetRow, TenantRow
from gateway.ports import Span

READ = Access(VIEW, own=True)
EXPORT_PAGE = 1_000
BUCKETS = ("hour", "day")
GROUPS_MAX = 8
DIMENSIONS = frozenset({"tenant", "key", "user", "model", "provider", "run"})
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
            query=("group_by", "bucket", *_SPAN),
        ),
        Endpoint(
            "GET",
            "/tenants/{tenant}/usage",
            READ,
            desk.usage,
            "Usage of one tenant",
            says=shapes.UsageOut,
            query=("group_by", "bucket", "from", "to"),
        ),
        Endpoint("GET", "/runs/{run_id}", READ, desk.run, "A run and all runs below it", says=shapes.UsageOut),
        Endpoint(
            "GET",
            "/ledger",
            READ,
            desk.ledger,
            "Entries; `format=jsonl` or `csv` exports all of them",
            says=shapes.EntryOut,
            query=("format", "cursor", "limit", *_SPAN),
        ),
        Endpoint("GET", "/ledger/verify", Access(OPERATE), desk.verify, "Whether the books agree with themselves"),
        Endpoint(
            "POST",
            "/ledger/adjust",
            Access(OWN_ADMIN),
            desk.adjust,
            "A correction by hand, as an entry of its own",
            shapes.AdjustIn,
            status=201,
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
        found = await asyncio.to_thread(self._office.books.entries, span, _serial(cursor), count + 1)
        following = str(found[count - 1][0]) if len(found) > count else None
        return page(call, [entry_out(entry) for _, entry in found[:count]], following)

    async def verify(self, call: Call) -> Response:
        del call
        await self._office.settled()
        wrong = list(await asyncio.to_thread(self._office.books.verify))
        return JSONResponse({"agree": not wrong, "differences": wrong})

    async def adjust(self, call: Call) -> Response:
        given: shapes.AdjustIn = call.body
        office = self._office
        who = await asyncio.to_thread(self._adjusted, given)
        now_s = office.clock.wall_s()
        name = f"adjust:{office.new_key('id')[0]}"
        entry = Entry(
            attempt_id=name,
            kind=EntryKind.ADJUST,
            request_id=name,
            tenant=given.tenant,
            key_id="",
            reserved_at_s=now_s,
            posted_at_s=now_s,
            worker="",
            cost_nano_usd=nano(given.usd),
            provenance=Provenance.EXACT,
            budget_id=given.budget,
            budget_who=who,
            actor=call.principal.id,
            cause=given.cause,
        )
        line = office.line(call, "adjust", "ledger", name, tenant=given.tenant, after=given)

        def work() -> None:
            office.books.append([entry])
            office.store.note(line)

        await office.change("entry", name, work)
        return JSONResponse({"attempt_id": name}, 201)

    def _adjusted(self, given: shapes.AdjustIn) -> str | None:
        """Whose account of which budget is meant, None for no budget of its own. Raises Problem."""
        if not given.usd:
            raise Problem(422, "Invalid", "nothing would change", errors=[field("usd", "is zero; say how much")])
        store = self._office.store
        if store.get(TenantRow, given.tenant) is None:
            raise not_found("tenant", given.tenant)
        if given.budget is None:
            if given.of is not None:
                raise Problem(422, "Invalid", "of what?", errors=[field("of", "is of a budget; name the budget")])
            return None
        row = store.get(BudgetRow, given.budget)
        if row is None or row.budget.tenant != given.tenant:
            raise not_found("budget", given.budget)
        if row.budget.unit is not Unit.NANO_USD:
            raise Problem(
                422, "Invalid", "not in dollars", errors=[field("budget", "is of tokens; dollars change nothing")]
            )
        if (row.budget.per == "tenant") != (given.of is None):
            words = f"this budget is for each {row.budget.per}; say for which" if given.of is None else "leave it out"
            raise Problem(422, "Invalid", "whose account?", errors=[field("of", words)])
        return given.of or given.tenant

    async def request(self, call: Call) -> Response:
        """From the record while this process remembers it, and from the ledger for good."""
        await self._office.settled()
        name = call.path("request_id")
        span = Span(tenant=call.scope, request=name)
        found = await asyncio.to_thread(self._office.books.entries, span, 0, EXPORT_PAGE)
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
        lines = await asyncio.to_thread(self._office.store.audit_lines, tenant, before, count + 1)
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
        rows = await asyncio.to_thread(self._office.books.usage, span, groups, bucket)
        items = [
            shapes.UsageOut(
                group=dict(row.group),
                bucket=shapes.at_or_none(row.bucket_s),
                requests=row.requests,
                input_tokens=row.input_tokens,
                output_tokens=row.output_tokens,
                cached_tokens=row.cached_tokens,
                usd=shapes.usd(row.cost_nano_usd),
            )
            for row in rows
        ]
        return page(call, items, None)

    async def _export(self, span: Span, kind: str) -> AsyncIterator[bytes]:
        """Page by page, so that no export holds more than one in memory."""
        after, first = 0, True
        while True:
            found = await asyncio.to_thread(self._office.books.entries, span, after, EXPORT_PAGE)
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
        tags=dict(entry.tags),
        model=entry.model,
        provider=entry.provider,
        provider_model=entry.provider_model,
        input_tokens=usage.input,
        output_tokens=usage.output,
        cached_tokens=usage.cached_input,
        usd=shapes.usd(entry.cost_nano_usd),
        price_id=entry.price_id,
        provenance=entry.provenance.value,
        unpriced=entry.unpriced,
        reserved_at=shapes.at(entry.reserved_at_s),
        posted_at=shapes.at(entry.posted_at_s),
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
        raise Problem(400, "Invalid", f"cursor is {cursor[:100]!r}; send the one of the page before")
    return number


def _line(row: dict[str, object]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _csv(rows: Sequence[dict[str, object]], *, head: bool) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(shapes.EntryOut.model_fields))
    if head:
        writer.writeheader()
    writer.writerows({**row, "tags": json.dumps(row["tags"])} for row in rows)
    return text.getvalue().encode()
