"""The last records, for operators who ask what happened to a request."""

from collections import OrderedDict

from gateway.domain.record import ExchangeRecord

KEPT = 2_000


class Recent:
    """A sink of the recorder."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._records: OrderedDict[str, ExchangeRecord] = OrderedDict()

    def record(self, record: ExchangeRecord) -> None:
        self._records[record.request_id] = record
        if len(self._records) > self._kept:
            self._records.popitem(last=False)

    def find(self, request_id: str) -> ExchangeRecord | None:
        return self._records.get(request_id)
