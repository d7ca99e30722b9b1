"""C15: the counts of connections by address, against a list of who is in."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.http.addresses import Addresses

MOVES = st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=60)


@given(MOVES, st.integers(1, 4))
def test_c15_nobody_has_more_than_the_cap_and_nothing_is_kept_of_who_has_left(
    moves: list[tuple[bool, str]], most: int
) -> None:
    addresses, inside = Addresses(most), list[str]()
    for enters, who in moves:
        if enters:
            assert addresses.enter(who) == (inside.count(who) < most)
            inside += [who] * (inside.count(who) < most)
        elif who in inside:
            addresses.leave(who)
            inside.remove(who)
        assert len(addresses) == len(set(inside))
