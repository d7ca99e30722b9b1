"""What can be met is in the documents: every error, every metric, every key of a script."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest

from gateway.clock import SystemClock
from gateway.domain.answer import AS_THEY_ARE
from gateway.domain.errors import GatewayError, UpstreamRefused
from gateway.sim import fault, script
from gateway.sim.choice import STEERS
from gateway.sim.script import read_script
from gateway.telemetry import names
from gateway.telemetry.export import Exporter, Identity
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.names import Instrument, Kind
from tests.house.sources import ROOT, table_rows

DOCS = ROOT / "docs"
STRUCTS: tuple[type[msgspec.Struct], ...] = (
    script.Script,
    script.Rule,
    script.When,
    script.Answer,
    script.ToolCall,
    script.Pace,
    script.Wire,
    script.Limits,
    fault.Hint,
)
LINKED = [*DOCS.rglob("*.md"), *ROOT.glob("*.md")]


def text_of(name: str) -> str:
    return (DOCS / name).read_text()


def ticked(cell: str) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", cell, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def errors_of(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    """The classes that are raised: those without subclasses."""
    below = kind.__subclasses__()
    if not below:
        yield kind
    for one in below:
        yield from errors_of(one)


def yes(flag: bool) -> str:
    return "yes" if flag else "no"


def test_every_error_is_in_the_table_as_its_class_says() -> None:
    told = {ticked(row[0])[0]: row[1:5] for row in table_rows(text_of("errors.md")) if len(row) == 6}
    meant = {
        error.code: [str(error.status), error.fault.value, yes(error.retryable), yes(error.again)]
        for error in errors_of(GatewayError)
        if error is not UpstreamRefused
    }
    assert told == meant


def test_every_row_of_the_error_table_says_what_to_do() -> None:
    assert all(row[5] for row in table_rows(text_of("errors.md")) if len(row) == 6)


def test_codes_that_are_passed_on_are_named() -> None:
    text = text_of("errors.md")
    assert [code for _, code in AS_THEY_ARE.values() if code is not None and f"`{code}`" not in text] == []


async def exported_names() -> set[str]:
    """What Prometheus shows when every instrument has been used."""
    metrics = Metrics("both")
    for instrument, numbers in metrics.numbers.items():
        labels = tuple("x" for _ in instrument.labels)
        if instrument.pulled:
            metrics.source(instrument, lambda found=labels: {found: 1})  # type: ignore[misc]  # a default binds it now
        else:
            numbers.add(labels, 1)
    for instrument, histograms in metrics.histograms.items():
        histograms.add(tuple("x" for _ in instrument.labels), 1.0)
    exporter = Exporter(metrics, SystemClock(), Identity("meterway", "1", "0"))
    try:
        text = (await exporter.prometheus()).decode()
    finally:
        await exporter.close()
    return set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))


def metric_rows() -> dict[str, list[str]]:
    return {ticked(row[0])[0]: row for row in table_rows(text_of("metrics.md")) if len(row) == 6}


def test_every_metric_is_in_a_table_with_its_unit_and_labels() -> None:
    rows = metric_rows()
    assert set(rows) == {instrument.name for instrument in names.ALL}
    for instrument in names.ALL:
        row = rows[instrument.name]
        assert row[1] == instrument.kind.value
        assert ticked(row[2]) == ([instrument.unit] if instrument.unit else []), instrument.name
        assert ticked(row[3]) == list(instrument.labels), instrument.name


async def test_every_metric_has_the_name_that_prometheus_shows() -> None:
    exported = await exported_names() - {"target_info"}
    assert {ticked(row[4])[0] for row in metric_rows().values()} == exported


@pytest.mark.parametrize("instrument", names.ALL, ids=[instrument.name for instrument in names.ALL])
def test_every_metric_has_an_example_query(instrument: Instrument) -> None:
    shown = ticked(metric_rows()[instrument.name][4])[0] + (
        "_(sum|count|bucket)" if instrument.kind is Kind.HISTOGRAM else ""
    )
    queries = "\n".join(re.findall(r"```promql\n(.*?)```", text_of("metrics.md"), re.DOTALL))
    assert re.search(rf"\b{shown}\b", queries)


def test_queries_ask_for_metrics_and_labels_that_exist() -> None:
    known = {ticked(row[4])[0]: {name.replace(".", "_") for name in ticked(row[3])} for row in metric_rows().values()}
    for query in "\n".join(re.findall(r"```promql\n(.*?)```", text_of("metrics.md"), re.DOTALL)).splitlines():
        if not query or query.startswith("#"):
            continue
        words = re.findall(r"\b(?:gateway|agent|gen_ai_client)_\w+", query)
        metrics = [re.sub(r"_(sum|count|bucket)$", "", word) for word in words]
        assert metrics, query
        assert set(metrics) <= set(known), query
        for group in re.findall(r"by \(([^)]*)\)", query):
            labels = set(group.replace(" ", "").split(",")) - {"le"}
            assert labels <= set().union(*(known[name] for name in metrics)), query


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_key_of_a_script_is_told(struct: type[msgspec.Struct]) -> None:
    told = set(ticked(text_of("simulator.md")))
    assert [name for name in struct.__struct_encode_fields__ if name not in told] == []


def test_every_fault_is_told_with_its_keys_and_its_words() -> None:
    rows = {ticked(row[0])[0]: row for row in table_rows(text_of("simulator.md")) if len(row) == 3}
    kinds: dict[str, Any] = {kind.__struct_config__.tag: kind for kind in get_args(fault.Fault)}
    assert set(rows) - {"kind"} == set(kinds)
    for tag, kind in kinds.items():
        assert ticked(rows[tag][1]) == list(kind.__struct_encode_fields__), tag


def test_every_word_that_a_key_takes_is_told() -> None:
    told = set(ticked(text_of("simulator.md")))
    for struct in (script.Answer, script.Wire, fault.Hint, fault.MalformedJson, fault.MalformedSse, fault.Truncate):
        for field in msgspec.structs.fields(struct):
            words = [word for word in get_args(field.type) if isinstance(word, str)]
            assert [word for word in words if word not in told] == [], (struct.__name__, field.name)


def test_every_word_of_a_steering_model_name_is_told() -> None:
    told = set(ticked(text_of("simulator.md")))
    assert [word for word in STEERS if word not in told] == []


def test_every_script_in_the_documents_can_be_used() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", text_of("simulator.md"), re.DOTALL)
    assert len(examples) > 5
    for example in examples:
        read_script(example)


@pytest.mark.parametrize("path", LINKED, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Any) -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        if "://" not in link:
            assert (path.parent / link).exists(), f"{path.name} links to {link}"
