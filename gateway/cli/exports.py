"""Reads a provider's usage export, whatever the provider wrote around the figures."""

import csv
import json
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from gateway.cli.remote import fail

NEEDED = ("model", "input_tokens", "output_tokens")
TOKENS_MAX = 10**15
DAY_CHARS = len("2026-11-23")


def rows_of(file: Path) -> list[dict[str, Any]]:
    """CSV with a header, or one JSON object a line; other columns are left out."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("{"):
            read = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            read = list(csv.DictReader(text.splitlines()))
    except (OSError, ValueError) as error:
        fail(f"{file} cannot be read: {error}")
    if not read:
        fail(f"{file} has no rows; it begins with a header that names {', '.join(NEEDED)}")
    return [_row(file, number, row) for number, row in enumerate(read, 1)]


def _row(file: Path, number: int, row: Any) -> dict[str, Any]:
    for name in NEEDED:
        if not isinstance(row, dict) or name not in row:
            fail(f"{file}, row {number}: there is no {name!r}")
    if not row["model"]:
        fail(f"{file}, row {number}: the model has no name")
    told: dict[str, Any] = {"model": str(row["model"])}
    told |= {name: _tokens(f"{file}, row {number}: {name}", row[name]) for name in NEEDED[1:]}
    if row.get("day"):
        told["day"] = str(row["day"])[:DAY_CHARS]
    if row.get("usd") not in (None, ""):
        told["usd"] = str(row["usd"])
    return told


def _tokens(place: str, value: Any) -> int:
    try:
        tokens = Decimal(str(value or 0))
    except InvalidOperation:
        fail(f"{place} is {value!r}; a whole number belongs there")
    if not tokens.is_finite() or tokens < 0 or tokens > TOKENS_MAX or tokens % 1:
        fail(f"{place} is {value!r}; a whole number from 0 on belongs there")
    return int(tokens)
