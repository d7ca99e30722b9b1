"""Scripts: what they may say, and which rule takes a request."""

import pytest

from gateway.sim.choice import Facts, Progress, choose, choose_at_accept
from gateway.sim.fault import Reset, Stall, Status, Truncate
from gateway.sim.script import Script, ScriptError, parse_script, read_script, span


def facts(
    path: str = "/chat/completions",
    model: str = "gpt-x",
    key: str = "k",
    headers: dict[str, str] | None = None,
    says: str = "hello",
    stream: bool = False,
    connection_request: int = 1,
    elapsed_s: float = 0.0,
) -> Facts:
    return Facts(path, model, key, headers or {}, says, stream, connection_request, elapsed_s)


def taken(when: dict[str, object], *given: Facts) -> list[bool]:
    script = parse_script({"rules": [{"when": when, "fault": {"kind": "status", "status": 500}}]})
    progress = Progress()
    return [choose(script, progress, one).fault == Status(500) for one in given]


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"rulez": []}, "rulez"),
        ({"rules": [{"when": {"modle": "x"}}]}, "$.rules[0].when"),
        ({"rules": [{}, {"fault": {"kind": "explode"}}]}, "$.rules[1].fault.kind"),
        ({"rules": [{"pace": {"head_s": -1}}]}, "$.rules[0].pace.head_s"),
        ({"rules": [{"fault": {"kind": "status", "hints": [{"form": "guess"}]}}]}, "$.rules[0].fault.hints[0].form"),
        ({"rules": [{"when": {"requests": "one"}}]}, "$.rules[0].when"),
        ([], "array"),
    ],
)
def test_a_script_error_names_the_place(document: object, place: str) -> None:
    with pytest.raises(ScriptError) as caught:
        parse_script(document)
    assert place in str(caught.value)


def test_a_script_is_read_from_yaml_and_json() -> None:
    from_yaml = read_script("rules:\n  - when: {requests: 1..2}\n    fault: {kind: stall, after_events: 3}\n")
    from_json = read_script(
        b'{"rules": [{"when": {"requests": "1..2"}, "fault": {"kind": "stall", "after_events": 3}}]}'
    )
    assert from_yaml == from_json
    assert from_yaml.rules[0].fault == Stall(3)
    assert read_script("") == Script()
    with pytest.raises(ScriptError, match="not YAML"):
        read_script("{")


@pytest.mark.parametrize(("text", "value"), [("2", (2, 2)), (3, (3, 3)), ("1..3", (1, 3)), ("4..", (4, None))])
def test_spans(text: str | int, value: tuple[int, int | None]) -> None:
    assert span(text) == value


@pytest.mark.parametrize(
    ("when", "yes", "no"),
    [
        ({"path": "/v1/chat/*"}, facts(), facts(path="/embeddings")),
        ({"path": "/chat/completions"}, facts(), facts(path="/messages")),
        ({"model": "gpt-*"}, facts(), facts(model="claude")),
        ({"key": "k*"}, facts(), facts(key="other")),
        ({"says": "*ell*"}, facts(), facts(says="bye")),
        ({"headers": {"X-Run": "7*"}}, facts(headers={"x-run": "70"}), facts()),
        ({"stream": True}, facts(stream=True), facts()),
        ({"connection_requests": "2.."}, facts(connection_request=2), facts()),
        ({"after_s": 1, "until_s": 2}, facts(elapsed_s=1), facts(elapsed_s=2)),
        ({"until_s": 2}, facts(elapsed_s=1.9), facts(elapsed_s=2)),
    ],
)
def test_a_rule_takes_what_it_describes(when: dict[str, object], yes: Facts, no: Facts) -> None:
    assert taken(when, yes, no) == [True, False]


def test_requests_are_counted_over_those_described() -> None:
    other = facts(model="other")
    assert taken({"model": "gpt-x", "requests": "2..3"}, facts(), other, facts(), other, facts(), facts()) == [
        False, False, True, False, True, False,
    ]  # fmt: skip
    assert taken({"every": 3}, *[facts()] * 6) == [False, False, True, False, False, True]


def test_chance_is_seeded() -> None:
    first = taken({"chance": 0.3}, *[facts()] * 200)
    assert first == taken({"chance": 0.3}, *[facts()] * 200)
    assert 30 < sum(first) < 90


def test_the_first_rule_that_takes_a_request_decides() -> None:
    script = parse_script({"rules": [{"name": "a", "when": {"requests": 1}}, {"name": "b"}]})
    progress = Progress()
    assert [getattr(choose(script, progress, facts()), "name", None) for _ in range(3)] == ["a", "b", "b"]


def test_a_rule_at_accept_counts_connections_and_leaves_requests_alone() -> None:
    script = parse_script({"rules": [{"when": {"requests": 2}, "fault": {"kind": "reset", "at": "accept"}}]})
    progress = Progress()
    assert choose(script, progress, facts()) == script.otherwise
    assert [choose_at_accept(script, progress, 0.0) is not None for _ in range(3)] == [False, True, False]


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("sim-status-429", Status(429)),
        ("sim-events-9-stall-3", Stall(3)),
        ("sim-truncate-100", Truncate(100)),
        ("sim-reset-1", Reset()),
        ("sim-large", None),
    ],
)
def test_a_model_name_can_ask_for_a_fault(model: str, fault: object) -> None:
    assert choose(Script(), Progress(), facts(model=model)).fault == fault


def test_a_model_name_can_shape_the_answer() -> None:
    got = choose(
        Script(), Progress(), facts(model="sim-chars-80-events-5-ttftms-20-eventms-3-cached-4-reasoning-2-tool-2")
    )
    assert (got.answer.text_chars, got.answer.events, got.answer.cached_tokens, got.answer.reasoning_tokens) == (
        80,
        5,
        4,
        2,
    )
    assert (got.pace.first_event_s, got.pace.event_s, len(got.answer.tool_calls)) == (0.02, 0.003, 2)
