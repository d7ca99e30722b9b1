"""Gives simulated providers the real origins at which their simulator listens."""

from collections.abc import Mapping
from dataclasses import replace

from gateway.domain.catalog import Catalog, Deployment, Origin, Provider


def bind_sims(catalog: Catalog, origins: Mapping[str, Origin]) -> Catalog:
    """The catalog with the providers named in `origins` moved there; everything else is shared with the old one."""
    providers = {
        name: _moved(provider, origins[name]) if name in origins else provider
        for name, provider in catalog.providers.items()
    }
    routes = {
        name: replace(route, deployments=tuple(_rebound(item, providers) for item in route.deployments))
        for name, route in catalog.routes.items()
    }
    return replace(catalog, providers=providers, routes=routes)


def _moved(provider: Provider, origin: Origin) -> Provider:
    credentials = tuple(replace(credential, origin=origin) for credential in provider.credentials)
    return replace(provider, origin=origin, credentials=credentials)


def _rebound(item: Deployment, providers: Mapping[str, Provider]) -> Deployment:
    provider = providers[item.provider.name]
    credential = next(one for one in provider.credentials if one.id == item.credential.id)
    return replace(item, provider=provider, credential=credential)
