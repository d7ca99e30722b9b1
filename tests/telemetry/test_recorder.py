"""The recorder gives every sink the record, whatever one of them does."""

import subprocess
import sys

from gateway.domain.record import ExchangeRecord
from gateway.telemetry import names
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.recorder import Recorder
from tests.telemetry import samples


def test_a_sink_that_fails_is_counted_and_the_others_get_the_record() -> None:
    taken: list[ExchangeRecord] = []

    def broken(record: ExchangeRecord) -> None:
        raise OSError(f"no room for {record.request_id}")

    metrics = Metrics()
    Recorder(metrics, access_log=broken, ledger=taken.append).record(samples.GOOD)
    assert taken == [samples.GOOD]
    assert dict(metrics.numbers[names.RECORDS_FAILED].snapshot()) == {("access_log",): 1}
    assert len(metrics.numbers[names.REQUESTS].snapshot()) == 1


def test_the_recorder_does_not_import_opentelemetry() -> None:
    rooms = "gateway.telemetry.recorder, gateway.telemetry.access_log"
    code = f"import sys, {rooms}; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
