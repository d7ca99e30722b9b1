"""The effective configuration as plain values, with every secret masked."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, tzinfo
from decimal import Decimal
from enum import Enum
from urllib.parse import urlsplit

from gateway.config.settings import Loaded
from gateway.domain.catalog import CallerKey, Deployment, Origin, Price, Route, Secret

MASK = "***"
_NANO = Decimal(1_000_000_000)


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
    return {**named, **rest}


def _caller(key: CallerKey) -> dict[str, object]:
    return {"id": key.id, "key": MASK, "tenant": _plain(key.tenant)}


def _plain(value: object) -> object:
    match value:
        case Secret():
            return MASK
        case Origin() | date() | tzinfo():
            return str(value)
        case Price():
            return {
                "input_usd_per_million": _usd(value.input),
                "output_usd_per_million": _usd(value.output),
                "cached_input_usd_per_million": _usd(value.cached_input),
            }
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


def _usd(nano: int | None) -> str | None:
    return None if nano is None else format((Decimal(nano) / _NANO).normalize(), "f")
