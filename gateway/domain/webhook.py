"""What other systems are told of budgets: the event, and its signature."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gateway.domain.budget import Crossing, Unit
from gateway.domain.catalog import Secret
from gateway.domain.money import usd_text

SIGNATURE = "x-meterway-signature"


@dataclass(frozen=True, slots=True)
class Webhook:
    """Who is told; the URL is a secret, as it may hold a token. `secret` signs what is sent."""

    url: Secret
    secret: Secret | None


def event_of(crossing: Crossing, now_s: float) -> dict[str, Any]:
    """What is sent, as JSON. Its `id` is the same from every process and each time."""
    budget = crossing.budget
    usd = budget.unit is Unit.NANO_USD
    identity = f"{budget.counter(crossing.who, crossing.window)}|{budget.amount}|{crossing.percent}"
    amounts = {"spent": crossing.spent, "limit": budget.amount}
    return {
        "id": "evt_" + hashlib.sha256(identity.encode()).hexdigest()[:32],
        "type": "budget.threshold",
        "at": datetime.fromtimestamp(now_s, UTC).isoformat(),
        "tenant": budget.tenant,
        "budget": budget.id,
        "for": budget.per,
        "of": crossing.who,
        "window": crossing.window.id,
        "percent": crossing.percent,
        "unit": "usd" if usd else "tokens",
        **{name: usd_text(amount) if usd else amount for name, amount in amounts.items()},
    }


def signature(secret: bytes, body: bytes, at_s: int) -> str:
    """`t=<unix seconds>,v1=<hex HMAC-SHA-256 of "<t>.<body>">`."""
    digest = hmac.digest(secret, b"%d.%b" % (at_s, body), "sha256").hex()
    return f"t={at_s},v1={digest}"
