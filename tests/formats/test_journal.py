"""Lines of the journal: what was told is read as it was; what is not whole is no fact."""

import zlib

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.fact import Beat, Booking, Closed, Fact, Lineage, Opened, Replayed, Settled
from gateway.domain.ledger import EntryKind
from gateway.domain.record import Provenance
from gateway.domain.reply import Usage
from gateway.formats.journal import checked, write_line

NAMES = st.text(max_size=20)
MAYBE = st.none() | NAMES
TIMES = st.floats(0, 4e9)
COUNTS = st.integers(0, 2**62)
TAGS = st.lists(st.tuples(NAMES, NAMES), max_size=2).map(tuple)
USAGES = st.builds(Usage, *[COUNTS] * 10)

FACTS: st.SearchStrategy[Fact] = st.one_of(
    st.builds(Booking, NAMES, NAMES, NAMES, NAMES, NAMES, NAMES, MAYBE, TAGS),
    st.builds(Opened, NAMES, TIMES, COUNTS, COUNTS, COUNTS, st.none() | st.builds(Lineage, MAYBE, MAYBE, MAYBE, MAYBE)),
    st.builds(Beat, NAMES, COUNTS, COUNTS),
    st.builds(Settled, NAMES, TIMES, USAGES, COUNTS),
    st.builds(
        Closed,
        NAMES,
        st.sampled_from(EntryKind),
        TIMES,
        USAGES,
        COUNTS,
        COUNTS,
        st.sampled_from(Provenance),
        NAMES,
        st.booleans(),
        NAMES,
        MAYBE,
    ),
    st.builds(
        Replayed,
        NAMES,
        NAMES,
        NAMES,
        NAMES,
        TIMES,
        NAMES,
        MAYBE,
        MAYBE,
        MAYBE,
        TAGS,
        parent_run_id=MAYBE,
        session_id=MAYBE,
    ),
)


def line_of(fact: Fact, number: int = 0) -> bytes:
    line = bytearray(b"what was there before, be it ever so long" * 30)
    write_line(line, fact, number)
    return bytes(line)


@given(FACTS, st.integers(0, 10_000))
def test_a_fact_is_read_as_it_was_told(fact: Fact, number: int) -> None:
    number = number if isinstance(fact, Booking | Opened) else 0
    line = line_of(fact, number)
    assert (line.count(b"\n"), b"\0" in line) == (1, False)
    assert checked(line) == (number, fact)


@given(FACTS, st.data())
def test_a_line_that_anything_was_changed_in_is_no_fact(fact: Fact, data: st.DataObject) -> None:
    line = bytearray(line_of(fact))
    at = data.draw(st.integers(0, len(line) - 2))
    line[at] ^= data.draw(st.integers(1, 127))
    assert checked(bytes(line)) is None


def test_lines_are_arrays_that_people_can_read() -> None:
    told = (
        (b'["booking",0,"acme","k","m","a","gpt","p",null,[]]', Booking("acme", "k", "m", "a", "gpt", "p")),
        (
            b'["open",0,"r.1",1.5,20,3000,120,["run","root",null,"s"]]',
            Opened("r.1", 1.5, 20, 3000, 120, Lineage("run", "root", None, "s")),
        ),
        (b'["settle","r.1",2.5,[20,5,0,0],700]', Settled("r.1", 2.5, Usage(20, 5), 700)),
        (
            b'["close","r.2","post",2.5,[20,5,0,0],700,25,"counted","p",false,"timeout",null]',
            Closed("r.2", EntryKind.POST, 2.5, Usage(20, 5), 700, 25, Provenance.COUNTED, "p", cause="timeout"),
        ),
    )
    for text, fact in told:
        assert line_of(fact) == b"%b%d\n" % (text, zlib.crc32(text))


def test_a_fact_of_a_kind_or_shape_that_is_not_known_is_none() -> None:
    for other in (b'["beat2","r.1",1,2]', b'["beat","r.1",1]', b"[]", b"{}", b'[["beat"],"r.1",1,2]'):
        assert checked(b"%b%d\n" % (other, zlib.crc32(other))) is None, other
