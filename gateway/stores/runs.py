"""Which tree of runs each run belongs to, in the memory of one process."""

from collections import OrderedDict

RUNS_MAX = 100_000


class MemoryRuns:
    """Implements ports.Runs; the runs that were named least recently are forgotten first."""

    def __init__(self, *, runs_max: int = RUNS_MAX) -> None:
        self._roots: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._runs_max = runs_max

    def learn(self, tenant: str, run: str, root: str) -> None:
        self._roots[tenant, run] = root
        if len(self._roots) > self._runs_max:
            self._roots.popitem(last=False)

    async def root(self, tenant: str, run: str, parent: str | None) -> str:
        known = self._roots.get((tenant, run))
        if known is not None:
            self._roots.move_to_end((tenant, run))
            return known
        root = run if parent is None or parent == run else self._roots.get((tenant, parent), parent)
        self.learn(tenant, run, root)
        return root
