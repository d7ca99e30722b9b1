"""The life of one hold: what may follow what, from the reservation to the last word on its cost."""

from gateway.domain.symbol import Symbol


class HoldState(Symbol):
    HELD = "held"
    DISPATCHED = "dispatched"
    POSTED = "posted"
    VOID = "void"
    EXPIRED = "expired"


class HoldEvent(Symbol):
    DISPATCH = "dispatch"
    BEAT = "beat"
    SETTLE = "settle"
    VOID = "void"
    EXPIRE = "expire"


TRANSITIONS: dict[HoldState, dict[HoldEvent, HoldState]] = {
    HoldState.HELD: {
        HoldEvent.DISPATCH: HoldState.DISPATCHED,
        HoldEvent.SETTLE: HoldState.POSTED,
        HoldEvent.VOID: HoldState.VOID,
        HoldEvent.EXPIRE: HoldState.VOID,
    },
    HoldState.DISPATCHED: {
        HoldEvent.DISPATCH: HoldState.DISPATCHED,
        HoldEvent.BEAT: HoldState.DISPATCHED,
        HoldEvent.SETTLE: HoldState.POSTED,
        HoldEvent.EXPIRE: HoldState.EXPIRED,
    },
    HoldState.POSTED: {},
    HoldState.VOID: {},
    HoldState.EXPIRED: {HoldEvent.SETTLE: HoldState.POSTED},
}
"""A missing edge is an error of ours. What was never sent expires to nothing; what expired is trued up once."""

OPEN = frozenset({HoldState.HELD, HoldState.DISPATCHED})
