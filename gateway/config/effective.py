"""The effective configuration as plain values, with every secret masked."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, tzinfo
from enum import Enum
from urllib.parse import urlsplit

from gateway.config.price_parts import KINDS
from gateway.config.prices import day_of
from gateway.config.settings import Loaded
from gateway.domain.catalog import CallerKey, Deployment, Origin, Price, PriceDates, Route, Secret
from gateway.domain.money import usd_text

MASK = "***"


def effective(loaded: Loaded) -> dict[str, object]:
    """What is in force, defaults filled in, ready for JSON or YAML. For `meterway check --print` and the admin API."""
    settings, catalog = loaded.settings, loaded.catalog
    plain = {
        field.name: _plain(getattr(settings, field.name))
        for field in fields(settings)
        if field.name not in {"database", "redis"}
    }
    return {
        "version": catalog.version,
        **plain,
        "database": masked_url(settings.database),
        "redis": None if settings.redis is None else masked_url(settings.redis),
        "providers": {name: _plain(provider) for name, provider in catalog.providers.items()},
        "models": {name: _route(route) for name, route in catalog.routes.items()},
        "callers": [_caller(key) for key in catalog.keys.values()],
        "warnings": [str(warning) for warning in loaded.warnings],
    }


def masked_url(secret: Secret) -> str:
    """A URL without its user, password and query."""
    try:
        parts = urlsplit(secret.reveal())
    except ValueError:
        return MASK
    if not parts.scheme:
        return MASK
    host = parts.netloc.rpartition("@")[2]
    user = f"{MASK}@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{user}{host}{parts.path}{'?' + MASK if parts.query else ''}"


def _route(route: Route) -> dict[str, object]:
    plain = {item.name: _plain(getattr(route, item.name)) for item in fields(route) if item.name != "deployments"}
    return {**plain, "deployments": [_deployment(item) for item in route.deployments]}


def _deployment(item: Deployment) -> dict[str, object]:
    named = {"provider": item.provider.name, "credential": item.credential.id}
    rest = {field.name: _plain(getattr(item, field.name)) for field in fields(item) if field.name not in named}
    services = {name: _dated(prices) for name, prices in item.service_prices.items()}
    return {**named, **rest, "later_prices": _dated(item.later_prices), "service_prices": services}


def _dated(prices: PriceDates) -> list[dict[str, object]]:
    return [{"from": str(day_of(starts_s)), "price": _plain(price)} for starts_s, price in prices]


def _price(price: Price) -> dict[str, object]:
    """In the words of the file; what costs as much as what it is a part of is left out."""
    usd = {f"{kind}_usd_per_million": _usd(getattr(price, kind)) for kind in KINDS}
    plain: dict[str, object] = {"id": price.id, **{name: text for name, text in usd.items() if text is not None}}
    if price.per_request:
        plain["per_request_usd"] = _usd(price.per_request)
    if price.tiers:
        plain["tiers"] = [{"above_input_tokens": above, **_price(tier)} for above, tier in price.tiers]
    return plain


def _caller(key: CallerKey) -> dict[str, object]:
    return {"id": key.id, "key": MASK, "tenant": _plain(key.tenant)}


def _plain(value: object) -> object:
    match value:
        case Secret():
            return MASK
        case Origin() | date() | tzinfo():
            return str(value)
        case Price():
            return _price(value)
        case Enum():
            return value.value
        case Mapping():
            return {str(name): _plain(item) for name, item in value.items()}
        case frozenset():
            return sorted(str(item) for item in value)
        case list() | tuple():
            return [_plain(item) for item in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            return value


def _usd(nano_usd: int | None) -> str | None:
    return None if nano_usd is None else usd_text(nano_usd)
