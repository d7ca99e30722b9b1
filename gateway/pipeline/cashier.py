"""The cashier of one request: what each attempt came to goes on record, and the hold becomes a charge."""

from gateway.domain.budget import Dimensions
from gateway.domain.catalog import Deployment, Price
from gateway.domain.errors import JournalUnavailable
from gateway.domain.fact import Beat, Booking, Closed, Lineage, Opened, Settled
from gateway.domain.failure import Charge, Failure, Sent
from gateway.domain.ledger import EntryKind
from gateway.domain.money import affordable_output, cost_nano_usd
from gateway.domain.record import InVain, Provenance
from gateway.domain.reply import NO_USAGE, Usage
from gateway.domain.request import Caller, ModelRequest
from gateway.pipeline.admission import Ticket
from gateway.pipeline.desk import Desk
from gateway.ports import JournalFailed

BEAT_TOKENS = 16
"""A stream's checkpoints: what a killed process may be off by, on the safe side."""


class Cashier:
    """One attempt is open at a time: `open` before it is sent, then exactly one of `failed`, `left` and `settle`.

    `cost_nano_usd` and `tokens` are what the closed attempts came to.
    """

    __slots__ = (
        "_attempt_id",
        "_caller",
        "_deployment",
        "_desk",
        "_dimensions",
        "_number",
        "_price",
        "_request",
        "_ticket",
        "_tier",
        "cost_nano_usd",
        "overrun",
        "tokens",
        "unpriced",
    )

    def __init__(
        self, desk: Desk, caller: Caller, dimensions: Dimensions, request: ModelRequest, ticket: Ticket
    ) -> None:
        self._desk = desk
        self._caller = caller
        self._dimensions = dimensions
        self._request = request
        self._ticket = ticket
        self._number = 0
        self._attempt_id = ""
        self._deployment: Deployment | None = None
        self._price: Price | None = None
        self._tier: str | None = None
        self.cost_nano_usd = 0
        self.tokens = 0
        self.unpriced = False
        self.overrun = False

    def open(self, deployment: Deployment) -> None:
        """On record before the provider can have it. Raises JournalUnavailable."""
        caller = self._caller
        self._number += 1
        self._deployment, self._tier = deployment, self._request.service_tier
        self._price = deployment.price_at(caller.started_at_s, self._tier)
        attempt_id = f"{caller.request_id}.{self._number}"
        if self._desk.journal.keeps:
            self._put_on_record(attempt_id, deployment, self._price)
        self._attempt_id = attempt_id
        self._ticket.dispatched()

    def _put_on_record(self, attempt_id: str, deployment: Deployment, price: Price | None) -> None:
        caller, booked = self._caller, self._dimensions
        input_tokens = self._input_tokens
        output_tokens = BEAT_TOKENS if self._request.stream else self._ticket.worst.output_tokens
        cost = 0 if price is None else cost_nano_usd(price, Usage(input_tokens, output_tokens))
        booking = Booking(
            booked.tenant,
            booked.key,
            booked.model,
            deployment.provider.name,
            deployment.model,
            "" if price is None else price.id,
            booked.user,
            booked.tags,
        )
        tokens, lineage = input_tokens + output_tokens, self._lineage()
        opened = Opened(attempt_id, caller.started_at_s, input_tokens, cost, tokens, lineage)
        try:
            self._desk.journal.open(opened, booking)
        except JournalFailed as error:
            raise JournalUnavailable("the gateway cannot keep its books at the moment") from error

    def _lineage(self) -> Lineage | None:
        caller = self._caller
        if caller.run_id is None and caller.session is None and caller.parent_run_id is None:
            return None
        return Lineage(caller.run_id, self._dimensions.run, caller.parent_run_id, caller.session)

    @property
    def asked(self) -> Deployment | None:
        """Whom the open attempt went to."""
        return self._deployment if self._attempt_id else None

    def allowance(self) -> int | None:
        """Output tokens that the hold pays for at the open attempt's price; None where no budget counts."""
        if self._ticket.hold is None:
            return None
        worst, deployment = self._ticket.worst, self._deployment
        if deployment is None or self._price is None:
            return worst.output_tokens
        prices = deployment.prices_at(self._caller.started_at_s, self._request.service_tier)
        affordable = min(affordable_output(price, worst.input_tokens, worst.nano_usd) for price in prices)
        return max(worst.output_tokens, affordable)

    def went_beyond(self, output_tokens: int) -> bool:
        """Whether an answer is larger than any that the open attempt was allowed."""
        return output_tokens > self._ticket.worst.output_tokens and self._ticket.hold is not None

    def beat(self, output_tokens: int, interval: int) -> None:
        """A checkpoint of a running stream, with the last interval on top: as much again may have come, and as long as
        nobody has read it the provider has counted it all the same. Never more than is held.
        """
        reached = max(output_tokens, min(output_tokens + interval, self._ticket.worst.output_tokens))
        cost = 0 if self._price is None else cost_nano_usd(self._price, Usage(self._input_tokens, reached))
        self._desk.journal.write(Beat(self._attempt_id, reached, cost))

    def failed(self, failure: Failure) -> InVain | None:
        """An attempt without an answer: what the provider counted, or nothing, or its input where it may be billed."""
        if failure.usage is not None and self._attempt_id:
            cost = 0 if self._price is None else cost_nano_usd(self._price, failure.usage)
            self._close(EntryKind.POST, failure.usage, Provenance.EXACT, cost, failure.kind.value)
            return InVain(failure.usage, Provenance.EXACT, cost)
        billed = failure.rule.charge is not Charge.NOTHING and failure.sent is not Sent.NO
        return self._without_answer(failure.kind.value, billed=billed)

    def left(self) -> InVain | None:
        """The caller or the gateway gave the attempt up before an answer; the provider may have billed the input."""
        return self._without_answer("client_gone", billed=True)

    def settle(self, usage: Usage, provenance: Provenance, tier: str | None, cause: str = "") -> None:
        """The open attempt's last word; what the request came to is charged. `tier` is the one that was served."""
        if self._attempt_id:
            if provenance is Provenance.EXACT and tier != self._tier and self._deployment is not None:
                self._price, self._tier = self._deployment.price_at(self._caller.started_at_s, tier), tier
            cost = 0 if self._price is None else cost_nano_usd(self._price, usage)
            self._close(EntryKind.POST, usage, provenance, cost, cause)
        assert not self._attempt_id, "I4: what was on record has no last word"
        self.overrun = self._ticket.settle(self.cost_nano_usd, self.tokens)

    @property
    def _input_tokens(self) -> int:
        return self._request.needs.input_tokens

    def _without_answer(self, cause: str, *, billed: bool) -> InVain | None:
        if not self._attempt_id:
            return None
        if not billed:
            self._close(EntryKind.VOID, NO_USAGE, Provenance.NONE, 0, cause)
            return None
        usage = Usage(self._input_tokens, 0)
        cost = 0 if self._price is None else cost_nano_usd(self._price, usage)
        self._close(EntryKind.POST, usage, Provenance.ESTIMATED, cost, cause)
        return InVain(usage, Provenance.ESTIMATED, cost)

    def _close(self, kind: EntryKind, usage: Usage, provenance: Provenance, cost: int, cause: str) -> None:
        self.cost_nano_usd += cost
        self.tokens += usage.total
        unpriced = self._price is None and kind is EntryKind.POST
        self.unpriced = self.unpriced or unpriced
        if self._desk.journal.keeps:
            self._desk.journal.write(self._last_word(kind, usage, provenance, cost, cause, unpriced=unpriced))
        self._attempt_id = ""

    def _last_word(
        self, kind: EntryKind, usage: Usage, provenance: Provenance, cost: int, cause: str, *, unpriced: bool
    ) -> Settled | Closed:
        attempt_id, posted_at_s = self._attempt_id, self._desk.clock.wall_s()
        usual = kind is EntryKind.POST and provenance is Provenance.EXACT and not cause and not unpriced
        if usual and self._tier is None and self._request.service_tier is None:
            return Settled(attempt_id, posted_at_s, usage, cost)
        price_id = "" if self._price is None else self._price.id
        return Closed(
            attempt_id,
            kind,
            posted_at_s,
            usage,
            cost,
            usage.total,
            provenance,
            price_id,
            unpriced,
            cause,
            self._tier,
        )
