"""The windows in which budgets are counted: hours, days, weeks and months of a time zone, or for good."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import assert_never

from gateway.domain.symbol import Symbol
from gateway.domain.value import value

FOREVER_S = 253_402_300_799.0
"""The end of a lifetime window: the last second of the year 9999."""


class Period(Symbol):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    LIFETIME = "lifetime"


@value
class Window:
    """One stretch of a period: `id` names it for good, wall-clock seconds from `starts_s` up to `ends_s`."""

    id: str
    starts_s: float
    ends_s: float


LIFETIME = Window("lifetime", 0.0, FOREVER_S)


def window_at(period: Period, zone: tzinfo, wall_s: float) -> Window:
    """The window that holds `wall_s`. Weeks begin on Monday (ISO 8601); days are those of `zone`."""
    if period is Period.LIFETIME:
        return LIFETIME
    if period is Period.HOUR:
        start = datetime.fromtimestamp(wall_s // 3600 * 3600, UTC)
        return Window(start.strftime("%Y-%m-%dT%HZ"), start.timestamp(), start.timestamp() + 3600)
    midnight = datetime.fromtimestamp(wall_s, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    start, end, name = _days(period, midnight)
    return Window(name, start.timestamp(), end.timestamp())


def _days(period: Period, midnight: datetime) -> tuple[datetime, datetime, str]:
    match period:
        case Period.DAY:
            return midnight, midnight + timedelta(days=1), midnight.strftime("%Y-%m-%d")
        case Period.WEEK:
            monday = midnight - timedelta(days=midnight.weekday())
            return monday, monday + timedelta(days=7), monday.strftime("%G-W%V")
        case Period.MONTH:
            first = midnight.replace(day=1)
            return first, (first + timedelta(days=32)).replace(day=1), first.strftime("%Y-%m")
        case Period.HOUR | Period.LIFETIME:
            raise AssertionError("hours and lifetimes have no days")
        case _:
            assert_never(period)
