"""What the shared bank does, as plain sums: the oracle of its property tests."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from gateway.ports import Denied, Grant, Standing, Total, Want


class Oracle:
    """`posted` by counter; by (boot, counter) what it reported as `spent`, its `credit`, and what `expired` of it."""

    def __init__(self) -> None:
        self.posted: dict[str, int] = defaultdict(int)
        self.spent: dict[tuple[str, str], int] = defaultdict(int)
        self.credit: dict[tuple[str, str], int] = defaultdict(int)
        self.expired: dict[tuple[str, str], int] = defaultdict(int)

    def leased(self, counter: str) -> int:
        return sum(credit for (_, name), credit in self.credit.items() if name == counter)

    def lease(self, boot: str, wants: Sequence[Want]) -> list[Grant] | Denied:
        for want in wants:
            left = self.left(want)
            if left < want.need:
                return Denied(want.counter, left, self.posted[want.counter])
        grants = []
        self.revive(boot)
        for want in wants:
            amount = min(max(want.need, want.wish), self.left(want))
            self.credit[boot, want.counter] += amount
            mine = self.spent[boot, want.counter]
            grants.append(Grant(want.counter, amount, self.posted[want.counter], mine))
        return grants

    def left(self, want: Want) -> int:
        return max(0, want.limit - self.posted[want.counter] - self.leased(want.counter))

    def report(self, boot: str, standings: Iterable[Standing]) -> list[Total]:
        self.revive(boot)
        totals = []
        for told in standings:
            self.posted[told.counter] += told.spent - self.spent[boot, told.counter]
            self.spent[boot, told.counter] = told.spent
            self.credit[boot, told.counter] = told.credit
            totals.append(Total(self.posted[told.counter], self.leased(told.counter)))
        return totals

    def expire(self, boot: str) -> dict[str, int]:
        """A dead boot's credit counts as spent."""
        found = {name: credit for (of, name), credit in self.credit.items() if of == boot and credit}
        for name, credit in found.items():
            self.posted[name] += credit
            self.expired[boot, name], self.credit[boot, name] = credit, 0
        return found

    def revive(self, boot: str) -> None:
        for (of, name), amount in list(self.expired.items()):
            if of == boot:
                self.posted[name] -= amount
                self.credit[of, name] += amount
                del self.expired[of, name]

    def finalise(self, boot: str, spent: dict[str, int]) -> None:
        self.report(boot, [Standing(name, amount, 0, 0, 0.0) for name, amount in spent.items()])
        for of, name in list(self.credit):
            if of == boot:
                self.credit[of, name] = 0

    def rebuild(self, ledger: dict[tuple[str, str], int], living: Iterable[str]) -> None:
        """From the ledger; living boots say again what they hold, of which the ledger may know a part as spent."""
        alive = set(living)
        for boot in alive:
            self.revive(boot)
        for boot, name in list(self.credit):
            known = ledger.get((boot, name), 0) - self.spent[boot, name]
            self.credit[boot, name] = max(0, self.credit[boot, name] - known) if boot in alive else 0
        self.expired.clear()
        self.posted.clear()
        self.spent = defaultdict(int, ledger)
        for (_, name), amount in ledger.items():
            self.posted[name] += amount
