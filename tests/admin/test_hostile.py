"""What nobody should send to the admin API: each is refused with words, nothing of it is applied, nothing breaks."""

import json
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from tests.admin.test_api import PREFIX, standing

DAY = {"per": "day"}

READS = [
    "/tenants?limit=" + "9" * 5000,
    "/tenants?limit=0",
    "/tenants?limit=٣",
    "/tenants?cursor=%00",
    "/tenants?colour=red",
    "/tenants?limit=1&limit=2",
    "/ledger?cursor=" + "9" * 30,
    "/ledger?cursor=" + "9" * 5000,
    "/ledger?tennant=first",
    "/ledger?format=xml",
    "/audit?cursor=" + "9" * 30,
    "/audit?tenant=%00",
    "/usage?tenant=%00",
    "/usage?group_by=tenant,tenant",
    "/usage?group_by=tag:",
    "/usage?group_by=tag:%00",
    "/usage?group_by=" + ",".join(f"tag:{number}" for number in range(9)),
    "/usage?cursor=" + "9" * 30,
    "/usage?cursor=é",
    *(
        "/usage?cursor=" + urlsafe_b64encode(place).decode()
        for place in (
            b"[]",
            b"[0]",
            b'["first"]',
            b'["first", "other", 0]',
            b'[["first"], 0]',
            b"[1, 0]",
            b'["a\\u0000", 0]',
            b'["\\ud800", 0]',
            b'["first", 0.5]',
            b'["first", 99999999999999999999]',
            b'{"first": 0}',
            b"[" * 4_000,
        )
    ),
    "/usage?limit=0",
    "/usage?bucket=minute",
    "/usage?from=2026-11-23T00:00:00",
]

BODIES: list[tuple[str, object, str]] = [
    ("/tenants", {"id": "x", "name": "a\0b"}, "name"),
    ("/tenants", {"id": "x", "name": "a\nb"}, "name"),
    ("/tenants", {"id": "x", "blocked": "yes"}, "blocked"),
    ("/tenants", {"id": "x", "blocked": 1}, "blocked"),
    ("/tenants", {"id": "x", "models": ["m"] * 1001}, "models"),
    ("/tenants", {"id": "x\n"}, "id"),
    ("/tenants", b'{"id": "a", "id": "b"}', "id"),
    ("/tenants", b"[]", "body"),
    ("/tenants", b"nul", "body"),
    ("/tenants", b"", "id"),
    ("/tenants", b"[" * 100_000, "body"),
    ("/tenants", b'{"id": "w", "name": "\xff"}', "body"),
    ("/tenants", b'{"id": "w", "name": "\\ud800"}', "body"),
    ("/tenants/first/keys", {"expires_at": "9999-12-31T23:59:59-23:00"}, "expires_at"),
    ("/tenants/first/keys", {"expires_at": "0001-01-01T00:00:00Z"}, "expires_at"),
    ("/tenants/first/keys", {"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
    ("/tenants/first/keys", {"expires_at": 1_900_000_000}, "expires_at"),
    ("/tenants/first/keys", {"user": ""}, "user"),
    ("/tenants/first/keys", {"user": "\0"}, "user"),
    ("/tenants/first/keys", {"tags": {str(number): "" for number in range(65)}}, "tags"),
    ("/tenants/first/keys", b'{"tags": {"a": "1", "a": "2"}}', "a"),
    ("/tenants/first/keys", {"digest": "00", "revoked_at": None}, "digest"),
    ("/tenants/first/budgets", {"usd": "1e999999999", **DAY}, "usd"),
    ("/tenants/first/budgets", {"usd": "1e-999999999", **DAY}, "usd"),
    ("/tenants/first/budgets", b'{"usd": 1e400, "per": "day"}', "usd"),
    ("/tenants/first/budgets", {"usd": "1_0", **DAY}, "usd"),
    ("/tenants/first/budgets", {"usd": " 1", **DAY}, "usd"),
    ("/tenants/first/budgets", {"usd": "٣", **DAY}, "usd"),
    ("/tenants/first/budgets", {"usd": "NaN", **DAY}, "usd"),
    ("/tenants/first/budgets", {"usd": True, **DAY}, "usd"),
    ("/tenants/first/budgets", {"usd": 0, **DAY}, "usd"),
    ("/tenants/first/budgets", {"tokens": "5", **DAY}, "tokens"),
    ("/tenants/first/budgets", {"tokens": 5.5, **DAY}, "tokens"),
    ("/tenants/first/budgets", {"tokens": 10**30, **DAY}, "tokens"),
    ("/tenants/first/budgets", {"usd": 1, "zone": "../../etc/passwd", **DAY}, "zone"),
    ("/tenants/first/budgets", {"usd": 1, "zone": "A" * 100_000, **DAY}, "zone"),
    ("/tenants/first/budgets", {"usd": 1, "for": "tenant", "of": "x", **DAY}, "of"),
    ("/tenants/first/budgets", {"usd": 1, "for_": "user", **DAY}, "for_"),
    ("/tenants/first/limits", {"concurrent": True}, "concurrent"),
    ("/tenants/first/limits", {"concurrent": 1, "of": "x"}, "of"),
    ("/tenants/first/limits", {"concurrent": 1, "for": "run"}, "for"),
    ("/ledger/adjust", {"tenant": "first", "usd": "0", "cause": "nothing"}, "usd"),
    ("/ledger/adjust", {"tenant": "first", "usd": "0.0000000001", "cause": "too fine"}, "usd"),
    ("/ledger/adjust", {"tenant": "first", "usd": "1", "cause": "a\0b"}, "cause"),
    ("/ledger/adjust", {"tenant": "first", "usd": "1", "cause": "whose", "of": "x"}, "of"),
]


async def test_what_cannot_be_read_is_400_in_words(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        for path in READS:
            answer = await house.root.get(PREFIX + path)
            assert answer.status_code == 400, (path[:80], answer.text[:300])
            assert len(answer.text) < 1000
        for tag in ("9" * 5000, "*", '"1", "2"', "-1", '"a"'):
            answer = await house.root.patch(f"{PREFIX}/tenants/first", json={"name": "q"}, headers={"if-match": tag})
            assert answer.status_code == 400, (tag[:80], answer.text[:300])


async def test_what_cannot_be_applied_is_422_with_its_field(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        before = house.gateway.kept.directory.snapshot()
        entries = (await house.root.get(f"{PREFIX}/ledger")).json()
        for path, body, field in BODIES:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            answer = await house.root.post(PREFIX + path, content=content)
            assert answer.status_code == 422, (path, content[:80], answer.text[:300])
            fields = [error["field"] for error in answer.json()["errors"]]
            assert any(name.split(".")[0] == field for name in fields), (path, content[:80], answer.text[:300])
        assert house.gateway.kept.directory.snapshot() == before
        assert (await house.root.get(f"{PREFIX}/ledger")).json() == entries


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"tenant": "nobody", "usd": "1", "cause": "no such"}, "tenant 'nobody'"),
        ({"tenant": "first", "usd": "1", "cause": "no such", "budget": "none"}, "budget 'none'"),
    ],
)
async def test_nothing_is_booked_for_who_is_not_there(body: dict[str, str], what: str, tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        answer = await house.root.post(f"{PREFIX}/ledger/adjust", json=body)
        assert (answer.status_code, what in answer.json()["detail"]) == (404, True)
        assert (await house.root.get(f"{PREFIX}/ledger")).json()["items"] == []


async def test_amounts_with_nine_decimals_are_kept_to_the_last_one(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        for sent in ("0.000000001", "999999.999999999"):
            as_text = await house.made("/tenants/first/budgets", usd=sent, per="day")
            as_number = await house.made("/tenants/first/budgets", usd=float(sent), per="day")
            assert (as_text["usd"], as_number["usd"]) == (sent, sent)
