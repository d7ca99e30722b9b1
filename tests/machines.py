"""How long state machines run, wherever they stand."""

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

STEPS = 100


def play(machine: type[RuleBasedStateMachine], examples: int) -> None:
    """Each example takes up to STEPS steps."""
    programme = settings(
        max_examples=examples, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine, settings=programme)
