"""What every test shares: one seed, printed, and the same examples on every run."""

import gc
import os
import random

import pytest
from hypothesis import HealthCheck, settings

from gateway import outbox

SEED = int(os.environ.get("METERWAY_TEST_SEED", "20261122"))

settings.register_profile(
    "short", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("short")


def pytest_report_header() -> str:
    return f"meterway seed: {SEED} (METERWAY_TEST_SEED={SEED} repeats this run)"


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Dice of the standard library start from the printed seed in every test."""
    random.seed(SEED)


@pytest.fixture(autouse=True)
def bunched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms that run on both loops write on uvloop as under load: always at the end of a turn."""
    if "[uvloop" in request.node.name:
        monkeypatch.setattr(outbox, "AT_ONCE", 0)
        monkeypatch.setattr(outbox, "FEW", 0)


def pytest_collection_finish() -> None:
    """Thousands of tests on the heap would make one collection a pause of 0.3 s in the middle of some test."""
    _settle()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is None or nextitem.path != item.path:
        _settle()


def _settle() -> None:
    """What lives now is not walked again."""
    gc.collect()
    gc.freeze()
