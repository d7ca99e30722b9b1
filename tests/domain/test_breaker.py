"""When a circuit trips: volume, ratio and proof."""

from gateway.domain.breaker import TripRule, TripWindow

RULE = TripRule()


def test_it_needs_volume() -> None:
    window = TripWindow(RULE)
    for i in range(19):
        window.failure(1.0, caller=f"k{i}", body=f"b{i}", proven=False)
    assert not window.trips(1.0)
    window.failure(1.0, caller="k", body="b", proven=False)
    assert window.trips(1.0)


def test_it_needs_half_to_fail() -> None:
    window = TripWindow(RULE)
    for i in range(30):
        window.success(1.0)
        if i < 29:
            window.failure(1.0, caller=f"k{i}", body=f"b{i}", proven=False)
    assert not window.trips(1.0)
    window.failure(1.0, caller="k", body="b", proven=False)
    assert window.trips(1.0)


def test_one_poison_request_of_one_caller_opens_nothing() -> None:
    window = TripWindow(RULE)
    for _ in range(100):
        window.failure(1.0, caller="k", body="poison", proven=False)
    assert not window.trips(1.0)
    window.failure(1.0, caller="other", body="poison", proven=False)
    assert window.trips(1.0)


def test_ten_bodies_of_one_caller_are_proof() -> None:
    window = TripWindow(RULE)
    for i in range(100):
        window.failure(1.0, caller="k", body=f"b{i % 9}", proven=False)
    assert not window.trips(1.0)
    window.failure(1.0, caller="k", body="b9", proven=False)
    assert window.trips(1.0)


def test_failures_that_cannot_be_the_requests_fault_are_proof() -> None:
    window = TripWindow(RULE)
    for _ in range(20):
        window.failure(1.0, caller="k", body="b", proven=True)
    assert window.trips(1.0)


def test_it_forgets_after_thirty_seconds() -> None:
    window = TripWindow(RULE)
    for i in range(20):
        window.failure(1.0, caller=f"k{i}", body=f"b{i}", proven=False)
    assert window.trips(1.0)
    assert not window.trips(40.0)
    assert (window.good, window.bad) == (0, 0)
