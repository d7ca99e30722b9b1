"""Everything in the memory of one process, for tests and single processes."""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from agent_runtime.domain.todo import Outcome, Shown
from agent_runtime.domain.values import Principal
from agent_runtime.ports import Clock, Entry, RunEntry, Turn
from agent_runtime.stores.codec import ends

MESSAGES_MAX = 100
LOGS_MAX = 10_000


class _Log:
    def __init__(self) -> None:
        self.events: list[Shown] = []
        self.keys: set[str] = set()
        self.ended = False
        self.news = asyncio.Event()


class MemoryEvents:
    """Implements ports.EventLog; the logs that began first are forgotten first."""

    distributed = False

    def __init__(self) -> None:
        self._logs: OrderedDict[str, _Log] = OrderedDict()

    def _log(self, run_id: str) -> _Log:
        log = self._logs.setdefault(run_id, _Log())
        while len(self._logs) > LOGS_MAX:
            self._logs.popitem(last=False)
        return log

    async def append(self, run_id: str, entries: Sequence[Entry]) -> None:
        log = self._log(run_id)
        for entry in entries:
            if entry.key not in log.keys and not log.ended:
                log.keys.add(entry.key)
                log.events.append(dict(entry.event))
                log.ended = ends(entry.event)
        log.news.set()

    async def read(self, run_id: str, offset: int, wait_s: float) -> list[tuple[int, Shown]]:
        log = self._log(run_id)
        if len(log.events) <= offset:
            log.news.clear()
            try:
                await asyncio.wait_for(log.news.wait(), wait_s)
            except TimeoutError:
                return []
        return list(enumerate(log.events))[offset:]

    async def erase(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            self._logs.pop(run_id, None)


class MemoryConversations:
    """Implements ports.Conversations; a conversation is bounded by dropping whole turns."""

    distributed = False

    def __init__(self, clock: Clock, *, messages_max: int = MESSAGES_MAX) -> None:
        self._clock = clock
        self._messages_max = messages_max
        self._turns: dict[tuple[str, str, str], list[Turn]] = {}
        self._floor: dict[tuple[str, str, str], tuple[str, float]] = {}

    async def claim(self, whose: Principal, conversation: str, run_id: str, ttl_s: float) -> str:
        key = (whose.tenant, whose.user, conversation)
        holder, until_s = self._floor.get(key, ("", 0.0))
        if holder and until_s > self._clock.now_s():
            return holder
        self._floor[key] = (run_id, self._clock.now_s() + ttl_s)
        return run_id

    async def release(self, whose: Principal, conversation: str, run_id: str) -> None:
        key = (whose.tenant, whose.user, conversation)
        if self._floor.get(key, ("", 0.0))[0] == run_id:
            del self._floor[key]

    async def keep(self, whose: Principal, conversation: str, turn: Turn) -> None:
        turns = self._turns.setdefault((whose.tenant, whose.user, conversation), [])
        turns[:] = bounded(with_turn(turns, turn), self._messages_max)

    async def turns(self, whose: Principal, conversation: str) -> list[Turn]:
        return list(self._turns.get((whose.tenant, whose.user, conversation), ()))

    async def clear(self, whose: Principal, conversation: str) -> None:
        self._turns.pop((whose.tenant, whose.user, conversation), None)

    async def erase(self, whose: Principal) -> list[str]:
        mine = [key for key in self._turns if key[0] == whose.tenant and whose.user in ("", key[1])]
        return [turn.run_id for key in mine for turn in self._turns.pop(key)]


def with_turn(turns: Sequence[Turn], turn: Turn) -> list[Turn]:
    """The turn of a run stands once, where it began."""
    if all(one.run_id != turn.run_id for one in turns):
        return [*turns, turn]
    return [turn if one.run_id == turn.run_id else one for one in turns]


def bounded(turns: Sequence[Turn], messages_max: int) -> list[Turn]:
    """The newest whole turns; the last one stays in any case."""
    kept: list[Turn] = []
    count = 0
    for turn in reversed(turns):
        count += len(turn.messages)
        if kept and count > messages_max:
            break
        kept.insert(0, turn)
    return kept


class MemoryRoster:
    """Implements ports.Roster."""

    distributed = False

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_s: dict[tuple[str, str], float] = {}

    async def beat(self, queue: str, worker: str, ttl_s: float) -> None:
        self._until_s[queue, worker] = self._clock.now_s() + ttl_s

    async def leave(self, queue: str, worker: str) -> None:
        self._until_s.pop((queue, worker), None)

    async def present(self, queue: str) -> list[str]:
        now_s = self._clock.now_s()
        return sorted(
            worker for (known, worker), until_s in self._until_s.items() if known == queue and until_s > now_s
        )


class MemoryRuns:
    """Implements ports.Runs."""

    distributed = False

    def __init__(self, *, runs_max: int = LOGS_MAX) -> None:
        self._runs_max = runs_max
        self._entries: OrderedDict[str, RunEntry] = OrderedDict()
        self._requests: dict[str, str] = {}
        self._results: dict[str, dict[str, str]] = {}
        self._places: dict[str, dict[str, float]] = {}

    async def find(self, request: str) -> str | None:
        return self._requests.get(request)

    async def begin(self, entry: RunEntry, request: str | None) -> str:
        if request is not None and request in self._requests:
            return self._requests[request]
        self._entries[entry.ref.run_id] = entry
        if request is not None:
            self._requests[request] = entry.ref.run_id
        if len(self._entries) > self._runs_max:
            self._forget(next(iter(self._entries)))
        return entry.ref.run_id

    async def take_place(self, run_id: str, bounds: Mapping[str, int], now_s: float, until_s: float) -> str | None:
        for scope, most in bounds.items():
            taken = {run: end_s for run, end_s in self._places.get(scope, {}).items() if end_s > now_s}
            self._places[scope] = taken
            if len(taken) >= most:
                return scope
        for scope in bounds:
            self._places[scope][run_id] = until_s
        return None

    async def leave_place(self, run_id: str, scopes: Collection[str]) -> None:
        for scope in scopes:
            self._places.get(scope, {}).pop(run_id, None)

    async def end(self, outcome: Outcome) -> None:
        run_id = outcome.ref.run_id
        known = self._entries.get(run_id) or RunEntry(outcome.ref, "")
        self._entries[run_id] = replace(known, outcome=outcome)

    async def get(self, run_id: str) -> RunEntry | None:
        return self._entries.get(run_id)

    async def result_of_call(self, run_id: str, key: str) -> str | None:
        return self._results.get(run_id, {}).get(key)

    async def keep_result(self, run_id: str, key: str, text: str) -> None:
        self._results.setdefault(run_id, {})[key] = text

    async def erase(self, whose: Principal) -> list[str]:
        owners = {run_id: entry.ref.principal for run_id, entry in self._entries.items()}
        gone = [r for r, owner in owners.items() if owner.tenant == whose.tenant and whose.user in ("", owner.user)]
        for run_id in gone:
            self._forget(run_id)
        return gone

    def _forget(self, run_id: str) -> None:
        self._entries.pop(run_id, None)
        self._results.pop(run_id, None)
        self._requests = {request: known for request, known in self._requests.items() if known != run_id}
