"""Compiles the validated file into the catalog that requests hold."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gateway.config.hosts import AZURE, HOSTS, NEWER_LIMIT, SIM, Host
from gateway.config.prices import PriceBook
from gateway.config.problems import Findings, choose, shown
from gateway.config.problems import Path as Place
from gateway.config.schema import (
    ConfigFile,
    ModelSection,
    ProviderSection,
    TargetSection,
    TimeoutsSection,
)
from gateway.config.secret_refs import SecretRefs
from gateway.config.tenants import compile_keys, limits_of
from gateway.config.urls import BadUrl, split_base_url
from gateway.domain.catalog import (
    NATIVE,
    AuthStyle,
    Capabilities,
    Catalog,
    Credential,
    Deployment,
    Origin,
    Provider,
    Quirks,
    Route,
    Secret,
    Strategy,
    Timeouts,
)

_SIM_PATH = "/v1"
_OPENAI = "api.openai.com"


class Names(NamedTuple):
    """Every name that the file defines, also by entries that have problems of their own."""

    providers: frozenset[str]
    models: frozenset[str]


def compile_catalog(
    config: ConfigFile, names: Names, refs: SecretRefs, book: PriceBook, folder: Path, findings: Findings
) -> Catalog:
    """The catalog, version 0; it is only worth something if `findings` has no problem afterwards."""
    providers: dict[str, Provider] = {}
    for name, section in config.providers.items():
        provider = _provider(name, section, refs, folder, findings)
        if provider is not None:
            providers[name] = provider
    routes = {name: _route(name, section, providers, names, book, findings) for name, section in config.models.items()}
    _check_fallbacks(config, names, findings)
    _check_prices(config, routes, book, findings)
    keys = compile_keys(config.tenants, names.models, refs, findings)
    return Catalog(0, routes, keys, providers)


def _provider(
    name: str, section: ProviderSection, refs: SecretRefs, folder: Path, findings: Findings
) -> Provider | None:
    place: Place = ("providers", name)
    limits = limits_of(section.limits)
    habits = {"drains": section.on_disconnect == "drain", "enforces_output_limit": section.enforces_output_limit}
    if section.kind == SIM:
        _check_file(section.script, (*place, "script"), folder, findings)
        origin = Origin(SIM, name, 0)
        silent = Credential(f"{name}#0", origin, Secret(""), AuthStyle.NONE)
        own = Quirks(native=NATIVE)
        return Provider(
            name, "openai", origin, _SIM_PATH, (silent,), limits, None, section.connections, quirks=own, **habits
        )
    host = HOSTS[section.kind]
    _check_file(section.ca_file, (*place, "ca_file"), folder, findings)
    split = split_base_url(section.base_url or host.base_url, allow_http=section.allow_http)
    if isinstance(split, BadUrl):
        findings.problem((*place, "base_url"), split.message, split.remedy)
        return None
    origin, base_path = split
    credentials = _credentials(name, section, origin, host.auth, refs, findings)
    ca_file = str(folder / section.ca_file) if section.ca_file else None
    quirks = _quirks(host, section, origin, base_path)
    return Provider(
        name,
        "chat" if quirks.api_version else host.dialect,
        origin,
        base_path,
        credentials,
        limits,
        ca_file,
        section.connections,
        quirks=quirks,
        **habits,
    )


def _quirks(host: Host, section: ProviderSection, origin: Origin, base_path: str) -> Quirks:
    """Azure's newer path is OpenAI's own, its older one knows no responses; reasoning models at OpenAI itself take the
    newer limit alone.
    """
    quirks = host.quirks
    if section.kind == AZURE:
        if base_path.endswith("/openai/v1"):
            return replace(quirks, api_version="", native=NATIVE)
        return replace(quirks, api_version=section.api_version or quirks.api_version)
    if section.kind == "openai" and origin.host == _OPENAI:
        return replace(quirks, output_limit=NEWER_LIMIT)
    return quirks


def _credentials(
    name: str, section: ProviderSection, origin: Origin, auth: AuthStyle, refs: SecretRefs, findings: Findings
) -> tuple[Credential, ...]:
    credentials: list[Credential] = []
    seen: dict[Secret, int] = {}
    for index, ref in enumerate(section.keys or ["none"]):
        place: Place = ("providers", name, "keys", index)
        secret = Secret("") if ref == "none" else refs.resolve(ref, place)
        if secret is None:
            continue
        if secret in seen:
            findings.problem(place, f"the same key as keys[{seen[secret]}]", "remove one of the two")
            continue
        seen[secret] = index
        style = AuthStyle.NONE if ref == "none" else auth
        credentials.append(Credential(f"{name}#{index}", origin, secret, style))
    return tuple(credentials)


def _check_file(name: str | None, place: Place, folder: Path, findings: Findings) -> None:
    if name is not None and not (folder / name).is_file():
        findings.problem(place, f"there is no file {name!r}", f"relative paths start at {folder}")


def _route(
    name: str,
    section: ModelSection,
    providers: dict[str, Provider],
    names: Names,
    book: PriceBook,
    findings: Findings,
) -> Route:
    timeouts = _timeouts(section.timeouts, Timeouts())
    deployments: list[Deployment] = []
    seen: dict[tuple[str, str], int] = {}
    for index, target in enumerate(section.targets):
        place: Place = ("models", name, "targets", index)
        if target.provider not in names.providers:
            message = f"there is no provider {shown(target.provider)}"
            findings.problem((*place, "provider"), message, choose(target.provider, names.providers, "provider"))
            continue
        pair = (target.provider, target.model)
        if pair in seen:
            message = f"{target.provider}/{target.model} is already targets[{seen[pair]}]"
            findings.problem(place, message, "keep one; give it the weight of both")
            continue
        seen[pair] = index
        provider = providers.get(target.provider)
        if provider is not None:
            deployments += _deployments(target, provider, timeouts, book)
    return Route(
        name,
        tuple(deployments),
        Strategy(section.strategy),
        section.sticky,
        section.attempts,
        timeouts,
        tuple(section.fallback_models),
        section.untranslatable == "drop",
        section.content_filter == "next",
    )


def _deployments(target: TargetSection, provider: Provider, timeouts: Timeouts, book: PriceBook) -> list[Deployment]:
    first = f"{provider.name}/{target.model}"
    quote = book.quote(provider, target.model)
    return [
        Deployment(
            id=f"{first}#{credential.id.rpartition('#')[2]}",
            target=first,
            provider=provider,
            credential=credential,
            model=target.model,
            priority=target.priority,
            weight=target.weight / len(provider.credentials),
            capabilities=Capabilities(
                target.tools,
                target.vision,
                target.json_schema,
                target.context_tokens or quote.context_tokens,
                target.output_tokens,
                provider.quirks.native,
            ),
            timeouts=_timeouts(target.timeouts, timeouts),
            price=quote.price,
            later_prices=quote.later_prices,
            service_prices=quote.service_prices,
        )
        for credential in provider.credentials
    ]


def _timeouts(section: TimeoutsSection, base: Timeouts) -> Timeouts:
    return replace(base, **section.model_dump(exclude_none=True))


def _check_prices(config: ConfigFile, routes: dict[str, Route], book: PriceBook, findings: Findings) -> None:
    """Says once for each target what a caller with a budget in dollars would find out otherwise."""
    if book.prices.unknown != "refuse" or all(item.usd is None for tenant in config.tenants for item in tenant.budgets):
        return
    told: set[str] = set()
    for name, route in routes.items():
        for deployment in route.deployments:
            if deployment.price is None and deployment.target not in told:
                told.add(deployment.target)
                message = f"no price is known for {deployment.target}, so a budget in dollars refuses it"
                remedy = "add it to prices.overrides, or say in prices.unknown what shall happen"
                findings.warning(("models", name), message, remedy)


def _check_fallbacks(config: ConfigFile, names: Names, findings: Findings) -> None:
    for name, section in config.models.items():
        for index, other in enumerate(section.fallback_models):
            place: Place = ("models", name, "fallback_models", index)
            if other not in names.models:
                findings.problem(place, f"there is no model {shown(other)}", choose(other, names.models, "model"))
            elif other in section.fallback_models[:index]:
                findings.problem(place, f"{other!r} stands here twice", "remove one of the two")
    edges = {name: section.fallback_models for name, section in config.models.items()}
    for ring in _rings(edges):
        place = ("models", ring[0], "fallback_models", edges[ring[0]].index(ring[1]))
        message = f"the fallbacks go round in a circle: {' -> '.join(ring)}"
        findings.problem(place, message, "remove one of them; a fallback must lead to an end")


def _rings(edges: dict[str, list[str]]) -> list[list[str]]:
    """One ring for each that a walk from the first name closes, written with its start at both ends."""
    done: set[str] = set()
    rings: list[list[str]] = []
    for start in edges:
        trail: list[str] = []
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, depth = stack.pop()
            del trail[depth:]
            if name in trail:
                rings.append([*trail[trail.index(name) :], name])
                continue
            if name in done or name not in edges:
                continue
            trail.append(name)
            stack.extend((other, depth + 1) for other in edges[name] if other not in done)
        done.update(_reached(start, edges))
    return rings


def _reached(start: str, edges: dict[str, list[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(edges.get(name, []))
    return reached
