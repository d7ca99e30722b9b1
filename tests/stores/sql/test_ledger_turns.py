"""What reaches the ledger in any order, from any process, with any text in it, comes to one total per attempt."""

import itertools
import random
import threading
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.budget import Budget, Unit
from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.period import LIFETIME, Period
from gateway.domain.reply import Usage
from gateway.stores.sql.opening import Kept
from tests.conftest import SEED
from tests.stores.sql.test_contract import DAY, entry, total

_numbers = itertools.count()


def expired(attempt: str, **more: object) -> Entry:
    return entry(attempt, EntryKind.EXPIRE, 900, **{"usage": Usage(10, 30), "tokens": 40, **more})


@pytest.mark.parametrize("cut", range(7))
def test_i3_expiry_post_and_void_in_any_order_and_any_batches_come_to_one_total(kept: Kept, cut: int) -> None:
    for number, order in enumerate(itertools.permutations(["post", "expire", "void", "post", "expire", "void"])):
        if number % 40:
            continue
        name = f"r{number}.1"
        facts = {"post": entry(name), "expire": expired(name), "void": entry(name, EntryKind.VOID, 0)}
        before = total(kept).get("acme", 0)
        kept.ledger.append([facts[kind] for kind in order[:cut]])
        kept.ledger.append([facts[kind] for kind in order[cut:]])
        assert total(kept)["acme"] - before == (500 if "post" in order else 900), order


def test_an_expiry_told_by_another_worker_is_trued_up_all_the_same(kept: Kept) -> None:
    kept.ledger.append([expired("r1.1", worker="sweeper")])
    kept.ledger.append([entry("r1.1", worker="boot")])
    assert total(kept) == {"acme": 500}


def test_a_true_up_is_the_difference_of_every_kind_of_token(kept: Kept) -> None:
    actual = Usage(100, 90, 80, 70, 60, 50, 40, 30, 20, 10)
    kept.ledger.append([expired("r1.1", usage=Usage(10, 30, 1))])
    kept.ledger.append([entry("r1.1", usage=actual)])
    (_, late) = kept.ledger.entries_of_request("r1")
    assert late.usage == Usage(90, 60, 79, 70, 60, 50, 40, 30, 20, 10)


def test_i3_processes_that_post_and_expire_the_same_attempts_at_once_agree_on_one_total(kept: Kept) -> None:
    names = [f"r{number}.1" for number in range(300)]

    def tell(kind: EntryKind, seed: int) -> None:
        mine = list(names)
        random.Random(seed).shuffle(mine)
        for at in range(0, len(mine), 10):
            made = [entry(name) if kind is EntryKind.POST else expired(name) for name in mine[at : at + 10]]
            kept.ledger.append(made)

    tellers = [
        threading.Thread(target=tell, args=(kind, SEED + number))
        for number, kind in enumerate([EntryKind.POST, EntryKind.EXPIRE] * 2)
    ]
    for teller in tellers:
        teller.start()
    for teller in tellers:
        teller.join(60)
    kept.ledger.append([entry(name) for name in names])
    assert total(kept) == {"acme": 300 * 500}
    assert list(kept.ledger.verify()) == []


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\0", "ünï\u2028"])
def test_text_of_a_caller_that_a_database_refuses_does_not_stop_the_ledger(kept: Kept, text: str) -> None:
    plain = entry("r1.1", tags=((text, text),), user=text, run_id=text, root_run_id=text, cause=text, actor=text)
    kept.ledger.append([plain, entry("r2.1", tags=(("team", "a"),))])
    assert kept.ledger.sums(replace(DAY, per="tag:team"), 0.0, 86_400.0) == {"a": 500}
    assert total(kept) == {"acme": 1_000}


def test_of_two_tags_of_one_name_the_first_counts_as_it_does_for_budgets(kept: Kept) -> None:
    kept.ledger.append([entry("r1.1", tags=(("team", "a"), ("team", "b")))])
    assert kept.ledger.sums(replace(DAY, per="tag:team"), 0.0, 86_400.0) == {"a": 500}


def test_a_tag_of_any_name_is_found_by_it(kept: Kept) -> None:
    @settings(max_examples=60)
    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6))
    def check(name: str) -> None:
        tenant = f"t{next(_numbers)}"
        kept.ledger.append([entry(f"r{next(_numbers)}.1", tags=(("x" + name, "no"), (name, "yes")), tenant=tenant)])
        assert kept.ledger.sums(replace(DAY, tenant=tenant, per=f"tag:{name}"), 0.0, 86_400.0) == {"yes": 500}

    check()


def test_runs_that_rested_for_a_week_are_left_out_of_lifetime_sums(kept: Kept) -> None:
    day_s = 86_400.0
    kept.ledger.append(
        [
            entry("r1.1", root_run_id="old", reserved_at_s=1 * day_s),
            entry("r2.1", root_run_id="lives", reserved_at_s=1 * day_s),
            entry("r3.1", root_run_id="lives", reserved_at_s=9 * day_s, worker="another"),
        ]
    )
    runs = Budget("runs", "acme", 10_000, Unit.NANO_USD, Period.LIFETIME, per="run")
    assert kept.ledger.sums(runs, LIFETIME.starts_s, LIFETIME.ends_s) == {"lives": 1_000}
    assert kept.ledger.sums(runs, 0.0, 2 * day_s) == {"old": 500, "lives": 500}


def test_two_that_add_the_same_in_opposite_order_do_not_wait_for_each_other(kept: Kept) -> None:
    for turn in range(10):
        names = [f"r{turn}x{number}.1" for number in range(400)]
        ready = threading.Barrier(2)

        def tell(mine: list[str], ready: threading.Barrier = ready) -> None:
            ready.wait(10)
            kept.ledger.append([entry(name) for name in mine])

        tellers = [threading.Thread(target=tell, args=(order,)) for order in (names, names[::-1])]
        for teller in tellers:
            teller.start()
        for teller in tellers:
            teller.join(60)
        assert total(kept) == {"acme": (turn + 1) * 400 * 500}
