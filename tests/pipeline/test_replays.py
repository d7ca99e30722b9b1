"""What a claim on an idempotency key does while the store that processes share is away."""

from collections.abc import Coroutine
from typing import cast

from gateway.pipeline.replays import LOOK_S, PATIENCE_S, Claimed, Found, Replays
from gateway.ports import Answers, BankAway, Owned, StoredAnswer
from tests.clock import ToldClock

SEAL, PRINT = b"seal", b"print"


class Store:
    """Away until then; afterwards one key is another process's."""

    def __init__(self, clock: ToldClock, back_at_s: float) -> None:
        self.clock = clock
        self.back_at_s = back_at_s
        self.asked = 0

    async def claim(self, name: bytes, fingerprint: bytes, request_id: str) -> Owned | StoredAnswer | None:
        self.asked += 1
        if self.clock.now_s < self.back_at_s:
            raise BankAway("silent")
        return StoredAnswer("theirs", ended=False) if name == b"taken" else Owned(request_id)


def replays(away_s: float) -> tuple[Replays, Store]:
    clock = ToldClock()
    store = Store(clock, clock.now_s + away_s)
    made = Replays(clock)
    made.share(cast(Answers, store), dropped)
    return made, store


def dropped(work: Coroutine[object, object, None]) -> None:
    """Nobody reads or writes on in the background here."""
    work.close()


async def test_a_store_that_has_just_gone_is_waited_for() -> None:
    made, store = replays(PATIENCE_S / 2)
    assert isinstance(await made.claim(b"taken", SEAL, PRINT, "mine"), Found), "the other process has the key"
    assert store.asked > PATIENCE_S / 2 / LOOK_S / 2


async def test_one_that_stays_away_is_asked_once_by_each_claim_until_it_is_back() -> None:
    made, store = replays(60.0)
    began_s = store.clock.now_s
    assert isinstance(await made.claim(b"first", SEAL, PRINT, "one"), Claimed)
    assert PATIENCE_S <= store.clock.now_s - began_s < PATIENCE_S + 2 * LOOK_S
    asked = store.asked
    assert isinstance(await made.claim(b"second", SEAL, PRINT, "two"), Claimed)
    assert store.asked == asked + 1
    store.clock.now_s = store.back_at_s
    assert isinstance(await made.claim(b"taken", SEAL, PRINT, "three"), Found)
    store.back_at_s += 1.0
    assert isinstance(await made.claim(b"taken too", SEAL, PRINT, "four"), Claimed)
    assert store.clock.now_s >= store.back_at_s, "patient again"
