"""Which tree of runs each run belongs to, known to all processes."""

from urllib.parse import quote

from gateway.ports import BankAway
from gateway.stores.redis.link import Link, Script
from gateway.stores.runs import MemoryRuns

KEPT_S = 7 * 86_400

ROOT = Script(
    "gw.root.1",
    """
-- KEYS: run, parent; ARGV: kept_s, root of a run without a parent that is known
local known = redis.call('GET', KEYS[1])
if not known then
  known = redis.call('GET', KEYS[2]) or ARGV[2]
  redis.call('SET', KEYS[1], known, 'EX', ARGV[1])
else redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return known
""",
)


class SharedRuns:
    """Implements ports.Runs: the store is asked once by each process for each run. Without it, each asks its memory."""

    def __init__(self, link: Link, runs: MemoryRuns) -> None:
        self._link = link
        self._runs = runs

    async def root(self, tenant: str, run: str, parent: str | None) -> str:
        known = self._runs.known(tenant, run)
        if known is not None:
            return known
        above = run if parent is None else parent
        try:
            found: bytes = await self._link.run(ROOT, (_key(tenant, run), _key(tenant, above)), (KEPT_S, above))
        except BankAway:
            return self._runs.likely(tenant, run, parent)
        root = found.decode()
        self._runs.learn(tenant, run, root)
        return root


def _key(tenant: str, run: str) -> str:
    return f"gw.r:{{{quote(tenant, safe='')}}}:{run}"
