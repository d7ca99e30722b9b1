"""Which tree of runs each run belongs to, in the memory of one process."""

from collections import OrderedDict

from gateway.ports import Runs

RUNS_MAX = 100_000


class MemoryRuns(Runs):
    """The runs that were named least recently are forgotten first."""

    def __init__(self, *, runs_max: int = RUNS_MAX) -> None:
        self._roots: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._runs_max = runs_max

    async def root(self, tenant: str, run: str, parent: str | None) -> str:
        known = self.known(tenant, run)
        if known is not None:
            return known
        root = self.likely(tenant, run, parent)
        self.learn(tenant, run, root)
        return root

    def known(self, tenant: str, run: str) -> str | None:
        root = self._roots.get((tenant, run))
        if root is not None:
            self._roots.move_to_end((tenant, run))
        return root

    def likely(self, tenant: str, run: str, parent: str | None) -> str:
        """A run without a known parent is its own."""
        return run if parent is None else self._roots.get((tenant, parent), parent)

    def learn(self, tenant: str, run: str, root: str) -> None:
        self._roots[tenant, run] = root
        if len(self._roots) > self._runs_max:
            self._roots.popitem(last=False)
