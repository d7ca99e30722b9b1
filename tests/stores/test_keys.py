"""Keys: their form, what is stored of them, and who is found by them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.catalog import Secret
from gateway.domain.keys import PATTERN, key_text, parse_key
from gateway.stores import keys as stored
from gateway.stores.keys import KeyRing, Peppers, new_key
from tests.clock import ToldClock

NEW, OLD = Secret("pepper-new-0123456789"), Secret("pepper-old-0123456789")


def ring(peppers: Peppers, *texts: str, pepper_id: str | None = None) -> KeyRing[str]:
    found: KeyRing[str] = KeyRing(ToldClock(), peppers)
    pepper = pepper_id or peppers.newest
    found.adopt({peppers.id_of(text): (peppers.digest(text, pepper), pepper, f"holder of {text}") for text in texts})
    return found


def test_a_new_key_has_a_public_id_256_bits_and_a_checksum() -> None:
    key_id, text = new_key("live")
    assert re.fullmatch(r"gw_live_[A-Za-z0-9]{12}_[A-Za-z0-9_-]{43}_[0-9a-f]{8}", text)
    parsed = parse_key(text)
    assert parsed is not None
    assert (parsed.env, parsed.id, len(parsed.secret)) == ("live", key_id, 43)
    assert len({new_key("live")[1] for _ in range(1_000)}) == 1_000
    assert PATTERN.search(f"curl -H 'authorization: Bearer {text}'")


@given(st.integers(0, 76), st.sampled_from("abcXYZ059_-"))
def test_a_mistyped_key_is_none(at: int, letter: str) -> None:
    text = key_text("live", "A" * 12, "s" * 43)
    typo = text[:at] + letter + text[at + 1 :]
    assert (parse_key(typo) is None) is (typo != text)


def test_keys_are_found_whole_and_nobody_else_is() -> None:
    peppers = Peppers({"1": NEW})
    ours, theirs = new_key("live")[1], "a-key-from-the-file-0123"
    keys = ring(peppers, ours, theirs)
    for _ in range(2):
        assert keys.find(ours.encode()) == f"holder of {ours}"
        assert keys.find(theirs.encode()) == f"holder of {theirs}"
        for wrong in (b"", b"x", ours[:-1].encode(), ours.encode() + b"0", theirs.encode() + b" ", b"\xff\xfe"):
            assert keys.find(wrong) is None


def test_the_right_id_with_another_secret_is_nobody() -> None:
    peppers = Peppers({"1": NEW})
    key_id, text = new_key("live")
    assert ring(peppers, text).find(key_text("live", key_id, "x" * 43).encode()) is None


def test_what_is_stored_verifies_nothing_without_the_pepper() -> None:
    text = new_key("live")[1]
    thief: KeyRing[str] = KeyRing(ToldClock(), Peppers({"1": OLD}))
    thief.adopt({Peppers({"1": NEW}).id_of(text): (Peppers({"1": NEW}).digest(text), "1", "holder")})
    assert thief.find(text.encode()) is None


@pytest.mark.parametrize("text", [new_key("live")[1], "a-key-from-the-file-0123"], ids=["made", "told"])
def test_a_pepper_is_rotated_with_both_active(text: str) -> None:
    before = Peppers({"old": OLD})
    both: KeyRing[str] = KeyRing(ToldClock(), Peppers({"new": NEW, "old": OLD}))
    both.adopt({before.id_of(text): (before.digest(text), "old", "holder")})
    assert both.find(text.encode()) == "holder"


def test_a_revoked_key_is_refused_as_soon_as_the_ring_knows() -> None:
    peppers, text = Peppers({"1": NEW}), new_key("live")[1]
    keys = ring(peppers, text)
    assert keys.find(text.encode()) is not None
    keys.adopt({})
    assert keys.find(text.encode()) is None


def test_an_address_that_fails_too_often_waits_and_known_keys_still_pass() -> None:
    peppers, text, late = Peppers({"1": NEW}), new_key("live")[1], new_key("live")[1]
    clock = ToldClock()
    keys: KeyRing[str] = KeyRing(clock, peppers)
    keys.adopt({peppers.id_of(key): (peppers.digest(key), "1", "holder") for key in (text, late)})
    assert keys.find(text.encode(), "192.0.2.1") is not None
    for number in range(stored.FAILURES_MAX):
        assert keys.find(b"guess %d" % number, "192.0.2.1") is None
    assert keys.find(text.encode(), "192.0.2.1") is not None
    assert keys.find(late.encode(), "192.0.2.1") is None
    assert keys.find(late.encode(), "192.0.2.2") is not None
    clock.now_s += stored.FAILURES_WINDOW_S
    assert keys.find(late.encode(), "192.0.2.1") is not None


def test_remembered_guesses_are_bounded() -> None:
    keys: KeyRing[str] = KeyRing(ToldClock(), Peppers({"1": NEW}), unknown_max=10)
    for number in range(100):
        keys.find(b"guess %d" % number, f"192.0.2.{number}")
    assert len(keys._unknown) == 10
