"""One suite over SQLite and PostgreSQL: the ledger forgets nothing and counts nothing twice, the directory is whole."""

import itertools
import json
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.domain.budget import Budget, Mode, StoreAway, Unit, WhenShort
from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.period import Period
from gateway.domain.record import Provenance
from gateway.domain.reply import Usage
from gateway.domain.tenancy import AdminKeyRow, AuditLine, BudgetRow, Directory, KeyRow, LimitRow, Role, TenantRow
from gateway.filing import NotThere, StaleRevision, Taken
from gateway.ports import StoreFailed
from gateway.stores.sql.directory import SqlDirectory
from gateway.stores.sql.ledger import SqlLedger
from gateway.stores.sql.opening import Kept

_numbers = itertools.count()


def entry(attempt: str = "r1.1", kind: EntryKind = EntryKind.POST, cost: int = 500, **more: object) -> Entry:
    plain = Entry(
        attempt, kind, attempt.split(".", maxsplit=1)[0], "acme", "k1", 1_000.0, 1_001.0, "boot", "m", "p", "gpt",
        usage=Usage(10, 5, 2, 1), cost_nano_usd=cost, tokens=15, price_id="p@1",
    )  # fmt: skip
    return replace(plain, **more)  # type: ignore[arg-type]


DAY = Budget("day", "acme", 10_000, Unit.NANO_USD, Period.DAY)


def total(kept: Kept, budget: Budget = DAY) -> dict[str, int]:
    return kept.ledger.sums(budget, 0.0, 86_400.0)


def test_i3_an_entry_that_is_appended_again_changes_nothing(kept: Kept) -> None:
    kept.ledger.append([entry(), entry("r2.1")])
    kept.ledger.append([entry(), entry("r2.1"), entry("r3.1")])
    assert total(kept) == {"acme": 1_500}


def test_a_post_after_an_expiry_is_trued_up_once_and_an_expiry_after_a_post_is_nothing(kept: Kept) -> None:
    kept.ledger.append([entry(kind=EntryKind.EXPIRE, cost=900)])
    for _ in range(2):
        kept.ledger.append([entry(cost=500)])
        assert total(kept) == {"acme": 500}
    kept.ledger.append([entry("r2.1"), entry("r3.1")])
    kept.ledger.append([entry("r2.1", EntryKind.EXPIRE, 900), entry("r3.1", EntryKind.VOID, 0)])
    assert total(kept) == {"acme": 1_500}


def test_everything_of_an_entry_is_kept(kept: Kept) -> None:
    full = entry(
        user="u", run_id="r", root_run_id="rr", tags=(("team", "a"),), usage=Usage(9, 8, 7, 6, 5, 4, 3, 2, 1, 1),
        provenance=Provenance.COUNTED, unpriced=True, late=True, replay_of="x", actor="y", cause="z",
    )  # fmt: skip
    kept.ledger.append([full])
    assert list(kept.ledger.entries_of_request("r1")) == [full]


_KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "of an agent": {"user": "u", "run_id": "r", "root_run_id": "rr", "parent_run_id": "p", "session_id": "s"},
    "failed": {"cause": "timeout"},
    "audio": {"usage": Usage(9, 8, 7, 6, audio_output=1)},
    "unpriced": {"unpriced": True, "service_tier": "flex"},
    "replayed": {"kind": EntryKind.VOID, "cost": 0, "replay_of": "r0"},
}


@given(st.lists(st.lists(st.sampled_from(["plain", "plain", "plain", *_KINDS]), min_size=1, max_size=3), max_size=70))
@example([["plain"]] * 30 + [["failed", "plain"], ["plain", "audio", "plain"]] * 15 + [["of an agent"]] * 26)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_entries_of_all_kinds_are_added_together_those_of_a_request_in_their_order(
    kept: Kept, requests: list[list[str]]
) -> None:
    begins = next(_numbers)
    told = [
        [entry(f"mixed{begins}-{at}.{number}", **_KINDS[kind]) for number, kind in enumerate(kinds, 1)]
        for at, kinds in enumerate(requests)
    ]
    kept.ledger.append([one for attempts in told for one in attempts])
    for at, attempts in enumerate(told):
        assert list(kept.ledger.entries_of_request(f"mixed{begins}-{at}")) == attempts


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("per", ["tenant", "key", "user", "run", "model", "tag:team"])
def test_i2_sums_are_the_fold_of_the_entries(url: str, per: str, unit: Unit) -> None:
    opened = Kept(url)
    texts = st.sampled_from([None, "a", "b"])
    rows = st.builds(
        lambda cost, key, user, run, team, model, at_s, tenant, own: entry(
            f"r{next(_numbers)}.1", cost=cost, tokens=cost // 7, key_id=key or "k", user=user, root_run_id=run,
            tags=(("team", team),) if team else (), model=model or "m", reserved_at_s=at_s, tenant=tenant,
            budget_id=own, budget_who="a" if own else None,
        ),
        st.integers(-5, 10**12), texts, texts, texts, texts, texts,
        st.sampled_from([99.0, 100.0, 150.0, 199.9, 200.0]), st.sampled_from(["acme", "other"]),
        st.sampled_from([None, None, "mine", "theirs"]),
    )  # fmt: skip
    seen: list[Entry] = []

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(rows, max_size=12), texts)
    def check(added: list[Entry], of: str | None) -> None:
        opened.ledger.append(added)
        seen.extend(added)
        budget = Budget("mine", "acme", 1, unit, Period.DAY, per=per, of=of)
        expected: dict[str, int] = {}
        for item in seen:
            who = item.budget_who or _who(item, per)
            counts = item.tenant == "acme" and 100.0 <= item.reserved_at_s < 200.0
            if counts and who is not None and item.budget_id in (None, "mine") and of in (None, who):
                amount = item.cost_nano_usd if unit is Unit.NANO_USD else item.tokens
                expected[who] = expected.get(who, 0) + amount
        assert opened.ledger.sums(budget, 100.0, 200.0) == expected

    check()
    opened.close()


def _who(item: Entry, per: str) -> str | None:
    named = {"tenant": item.tenant, "key": item.key_id, "user": item.user, "run": item.root_run_id, "model": item.model}
    return named[per] if per in named else dict(item.tags).get(per.removeprefix("tag:"))


def _append(url: str, batches: list[list[str]]) -> None:
    opened = Kept(url)
    for batch in batches:
        opened.ledger.append([entry(name) for name in batch])
    opened.close()


def test_i3_processes_that_append_the_same_at_once_leave_each_entry_once(url: str) -> None:
    names = [f"r{number}.1" for number in range(400)]
    batches = [names[at : at + 40] for at in range(0, 400, 20)]
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append, args=(url, batches)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    opened = Kept(url)
    assert total(opened) == {"acme": 400 * 500}
    opened.close()


LINE = AuditLine(1.0, "root", "admin", "create", "tenant", "acme", "acme", "", "{}")
BUDGET = BudgetRow(
    Budget("b", "acme", 5, Unit.TOKENS, Period.WEEK, "tag:team", "x", ZoneInfo("Europe/Berlin"), (10, 90),
           Mode.SHADOW, StoreAway.DENY, WhenShort.REFUSE), 3.0,
)  # fmt: skip
KEY = KeyRow("k", "acme", b"\x00\xff", "1", "n", "u", (("a", "b"),), ("m",), 5.0, 6.0, "old", 1.0)
LIMIT = LimitRow("l", "acme", "user", "x", 1, 2, 3, Mode.SHADOW, StoreAway.ALLOW, 1.0)
ADMIN = AdminKeyRow("a", b"\x01", "1", Role.TENANT_ADMIN, "acme", "n", 5.0, None, 1.0)
TENANT = TenantRow("acme", "Acme", ("m", "n"), False, 1.0)


def test_every_row_comes_back_as_it_was_and_every_change_moves_the_version(kept: Kept) -> None:
    directory = kept.directory
    version = directory.version()
    for row in (TENANT, KEY, LIMIT, BUDGET, ADMIN):
        directory.create(row, LINE)
        assert directory.version() == (version := version + 1)
    assert directory.snapshot() == Directory(version, (TENANT,), (KEY,), (LIMIT,), (BUDGET,), (ADMIN,))
    assert directory.get(KeyRow, "k") == KEY
    assert list(directory.page(BudgetRow, "acme", "", 10)) == [BUDGET]
    assert list(directory.page(LimitRow, "other", "", 10)) == []
    assert [line.kind for line in directory.audit_lines("acme", None, 10)] == ["tenant"] * 5


def test_a_change_on_a_stale_revision_is_refused_and_nothing_is_half_applied(kept: Kept) -> None:
    directory: SqlDirectory = kept.directory
    directory.create(TENANT, LINE)
    assert directory.update(replace(TENANT, name="New"), LINE) == 2
    before = directory.snapshot()
    with pytest.raises(StaleRevision) as stale:
        directory.update(replace(TENANT, name="Newer"), LINE)
    assert stale.value.revision == 2
    with pytest.raises(StaleRevision):
        directory.delete(TenantRow, "acme", 1, LINE)
    with pytest.raises(Taken):
        directory.create(TENANT, LINE)
    with pytest.raises(NotThere):
        directory.create(replace(KEY, tenant="nobody"), LINE)
    with pytest.raises(NotThere):
        directory.update(replace(TENANT, id="nobody"), LINE)
    assert directory.snapshot() == before
    assert len(directory.audit_lines(None, None, 100)) == 2


def test_with_a_tenant_goes_all_that_is_its_own_and_the_ledger_stays(kept: Kept) -> None:
    for row in (TENANT, KEY, LIMIT, BUDGET, ADMIN):
        kept.directory.create(row, LINE)
    kept.ledger.append([entry()])
    kept.directory.delete(TenantRow, "acme", 1, LINE)
    gone = kept.directory.snapshot()
    assert (gone.tenants, gone.keys, gone.limits, gone.budgets, gone.admin_keys) == ((), (), (), (), ())
    assert total(kept) == {"acme": 500}


def test_seeding_adds_new_tenants_whole_and_leaves_known_ones_alone(kept: Kept) -> None:
    given_rows = Directory(0, (TENANT,), (KEY,), (LIMIT,), (BUDGET,))
    kept.directory.seed(given_rows)
    kept.directory.update(replace(TENANT, name="Mine"), LINE)
    version = kept.directory.version()
    kept.directory.seed(given_rows)
    assert kept.directory.version() == version
    kept.directory.seed(replace(given_rows, keys=(KEY, replace(KEY, id="another"))))
    assert [key.id for key in kept.directory.snapshot().keys] == ["another", "k"]
    assert kept.directory.snapshot().tenants[0].name == "Mine"
    assert kept.directory.snapshot().budgets == (BUDGET,)


def test_two_processes_open_a_fresh_database_at_once(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    openers = [context.Process(target=_append, args=(url, [])) for _ in range(4)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join(60)
        assert opener.exitcode == 0


def test_a_newer_database_is_refused_in_plain_words(url: str) -> None:
    opened = Kept(url)
    with opened.database.begin() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = 99 WHERE name = 'schema'")
    opened.close()
    with pytest.raises(StoreFailed, match="schema 99, newer than this program"):
        Kept(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:////nowhere/at/all.db", "check the folder"),
        ("postgresql://gateway@127.0.0.1:1/none", "is the server up"),
        ("mysql://x/y", "URL cannot be used; write sqlite:///PATH"),
        ("nonsense", "URL cannot be used"),
        ("sqlite://", "URL cannot be used"),
        ("postgresql://me:tell-nobody@host:port/name", "URL cannot be used"),
        ("postgresql+asyncpg://me@host/name", "URL cannot be used"),
    ],
)
def test_r13_a_database_that_cannot_be_opened_says_why(url: str, words: str) -> None:
    with pytest.raises(StoreFailed, match=words) as refused:
        Kept(url)
    assert "tell-nobody" not in str(refused.value)


def test_r13_a_locked_database_refuses_and_nothing_is_lost(tmp_path: Path) -> None:
    one, two = (Kept(f"sqlite:///{tmp_path}/books.db") for _ in range(2))
    with two.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 10")
    with one.database.begin() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = value")
        with pytest.raises(StoreFailed, match="another process holds it"):
            two.ledger.append([entry()])
    two.ledger.append([entry()])
    assert total(two) == {"acme": 500}
    one.close()
    two.close()


def test_tags_with_any_text_are_bound_and_never_part_of_a_query(kept: Kept) -> None:
    nasty = 'a"; DROP TABLE entries; --'
    kept.ledger.append([entry(tags=((nasty, nasty),))])
    budget = replace(DAY, per=f"tag:{nasty}")
    kept.ledger.sums(budget, 0.0, 86_400.0)
    assert total(kept) == {"acme": 500}
    assert json.dumps(nasty)


def test_sums_of_one_worker_are_its_own(kept: Kept) -> None:
    kept.ledger.append([entry("r1.1"), entry("r2.1", worker="other", cost=7)])
    assert kept.ledger.sums_of_worker(DAY, 0.0, 86_400.0, "other") == {"acme": 7}
    assert isinstance(kept.ledger, SqlLedger)
