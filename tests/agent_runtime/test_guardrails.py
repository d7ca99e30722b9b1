"""Guards over text: what they find, also where it spans two pieces of a stream."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runtime.connectors.scripted import Line
from agent_runtime.contracts.errors import GuardrailViolation
from agent_runtime.domain.values import Call, Message, RunRef
from agent_runtime.spec.guardrails import personal_data, pii_redaction, redacted, stop_list
from agent_runtime.spec.hooks import HoldBack, HookContext, Modify, StreamGuard
from tests.agent_runtime.cast import ANN, Props, agent, asked, calls

REF = RunRef("r", "main", ANN, "r")
SECRETS = ["ann@example.com", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "+49 170 1234567"]
WORDS = st.lists(st.sampled_from([*SECRETS, "the", "letter", "is", "for", "x"]), max_size=30).map(" ".join)


def streamed(text: str, cuts: list[int], *guards: StreamGuard) -> list[str]:
    hold = HoldBack(guards, REF)
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    out = [hold.push(text[start:end]) for start, end in itertools.pairwise(places)]
    return [*out, hold.end()]


@settings(max_examples=200)
@given(WORDS, st.lists(st.integers(0, 2_000), max_size=40))
def test_row_45_wherever_a_stream_is_cut_it_is_redacted_as_a_whole_text_is(text: str, cuts: list[int]) -> None:
    assert "".join(streamed(text, cuts, StreamGuard(personal_data, 64))) == redacted(text)


@pytest.mark.parametrize("secret", SECRETS)
def test_row_45_each_kind_of_personal_data_is_found(secret: str) -> None:
    assert secret not in redacted(f"write to {secret} today")
    assert redacted(redacted(secret)) == redacted(secret)


@pytest.mark.parametrize("plain", ["1234 5678 9012 3456", "version 1.2.3", "a@b", "+1", "2026-11-23"])
def test_row_45_what_only_looks_like_it_stays(plain: str) -> None:
    assert redacted(plain) == plain


@given(st.lists(st.integers(0, 100), max_size=20))
def test_row_45_a_stop_word_is_never_shown_however_it_arrives(cuts: list[int]) -> None:
    guard = stop_list(["swordfish"]).stream
    assert guard is not None
    shown: list[str] = []
    hold = HoldBack([guard], REF)
    text = "the code is swordfish, and more"
    places = sorted({0, len(text), *(cut % len(text) for cut in cuts)})

    def play() -> None:
        shown.extend(hold.push(text[start:end]) for start, end in itertools.pairwise(places))
        shown.append(hold.end())

    with pytest.raises(GuardrailViolation):
        play()
    assert "swordfish" not in "".join(shown)


@given(st.text(max_size=100), st.lists(st.integers(0, 100), max_size=10))
def test_without_guards_nothing_is_held_back(text: str, cuts: list[int]) -> None:
    pieces = streamed(text, cuts)
    assert "".join(pieces) == text
    assert pieces[-1] == ""


async def test_row_45_personal_data_in_the_arguments_of_a_call_is_not_kept_either() -> None:
    props = Props()
    one = agent([calls("look", city="bob@example.com"), Line("done")], props, hooks=[pii_redaction()])
    async with one.stream("go", conversation_id="c") as events:
        shown = json.dumps([event async for event in events])
    assert one.services is not None
    turns = await one.services.conversations.turns(ANN, "c")
    everything = shown + repr(turns) + repr([ask.messages for ask in asked(one)])
    assert "bob@example.com" not in everything
    assert props.used == ["look [email]"]


def test_row_45_arguments_stay_json_and_numbers_stay_numbers() -> None:
    call = Call("c1", "pay", '{"card": 4111111111111111, "to": ["ann@example.com", "é"]}')
    handle = pii_redaction().points["after_llm"]
    verdict = handle(Message("assistant", "", calls=(call,)), HookContext(REF))
    assert isinstance(verdict, Modify)
    assert json.loads(verdict.value.calls[0].arguments) == {"card": 4111111111111111, "to": ["[email]", "é"]}
