"""F6: sessions stay where they are, move once when they must, and are nobody else's."""

from tests.rows.house import House, standing

SESSIONS = [f"session-{number}" for number in range(40)]


async def round_of(house: House, caller: str = "one") -> dict[str, str]:
    """One request of every session, and which target served it."""
    targets = {}
    for session in SESSIONS:
        seen = await house.ask(f"go on with {session}", caller=caller, headers={"x-session-id": session})
        assert seen.status == 200
        targets[session] = seen.headers["x-gateway-target"]
    return targets


async def test_f6_a_session_stays_with_its_target_and_moves_once_when_that_dies() -> None:
    targets = {"a": {"priority": 1}, "b": {"priority": 1}, "c": {"priority": 1}}
    async with standing(route={"sticky": True}, targets=targets, a={}, b={}, c={}) as house:
        before = await round_of(house)
        assert set(before.values()) == {"a/gpt", "b/gpt", "c/gpt"}
        for _ in range(4):
            assert await round_of(house) == before
            assert house.record.sticky == "kept"
        house.script("a", otherwise={"fault": {"kind": "status", "status": 500}})
        moved = await round_of(house)
        assert "a/gpt" not in moved.values()
        assert all(moved[session] == at for session, at in before.items() if at != "a/gpt")
        for _ in range(3):
            assert await round_of(house) == moved
        house.script("a")
        house.clock.ahead_s += 30
        assert await round_of(house) == moved


async def test_f6_another_key_of_the_tenant_finds_its_session_and_another_tenant_does_not() -> None:
    targets = {"a": {"priority": 1}, "b": {"priority": 1}}
    async with standing(route={"sticky": True}, targets=targets, a={}, b={}) as house:
        first = await round_of(house, "one")
        assert await round_of(house, "two") == first
        other = await round_of(house, "other")
        assert 5 < sum(other[session] != first[session] for session in SESSIONS) < 35
        house.script("a", otherwise={"fault": {"kind": "status", "status": 500}})
        moved = [session for session, at in first.items() if at == "a/gpt"]
        await round_of(house, "one")
        house.script("a")
        house.clock.ahead_s += 30
        again = await round_of(house, "other")
        assert again == other
        pinned = await round_of(house, "two")
        assert {pinned[session] for session in moved} == {"b/gpt"}
