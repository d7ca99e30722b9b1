"""The waiting room: in order for each tenant, fair among tenants, and nothing stays of who has left."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pipeline.waiting import Waiter, WaitingRoom

TENANTS = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(st.tuples(st.sampled_from(["enter", "leave", "free"]), TENANTS, st.integers(0, 5)), max_size=60)


async def awake(waiter: Waiter) -> bool:
    return await waiter.turn(0.0)


@settings(max_examples=300)
@given(STEPS)
def test_room_wakes_the_first_of_its_own_tenant_and_lines_are_bounded(steps: list[tuple[str, str, int]]) -> None:
    """The oracle is a list for each tenant."""
    room = WaitingRoom(all_max=7, each_max=3)
    lines: dict[str, list[Waiter]] = {"a": [], "b": [], "c": []}

    async def play() -> None:
        for step, tenant, number in steps:
            line = lines[tenant]
            if step == "enter":
                fits = sum(map(len, lines.values())) < 7 and len(line) < 3
                waiter = room.enter(tenant)
                assert (waiter is not None) is fits
                if waiter is not None:
                    line.append(waiter)
            elif step == "leave" and line:
                room.leave(line.pop(number % len(line)))
            elif step == "free":
                room.free(tenant)
                if line:
                    assert await awake(line[0])
                assert not any([await awake(other) for other in line[1:]])
            assert room.count == sum(map(len, lines.values()))

    asyncio.run(play())


async def test_a_tenant_with_a_long_line_takes_no_place_of_another() -> None:
    room = WaitingRoom(all_max=200, each_max=100)
    crowd = [room.enter("loud") for _ in range(150)]
    assert sum(waiter is not None for waiter in crowd) == 100
    quiet = room.enter("quiet")
    assert quiet is not None
    room.free("loud")
    room.free("quiet")
    assert await awake(quiet)


async def test_nothing_stays_of_a_tenant_that_was_refused() -> None:
    room = WaitingRoom(all_max=1)
    first = room.enter("a")
    assert first is not None
    assert room.enter("b") is None
    room.leave(first)
    assert not room._lines
