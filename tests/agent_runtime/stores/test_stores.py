"""One suite over memory, SQLite and Redis."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from agent_runtime.domain.todo import Outcome
from agent_runtime.domain.values import Message, Principal, RunRef, Usage
from agent_runtime.ports import Entry, Recollection, RunEntry, Turn
from agent_runtime.stores.clock import SystemClock
from agent_runtime.stores.recollections import SqliteMemory
from agent_runtime.stores.sqlite import SqliteConversations, SqliteEvents, SqliteFile, SqliteRuns

ANN, BOB, EVE = Principal("acme", "ann"), Principal("acme", "bob"), Principal("evil", "ann")


def entry(number: int, kind: str = "TEXT_MESSAGE_CONTENT") -> Entry:
    return Entry(f"k{number}", {"type": kind, "delta": str(number)})


def turn(number: int, messages: int = 2) -> Turn:
    said = (Message("user", f"q{number}"), *(Message("assistant", f"a{number}") for _ in range(messages - 1)))
    return Turn(f"run-{number}", "completed", said)


def ref(run_id: str = "run-1", whose: Principal = ANN) -> RunRef:
    return RunRef(run_id, "main", whose, run_id)


async def test_row_59_events_are_numbered_without_gap_or_repetition(stores: Any) -> None:
    await stores.events.append("r", [entry(0), entry(1)])
    await stores.events.append("r", [entry(1), entry(2)])
    await stores.events.append("other", [entry(0)])
    found = await stores.events.read("r", 0, 0.01)
    assert [(number, event["delta"]) for number, event in found] == [(0, "0"), (1, "1"), (2, "2")]
    assert await stores.events.read("r", 2, 0.01) == found[2:]
    assert await stores.events.read("r", 3, 0.01) == []


async def test_row_59_nothing_comes_after_the_terminal_event_and_the_log_stays(stores: Any) -> None:
    await stores.events.append("r", [entry(0), entry(1, "RUN_FINISHED"), entry(2)])
    await stores.events.append("r", [entry(3), entry(4, "RUN_ERROR")])
    assert [event["type"] for _, event in await stores.events.read("r", 0, 0.01)] == [
        "TEXT_MESSAGE_CONTENT",
        "RUN_FINISHED",
    ]


async def test_row_59_a_reader_waits_for_what_comes(stores: Any) -> None:
    waiting = asyncio.ensure_future(stores.events.read("r", 0, 5.0))
    await asyncio.sleep(0)
    await stores.events.append("r", [entry(0)])
    assert len(await waiting) == 1


async def test_many_writers_make_one_sequence(stores: Any) -> None:
    await asyncio.gather(*(stores.events.append("r", [entry(number % 50)]) for number in range(100)))
    found = await stores.events.read("r", 0, 0.01)
    assert [number for number, _ in found] == list(range(50))
    assert {event["delta"] for _, event in found} == {str(number) for number in range(50)}


async def test_row_59_one_turn_at_a_time(stores: Any) -> None:
    store = stores.conversations
    assert await store.claim(ANN, "c", "run-1", 60) == "run-1"
    assert await store.claim(ANN, "c", "run-2", 60) == "run-1"
    assert await store.claim(BOB, "c", "run-3", 60) == "run-3"
    await store.release(ANN, "c", "run-2")
    assert await store.claim(ANN, "c", "run-2", 60) == "run-1"
    await store.release(ANN, "c", "run-1")
    assert await store.claim(ANN, "c", "run-2", 0.001) == "run-2"


async def test_row_28_a_conversation_keeps_whole_turns_within_its_bound(stores: Any) -> None:
    store = stores.conversations
    for number in range(8):
        await store.keep(ANN, "c", turn(number, 3))
    kept = await store.turns(ANN, "c")
    assert [one.run_id for one in kept] == ["run-5", "run-6", "run-7"]
    assert kept[-1] == turn(7, 3)


async def test_row_17_a_turn_is_kept_when_it_begins_and_replaced_when_it_ends(stores: Any) -> None:
    store = stores.conversations
    await store.keep(ANN, "c", Turn("run-1", "running", (Message("user", "q"),)))
    await store.keep(ANN, "c", Turn("run-1", "failed", (Message("user", "q"),)))
    assert [(one.run_id, one.status) for one in await store.turns(ANN, "c")] == [("run-1", "failed")]


async def test_row_46_nobody_sees_anothers_conversation_and_erasing_leaves_nothing(stores: Any) -> None:
    store = stores.conversations
    for whose in (ANN, BOB, EVE):
        await store.keep(whose, "c", turn(1))
        await store.keep(whose, "d", turn(2))
    await store.clear(ANN, "c")
    assert await store.turns(ANN, "c") == []
    assert sorted(await store.erase(ANN)) == ["run-2"]
    assert await store.turns(ANN, "d") == []
    assert len(await store.turns(BOB, "c")) == 1
    assert sorted(await store.erase(Principal("acme"))) == ["run-1", "run-2"]
    assert len(await store.turns(EVE, "d")) == 1


async def test_row_46_a_name_cannot_reach_into_anothers_space(stores: Any) -> None:
    store = stores.conversations
    await store.keep(Principal("a", "b:c"), "d", turn(1))
    await store.keep(Principal("a*", "x"), "d", turn(1))
    assert await store.turns(Principal("a", "b"), "c:d") == []
    assert await store.turns(Principal("a:b", "c"), "d") == []
    assert await store.erase(Principal("a*")) == ["run-1"]
    assert len(await store.turns(Principal("a", "b:c"), "d")) == 1


async def test_row_17_the_same_request_is_the_same_run(stores: Any) -> None:
    runs = stores.runs
    assert await runs.begin(RunEntry(ref("run-1"), "x"), "key") == "run-1"
    assert await runs.begin(RunEntry(ref("run-2"), "x"), "key") == "run-1"
    assert await runs.begin(RunEntry(ref("run-3"), "x"), None) == "run-3"
    assert await runs.find("key") == "run-1"
    assert await runs.find("other") is None


async def test_row_14_a_result_can_be_had_later_by_run_id(stores: Any) -> None:
    runs = stores.runs
    await runs.begin(RunEntry(ref(), "x"), "key")
    outcome = Outcome(ref(), "complete", "yes", None, Usage(1), Usage(1), {"main": Usage(1)}, (Message("user", "q"),))
    await runs.end(outcome)
    found = await runs.get("run-1")
    assert found is not None
    assert (found.outcome, found.input) == (outcome, "x")
    assert await runs.find("key") == "run-1"
    assert await runs.get("nobody") is None


async def test_row_17_results_of_calls_are_kept_until_their_owner_is_erased(stores: Any) -> None:
    runs = stores.runs
    for whose in (ANN, BOB):
        known = ref(f"run-{whose.user}", whose)
        await runs.begin(RunEntry(known, "x"), None)
        await runs.keep_result(known.run_id, "1:0", "done")
    assert await runs.result_of_call("run-ann", "1:0") == "done"
    assert await runs.result_of_call("run-ann", "1:1") is None
    assert await runs.erase(ANN) == ["run-ann"]
    assert await runs.get("run-ann") is None
    assert await runs.result_of_call("run-ann", "1:0") is None
    assert await runs.result_of_call("run-bob", "1:0") == "done"


async def test_row_46_memories_belong_to_a_user_and_an_agent(tmp_path: Path) -> None:
    memory = SqliteMemory(SqliteFile(tmp_path / "m.db"), SystemClock())
    await memory.store(ANN, "main", Recollection("Ann likes green tea", "preference"))
    again = await memory.store(ANN, "main", Recollection("Ann likes green tea", "preference"))
    await memory.store(ANN, "main", Recollection("the meeting is on Monday", "note"))
    found = await memory.recall(ANN, "main", "which tea does Ann like?", 10, 0.35)
    assert [(one.text, one.id) for one in found] == [("Ann likes green tea", again)]
    assert len(await memory.recall(ANN, "main", "zzz", 10, 0.35)) == 2
    assert await memory.recall(BOB, "main", "tea", 10, 0.35) == []
    assert await memory.recall(ANN, "other", "tea", 10, 0.35) == []
    await memory.erase(ANN)
    assert await memory.recall(ANN, "main", "tea", 10, 0.35) == []


class Calendar:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.time_s = 1_000_000.0

    def now_s(self) -> float:
        return self.time_s

    async def sleep_s(self, seconds: float) -> None:
        self.time_s += seconds


async def test_row_46_59_what_nobody_touches_is_swept_out_whole_and_nothing_else_is(tmp_path: Path) -> None:
    clock = Calendar()
    file = SqliteFile(tmp_path / "r.db", clock=clock, keep_s=1_000)
    events, runs, talks = SqliteEvents(file, clock), SqliteRuns(file), SqliteConversations(file, clock)
    for run_id in ("run-1", "run-2"):
        await events.append(run_id, [entry(0, "RUN_FINISHED")])
        await runs.begin(RunEntry(ref(run_id), "x"), f"asked for {run_id}")
        await runs.keep_result(run_id, "1:0", "done")
        await talks.keep(ANN, "c", Turn(run_id, "completed", (Message("user", "q"),)))
    clock.time_s += 999
    await runs.keep_result("run-2", "1:1", "later")
    assert await runs.get("run-1") is not None
    clock.time_s += 601
    await runs.begin(RunEntry(ref("run-3"), "x"), None)
    assert (await runs.get("run-1"), await runs.find("asked for run-1")) == (None, None)
    assert (await events.read("run-1", 0, 0), await runs.result_of_call("run-1", "1:0")) == ([], None)
    assert [one.run_id for one in await talks.turns(ANN, "c")] == ["run-2"]
    assert len(await events.read("run-2", 0, 0)) == 1
    assert await runs.result_of_call("run-2", "1:0") == "done"
    assert await file.read("SELECT run FROM kept ORDER BY run") == [("run-2",), ("run-3",)]
    file.close()


async def test_row_35_a_run_has_a_place_in_every_scope_until_it_leaves_or_its_time_is_over(stores: Any) -> None:
    runs, bounds = stores.runs, {"all": 2, "tenant 'a'": 1}
    assert await runs.take_place("r1", bounds, 0.0, 10.0) is None
    assert await runs.take_place("r2", bounds, 9.0, 10.0) == "tenant 'a'"
    assert await runs.take_place("r2", {"all": 2, "tenant 'b'": 1}, 9.0, 20.0) is None
    assert await runs.take_place("r3", {"all": 2, "tenant 'c'": 1}, 9.0, 20.0) == "all"
    assert await runs.take_place("r3", bounds, 10.0, 20.0) is None, "the time of the first is over"
    await runs.leave_place("r2", ["all", "tenant 'b'"])
    assert await runs.take_place("r4", {"all": 2, "tenant 'b'": 1}, 10.0, 20.0) is None


async def test_row_35_places_are_not_taken_twice_by_those_who_come_at_once(stores: Any) -> None:
    asked = [stores.runs.take_place(f"r{number}", {"all": 5}, 0.0, 10.0) for number in range(30)]
    assert sum(full is None for full in await asyncio.gather(*asked)) == 5


async def test_row_05_a_worker_is_there_until_it_leaves_or_falls_silent(stores: Any) -> None:
    roster = stores.roster
    await roster.beat("q", "a", 60)
    await roster.beat("q", "b", 0.001)
    await roster.beat("other", "c", 60)
    while len(await roster.present("q")) > 1:
        await asyncio.sleep(0.005)
    assert await roster.present("q") == ["a"]
    await roster.leave("q", "a")
    assert await roster.present("q") == []


def test_all_processes_of_a_machine_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    """SQLite refuses two that begin its log at the same moment, and waits for neither."""

    def opened(path: Path, gate: threading.Barrier) -> None:
        gate.wait()
        SqliteFile(path).close()

    with ThreadPoolExecutor(8) as threads:
        for number in range(30):
            gate = threading.Barrier(8)
            for opening in [threads.submit(opened, tmp_path / f"{number}.db", gate) for _ in range(8)]:
                opening.result()
