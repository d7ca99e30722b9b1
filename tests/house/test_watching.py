"""The rules and the dashboard that are shipped ask for what is measured."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from agent_runtime.telemetry.names import COUNTERS, GAUGES
from tests.house.sources import ROOT
from tests.house.test_docs import exported_names, metric_rows, ticked

RULES = [
    rule for group in yaml.safe_load((ROOT / "deploy/alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/dashboard.json").read_text())
METRIC = re.compile(r"\b(?:gateway|agent|gen_ai)_\w+")
PAIRS = {")": "(", "]": "[", "}": "{"}


def asked() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


async def measured() -> set[str]:
    """As Prometheus has them; agents come by way of a collector, which names counters and gauges in the same way."""
    counters = {f"{name.replace('.', '_')}_total" for name in COUNTERS}
    return await exported_names() | counters | {name.replace(".", "_") for name in GAUGES}


@pytest.mark.parametrize(("name", "query"), list(asked()))
async def test_row_34_every_query_is_of_metrics_that_exist(name: str, query: str) -> None:
    found = {re.sub(r"_(sum|count|bucket)$", "", word) for word in METRIC.findall(query)}
    assert found, name
    assert found <= await measured(), name
    open_ones: list[str] = []
    for mark in re.sub(r'"[^"]*"', "", query):
        if mark in PAIRS.values():
            open_ones.append(mark)
        elif mark in PAIRS:
            assert open_ones.pop() == PAIRS[mark], name
    assert not open_ones, name


@pytest.mark.parametrize(("name", "query"), [one for one in asked() if "gateway_" in one[1]])
def test_row_34_a_query_groups_by_labels_that_exist(name: str, query: str) -> None:
    rows = {ticked(row[4])[0]: {label.replace(".", "_") for label in ticked(row[3])} for row in metric_rows().values()}
    known = set.intersection(*(rows[re.sub(r"_(sum|count|bucket)$", "", word)] for word in METRIC.findall(query)))
    for group in re.findall(r"by \(([^)]*)\)", query):
        assert set(group.replace(" ", "").split(",")) - {"le"} <= known, name


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_row_34_a_rule_says_how_bad_it_is_and_names_only_labels_that_it_keeps(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    kept = {label for group in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in re.split(r",\s*", group)}
    told = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert told <= (kept or {"deployment", "queue"})


def test_row_34_limits_are_told_at_80_and_95_percent() -> None:
    bounds = {rule["expr"].rpartition(" > ")[2] for rule in RULES if "gateway_limit_used" in rule["expr"]}
    assert bounds == {"0.8", "0.95"}


def test_names_of_rules_and_places_of_panels_are_unique() -> None:
    alerts = [rule["alert"] for rule in RULES]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(alerts)) == len(alerts)
    assert len(set(places)) == len(places)
