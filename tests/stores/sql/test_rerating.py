"""A price that was wrong is put right by differences: once, from where the books stand, in the window of the call."""

from gateway.domain.ledger import EntryKind
from gateway.domain.reply import Usage
from gateway.filing import Rerating, Span, UsagePrice
from gateway.stores.sql import rerating
from gateway.stores.sql.opening import Kept
from gateway.stores.sql.rerating import rerate
from tests.stores.sql.test_contract import entry, total

WHICH = Rerating("p", "gpt", 1_000.0, 2_000.0, 5_000.0, "root", "the price list was wrong")


def at(nano_usd_per_token: int) -> UsagePrice:
    def price(usage: Usage, service_tier: str | None) -> tuple[int, str]:
        del service_tier
        return usage.total * nano_usd_per_token, f"p@{nano_usd_per_token}"

    return price


def test_each_price_leaves_what_it_says_whichever_came_before_and_once(kept: Kept) -> None:
    kept.ledger.append([entry("r1.1"), entry("r1.11", cost=7), entry("r2.1", cost=0, unpriced=True)])
    for per_token in (10, 3, 50):
        for _ in range(2):
            rerate(kept.database, WHICH, at(per_token))
            assert total(kept) == {"acme": 3 * 15 * per_token}
    assert rerate(kept.database, WHICH, at(50)) == 0
    assert list(kept.ledger.verify()) == []


def test_what_expired_is_rerated_too_with_what_turned_out_later(kept: Kept) -> None:
    kept.ledger.append([entry("r1.1", EntryKind.EXPIRE, cost=900), entry("r2.1", EntryKind.EXPIRE, cost=900)])
    kept.ledger.append([entry("r1.1", cost=500, usage=Usage(8, 2), tokens=10)])
    for per_token in (10, 30):
        for _ in range(2):
            rerate(kept.database, WHICH, at(per_token))
            assert total(kept) == {"acme": (10 + 15) * per_token}
    assert list(kept.ledger.verify()) == []


def test_only_what_is_meant_is_rerated_and_tokens_stay(kept: Kept) -> None:
    others = [
        entry("r2.1", provider="q"),
        entry("r3.1", provider_model="other"),
        entry("r4.1", reserved_at_s=2_000.0),
        entry("r5.1", reserved_at_s=999.9),
        entry("r6.1", EntryKind.VOID),
    ]
    kept.ledger.append([entry("r1.1"), *others])
    (before,) = kept.ledger.usage(Span(), (), None)
    assert rerate(kept.database, WHICH, at(10)) == 1
    (after,) = kept.ledger.usage(Span(), (), None)
    assert (after.requests, after.input_tokens, after.output_tokens) == (
        before.requests,
        before.input_tokens,
        before.output_tokens,
    )
    assert after.cost_nano_usd - before.cost_nano_usd == 150 - 500
    (_, told) = kept.ledger.entries_of_request("r1")
    assert (told.attempt_id, told.kind, told.reserved_at_s, told.actor) == (
        "r1.1:p@10",
        EntryKind.ADJUST,
        1_000.0,
        "root",
    )


def test_an_attempt_is_rerated_at_the_service_tier_that_served_it(kept: Kept) -> None:
    def by_tier(usage: Usage, service_tier: str | None) -> tuple[int, str]:
        return usage.total * (1 if service_tier == "flex" else 2), f"p:{service_tier}"

    kept.ledger.append([entry("r1.1"), entry("r2.1", service_tier="flex")])
    assert rerate(kept.database, WHICH, by_tier) == 2
    assert total(kept) == {"acme": 15 * 2 + 15 * 1}
    assert rerate(kept.database, WHICH, by_tier) == 0


def test_more_than_a_batch_is_rerated_whole(kept: Kept) -> None:
    count = rerating.BATCH + 3
    kept.ledger.append([entry(f"r{number}.1") for number in range(count)])
    assert rerate(kept.database, WHICH, at(10)) == count
    assert total(kept) == {"acme": count * 150}
