"""Compiles the tenants section into caller keys known by digest."""

import hashlib
from zoneinfo import ZoneInfo

from gateway.config.prices import nano
from gateway.config.problems import Findings, choose, shown
from gateway.config.problems import Path as Place
from gateway.config.schema import BudgetSection, LimitsSection, TenantSection
from gateway.config.secret_refs import SecretRefs
from gateway.domain.budget import Budget, Mode, StoreAway, Unit, WhenShort
from gateway.domain.catalog import CallerKey, Limits, Tenant
from gateway.domain.period import Period

_KEY_CHARS_MIN = 16


def digest_of(text: str) -> bytes:
    """How a presented key is looked up: the SHA-256 of its text."""
    return hashlib.sha256(text.encode()).digest()


def compile_keys(
    tenants: list[TenantSection], models: frozenset[str], refs: SecretRefs, findings: Findings
) -> dict[bytes, CallerKey]:
    keys: dict[bytes, CallerKey] = {}
    ids: dict[str, int] = {}
    for index, section in enumerate(tenants):
        place: Place = ("tenants", index)
        if section.id in ids:
            message = f"the tenant {section.id!r} is already tenants[{ids[section.id]}]"
            findings.problem((*place, "id"), message, "merge the two, or rename one")
        ids.setdefault(section.id, index)
        for number, name in enumerate(section.models):
            if name not in models:
                message = f"there is no model {shown(name)}"
                findings.problem((*place, "models", number), message, choose(name, models, "model"))
        paced = limits_of(section.limits)
        tenant = Tenant(section.id, paced, frozenset(section.models), compile_budgets(section))
        for number, ref in enumerate(section.keys):
            _add_key(keys, tenant, number, ref, refs, findings, (*place, "keys", number))
    return keys


def _add_key(
    keys: dict[bytes, CallerKey],
    tenant: Tenant,
    number: int,
    ref: str,
    refs: SecretRefs,
    findings: Findings,
    place: Place,
) -> None:
    secret = refs.resolve(ref, place)
    if secret is None:
        return
    if len(secret.reveal()) < _KEY_CHARS_MIN:
        findings.warning(place, f"the key in {ref} is shorter than {_KEY_CHARS_MIN} characters", "make a longer one")
    digest = digest_of(secret.reveal())
    other = keys.get(digest)
    if other is not None:
        message = f"the same key as the one of {other.id!r}"
        findings.problem(place, message, "give every entry a key of its own; a key names its tenant")
        return
    keys[digest] = CallerKey(f"{tenant.id}#{number}", digest, tenant, secret=secret)


def limits_of(section: LimitsSection) -> Limits:
    rates = section.requests_per_minute, section.tokens_per_minute, section.concurrent
    return Limits(*rates, section.mode == "shadow", StoreAway(section.store_away))


def compile_budgets(section: TenantSection) -> tuple[Budget, ...]:
    """In the order of the file; two of a kind are told apart by their number."""
    return tuple(_budget(section.id, number, item) for number, item in enumerate(section.budgets))


def _budget(tenant: str, number: int, item: BudgetSection) -> Budget:
    usd = item.usd is not None
    return Budget(
        id=f"{tenant}-{number}",
        tenant=tenant,
        amount=nano(item.usd) if item.usd is not None else item.tokens or 0,
        unit=Unit.NANO_USD if usd else Unit.TOKENS,
        period=Period(item.per),
        per=item.for_,
        of=item.of,
        zone=ZoneInfo(item.zone),
        thresholds=tuple(sorted(set(item.thresholds))),
        mode=Mode(item.mode),
        store_away=StoreAway(item.store_away),
        when_short=WhenShort(item.when_short),
    )
