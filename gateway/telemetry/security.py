"""Tells operators of providers that redirect or fail at TLS: a count for each time, a line a minute."""

import logging

from gateway.domain.failure import FailureKind
from gateway.domain.record import Attempt
from gateway.telemetry.cells import NumberCells

QUIET_S = 60.0
_TOLD_MAX = 1024

_log = logging.getLogger("meterway.security")

MESSAGES = {
    FailureKind.REDIRECT.value: "provider %r answers with a redirect, which is never followed; check its base_url",
    FailureKind.TLS.value: "provider %r has no TLS that can be trusted; check its certificate, base_url and ca_file",
}


class SecurityEvents:
    """`at_s` is wall time; a clock that was set back or forward only lets a line through early."""

    def __init__(self, cells: NumberCells) -> None:
        self._cells = cells
        self._told_s: dict[tuple[str, str], float] = {}

    def observe(self, attempt: Attempt, at_s: float) -> None:
        kind = attempt.failure
        if kind is None or kind not in MESSAGES:
            return
        labels = (attempt.provider, kind)
        self._cells.add(labels, 1)
        told_s = self._told_s.get(labels)
        if told_s is not None and abs(at_s - told_s) < QUIET_S:
            return
        if len(self._told_s) >= _TOLD_MAX:
            self._told_s.clear()
        self._told_s[labels] = at_s
        _log.warning(MESSAGES[kind], attempt.provider)
