"""A run's budget at the gateway: opened when a run begins, raised when a person allows it."""

from decimal import Decimal

import httpx

from agent_runtime.connectors import secrets
from agent_runtime.contracts.errors import ConfigError
from agent_runtime.domain.values import RunRef
from sdk_client.client import trusted

TIMEOUT_S = 10.0
NANO = Decimal(10) ** 9


class GatewayTreasurer:
    """Implements ports.Treasurer over the gateway's admin API. `admin_key` is a reference, such as env:NAME."""

    def __init__(
        self,
        admin_url: str,
        admin_key: str,
        *,
        ca_file: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"authorization": f"Bearer {secrets.resolved(admin_key)}"}
        url = admin_url.rstrip("/") + "/admin/v1/"
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=TIMEOUT_S,
            verify=trusted(ca_file),
            transport=transport,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def open(self, ref: RunRef, nano_usd: int) -> None:
        """The gateway then refuses what would go beyond it, for this run and every run below it."""
        body = _budget(ref, Decimal(nano_usd) / NANO)
        answer = await self._http.post(f"tenants/{ref.principal.tenant}/budgets", json=body)
        if answer.status_code not in (201, 409):
            raise _refused("open", answer)

    async def top_up(self, ref: RunRef, nano_usd: int) -> None:
        path = f"tenants/{ref.principal.tenant}/budgets/{_id(ref)}"
        now = await self._http.get(path)
        if now.status_code != 200:
            raise _refused("read", now)
        usd = Decimal(str(now.json()["usd"])) + Decimal(nano_usd) / NANO
        changed = await self._http.put(path, json=_budget(ref, usd), headers={"if-match": now.headers["etag"]})
        if changed.status_code != 200:
            raise _refused("raise", changed)

    async def close_run(self, ref: RunRef) -> None:
        """What was spent stays in the ledger; the budget itself is not needed any more."""
        path = f"tenants/{ref.principal.tenant}/budgets/{_id(ref)}"
        now = await self._http.get(path)
        if now.status_code == 200:
            await self._http.delete(path, headers={"if-match": now.headers["etag"]})


def _budget(ref: RunRef, usd: Decimal) -> dict[str, str]:
    return {"id": _id(ref), "usd": f"{usd:f}", "per": "lifetime", "for": "run", "of": ref.root_run_id}


def _id(ref: RunRef) -> str:
    return f"run.{ref.root_run_id}"[:100]


def _refused(what: str, answer: httpx.Response) -> ConfigError:
    return ConfigError(
        f"the gateway does not let the runtime {what} a run's budget ({answer.status_code}); check the admin key"
    )
