"""The circuit against a plain oracle: states, permits, generations."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.domain.breaker import TripRule
from gateway.stores.circuit import Circuit

RULE = TripRule(volume=4, callers=1, bodies=1, open_s=5.0, probes=2)


def circuit() -> tuple[Circuit, list[bool]]:
    told: list[bool] = []
    return Circuit("d", RULE, lambda name, *, closed: told.append(closed)), told


def trip(one: Circuit, now_s: float) -> None:
    for _ in range(RULE.volume):
        generation = one.admit(now_s)
        assert generation is not None
        one.failure(generation, now_s, caller="k", body="b", proven=False)


def test_it_opens_refuses_probes_and_closes() -> None:
    one, told = circuit()
    trip(one, 0.0)
    assert (one.state, told) == ("open", [False])
    assert one.admit(4.9) is None
    first, second = one.admit(5.0), one.admit(5.0)
    assert first is not None
    assert second is not None
    assert one.admit(5.0) is None, "two probes are in flight"
    one.success(first, 5.1)
    assert (one.state, told[-1]) == ("closed", True)


def test_f4_a_neutral_probe_gives_its_place_back_and_changes_nothing() -> None:
    one, _ = circuit()
    trip(one, 0.0)
    probes = [one.admit(6.0), one.admit(6.0)]
    assert one.admit(6.0) is None
    assert probes[0] is not None
    one.neutral(probes[0])
    assert one.state == "half-open"
    assert one.admit(6.0) is not None


def test_a_failed_probe_opens_again_for_the_whole_time() -> None:
    one, _ = circuit()
    trip(one, 0.0)
    probe = one.admit(5.0)
    assert probe is not None
    one.failure(probe, 5.5, caller="k", body="b", proven=False)
    assert one.admit(10.4) is None
    assert one.admit(10.5) is not None


@pytest.mark.parametrize("late", ["success", "failure"])
def test_verdicts_from_before_a_change_move_nothing(late: str) -> None:
    one, _ = circuit()
    old = one.admit(0.0)
    assert old is not None
    trip(one, 0.0)
    probe = one.admit(5.0)
    assert probe is not None
    if late == "success":
        one.success(old, 5.1)
    else:
        one.failure(old, 5.1, caller="k", body="b", proven=False)
    assert one.state == "half-open"
    one.success(probe, 5.2)
    assert one.state == "closed"


class AgainstOracle(RuleBasedStateMachine):
    """The oracle keeps the state in three variables and knows nothing of pybreaker."""

    def __init__(self) -> None:
        super().__init__()
        self.one, _ = circuit()
        self.now_s = 0.0
        self.state = "closed"
        self.opened_s = 0.0
        self.era = 0
        self.good = self.bad = 0
        self.out: list[tuple[int, int]] = []  # (generation of the circuit, era of the oracle)

    def change(self, state: str) -> None:
        self.state, self.era, self.good, self.bad = state, self.era + 1, 0, 0
        self.opened_s = self.now_s

    @property
    def probing(self) -> int:
        return sum(era == self.era for _, era in self.out)

    @rule(gap_s=st.sampled_from([0.0, 0.5, 2.0, 5.0]))
    def wait(self, gap_s: float) -> None:
        """Short of the window, so that the oracle need not forget."""
        if self.now_s + gap_s < RULE.window_s * 0.9:
            self.now_s += gap_s

    @rule()
    def ask(self) -> None:
        generation = self.one.admit(self.now_s)
        if self.state == "open" and self.now_s >= self.opened_s + RULE.open_s:
            self.change("half-open")
        allowed = self.state == "closed" or (self.state == "half-open" and self.probing < RULE.probes)
        assert (generation is not None) == allowed
        if generation is not None:
            self.out.append((generation, self.era))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), verdict=st.sampled_from(["success", "failure", "neutral"]))
    def tell(self, data: st.DataObject, verdict: str) -> None:
        generation, era = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        if verdict == "success":
            self.one.success(generation, self.now_s)
        elif verdict == "failure":
            self.one.failure(generation, self.now_s, caller="k", body="b", proven=False)
        else:
            self.one.neutral(generation)
        if era != self.era or verdict == "neutral":
            return
        if self.state == "half-open":
            self.change("closed" if verdict == "success" else "open")
        elif self.state == "closed":
            self.good += verdict == "success"
            self.bad += verdict == "failure"
            if verdict == "failure" and self.good + self.bad >= RULE.volume and self.bad * 2 >= self.good + self.bad:
                self.change("open")

    @invariant()
    def both_agree(self) -> None:
        assert self.one.state == self.state


TestAgainstOracle = AgainstOracle.TestCase
