"""When the store is left alone: after a few failures, with one probe a second until it answers again."""

FAILURES_MAX = 3
TIMEOUTS_MAX = 2
PROBE_EVERY_S = 1.0


class StoreBreaker:
    """Failures and timeouts are counted in a row. A silent store costs more than a dead one, so it is left sooner."""

    __slots__ = ("_failures", "_probe_at_s", "_timeouts", "open")

    def __init__(self) -> None:
        self.open = False
        self._failures = 0
        self._timeouts = 0
        self._probe_at_s = 0.0

    def admits(self, now_s: float) -> bool:
        """Whether a call may go out now; while it is open, that call is the probe."""
        if not self.open:
            return True
        if now_s < self._probe_at_s:
            return False
        self._probe_at_s = now_s + PROBE_EVERY_S
        return True

    def answered(self) -> None:
        self.open = False
        self._failures = self._timeouts = 0

    def failed(self, now_s: float, *, timeout: bool) -> None:
        self._failures += 1
        self._timeouts += timeout
        if not self.open and (self._failures >= FAILURES_MAX or self._timeouts >= TIMEOUTS_MAX):
            self.open = True
            self._probe_at_s = now_s + PROBE_EVERY_S
