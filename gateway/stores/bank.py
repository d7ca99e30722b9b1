"""The bank of a gateway that runs as one process: it lends out everything there is, as nobody else could want it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.ports import Bank, Clock, Denied, Grant, Standing, Total, Want


@dataclass(slots=True)
class _Counter:
    """`spent` is what was reported or was in the ledger, `lent` the credit that is out."""

    spent: int = 0
    lent: int = 0
    reported: int = 0
    ends_s: float = 0.0


class OwnBank(Bank):
    """Invariant (I1): lent + spent never exceeds the limit at the moment of a grant."""

    def __init__(self, clock: Clock) -> None:
        self._wall_s = clock.wall_s
        self._counters: dict[str, _Counter] = {}

    def open(self, spent: Mapping[str, int], ends_s: float) -> None:
        """What the ledger says was spent before; counters that are open already keep what they know."""
        for name, amount in spent.items():
            if name not in self._counters:
                self._counters[name] = _Counter(spent=amount, ends_s=ends_s)

    async def lease(self, tenant: str, ticket: str, wants: Sequence[Want]) -> Sequence[Grant] | Denied:
        lefts: list[int] = []
        for want in wants:
            counter = self._counters.get(want.counter)
            if counter is None:
                counter = self._counters[want.counter] = _Counter(ends_s=want.ends_s)
            counter.ends_s = max(counter.ends_s, want.ends_s)
            left = max(0, want.limit - counter.spent - counter.lent)
            if left < want.need:
                return Denied(want.counter, left, counter.spent)
            lefts.append(left if want.need or want.wish else 0)
        grants: list[Grant] = []
        for want, left in zip(wants, lefts, strict=True):
            counter = self._counters[want.counter]
            counter.lent += left
            in_all = counter.spent + counter.lent
            assert not left or in_all <= want.limit, f"I1: more is lent of {want.counter} than there is"
            grants.append(Grant(want.counter, left, counter.spent, counter.reported))
        return grants

    async def report(self, tenant: str, standings: Sequence[Standing]) -> Sequence[Total]:
        totals: list[Total] = []
        for standing in standings:
            counter = self._counters.get(standing.counter)
            if counter is None:
                counter = self._counters[standing.counter] = _Counter(ends_s=standing.ends_s)
            counter.spent += standing.spent - counter.reported
            counter.reported = standing.spent
            counter.lent = standing.credit
            counter.ends_s = max(counter.ends_s, standing.ends_s)
            totals.append(Total(counter.spent, counter.lent))
        return totals

    def prune(self) -> None:
        """Forgets counters whose window has ended and of which no credit is out."""
        now_s = self._wall_s()
        self._counters = {
            name: counter for name, counter in self._counters.items() if counter.lent or counter.ends_s > now_s
        }
