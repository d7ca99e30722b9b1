"""Loads a configuration file whole, or says everything that is wrong with it."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from gateway.config.compile import Names, compile_catalog
from gateway.config.document import read
from gateway.config.explain import explain, place_of, value_at
from gateway.config.hosts import SIM
from gateway.config.prices import PriceBook
from gateway.config.problems import ConfigInvalid, Findings, Problem
from gateway.config.problems import Path as Place
from gateway.config.schema import ConfigFile, Remainder
from gateway.config.secret_refs import SecretRefs
from gateway.config.settings import Admin, Listen, Loaded, Server, Settings, Sim, Telemetry
from gateway.config.urls import BadUrl, split_base_url
from gateway.domain.catalog import Secret
from gateway.domain.webhook import Webhook

__all__ = ["ConfigInvalid", "Loaded", "Problem", "load", "load_text"]

_FILE_BYTES_MAX = 1024**2
_PRUNE_ROUNDS_MAX = 40
_NOT_SET = Secret("")


def load(path: Path, environ: Mapping[str, str], *, version: int = 1, today: date | None = None) -> Loaded:
    """The compiled file. Raises ConfigInvalid with all problems at once.

    `version` becomes the catalog's. `today` picks among dated prices; without it the one that starts last is in force.
    """
    findings = Findings(str(path))
    try:
        if path.stat().st_size > _FILE_BYTES_MAX:
            findings.problem((), f"the file is larger than {_FILE_BYTES_MAX} bytes", "is this the right file?")
            raise ConfigInvalid(findings.problems)
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        findings.problem((), f"not UTF-8 at byte {error.start}", "save the file as UTF-8")
        raise ConfigInvalid(findings.problems) from None
    except OSError as error:
        findings.problem((), f"cannot be read: {error.strerror or 'unknown reason'}", "check the path and permissions")
        raise ConfigInvalid(findings.problems) from None
    return load_text(text, path, environ, version=version, today=today)


def load_text(
    text: str, path: Path, environ: Mapping[str, str], *, version: int = 1, today: date | None = None
) -> Loaded:
    """As `load`, from a text that would stand at `path`."""
    findings = Findings(str(path))
    data = read(text, findings)
    if data is None and findings.problems:
        raise ConfigInvalid(findings.problems)
    if not isinstance(data, dict):
        findings.problem((), "the file is not a mapping of settings", "start from deploy/gateway.yaml")
        raise ConfigInvalid(findings.problems)
    config = _validate(data, findings)
    if config is None:
        raise ConfigInvalid(findings.problems)
    names = Names(_names(data.get("providers")), _names(data.get("models")))
    folder = path.absolute().parent
    refs = SecretRefs(environ, folder, findings)
    book = PriceBook.compile(config.prices, findings, names.providers, today)
    catalog = compile_catalog(config, names, refs, book, folder, findings)
    settings = _settings(config, refs, book, folder, findings)
    if findings.problems:
        raise ConfigInvalid(findings.problems)
    instead = partial(load_text, path=path, environ=environ, version=version, today=today)
    return Loaded(settings, replace(catalog, version=version), tuple(findings.warnings), instead)


def _validate(data: dict[str, object], findings: Findings) -> ConfigFile | None:
    """The file as the schema sees it. Refused parts are reported, then left out, so that the rest is checked too."""
    try:
        return ConfigFile.model_validate(data)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        for detail in errors:
            explain(detail, data, findings)
    rest = copy.deepcopy(data)
    for _ in range(_PRUNE_ROUNDS_MAX):
        paths = {place_of(detail, rest)[0] for detail in errors}
        for path in sorted(paths, key=_order, reverse=True):
            _prune(rest, path, findings)
        try:
            return Remainder.model_validate(rest)
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
    return None


def _order(path: Place) -> list[tuple[bool, int, str]]:
    return [(isinstance(step, str), step if isinstance(step, int) else 0, str(step)) for step in path]


def _prune(data: dict[str, object], path: Place, findings: Findings) -> None:
    """Takes out the part that an error names."""
    here = value_at(data, path[:-1])
    if path and isinstance(here, dict):
        here.pop(path[-1], None)
    elif path and isinstance(here, list) and isinstance(path[-1], int):
        del here[path[-1]]
        findings.left_out(path, len(here))


def _names(section: object) -> frozenset[str]:
    return frozenset(section) if isinstance(section, dict) else frozenset()


def _settings(config: ConfigFile, refs: SecretRefs, book: PriceBook, folder: Path, findings: Findings) -> Settings:
    listen = Listen(config.listen.host, config.listen.port)
    telemetry = config.telemetry
    headers = tuple(
        (name.lower(), refs.resolve(ref, ("telemetry", "otlp_headers", name)) or _NOT_SET)
        for name, ref in telemetry.otlp_headers.items()
    )
    if telemetry.otlp_endpoint is not None:
        split = split_base_url(telemetry.otlp_endpoint, allow_http=True, name="otlp_endpoint")
        if isinstance(split, BadUrl):
            findings.problem(("telemetry", "otlp_endpoint"), split.message, split.remedy)
    if not config.tenants:
        findings.warning((), "there are no tenants, thus no key that a caller could use", "add a tenant with a key")
    return Settings(
        listen=listen,
        admin=_admin(config, listen, refs, findings),
        database=refs.resolve_url(config.database, ("database",)) or _NOT_SET,
        journal=config.journal,
        peppers=_peppers(config, refs),
        redis=None if config.redis is None else refs.resolve_url(config.redis, ("redis",)),
        server=Server(**config.server.model_dump()),
        telemetry=Telemetry(**{**telemetry.model_dump(), "otlp_headers": headers}),
        prices=book.prices,
        webhooks=_webhooks(config, refs, findings),
        sims=tuple(
            Sim(name, str(folder / section.script) if section.script else None, section.seed)
            for name, section in config.providers.items()
            if section.kind == SIM
        ),
    )


def _admin(config: ConfigFile, listen: Listen, refs: SecretRefs, findings: Findings) -> Admin | None:
    section = config.admin
    if section is None:
        return None
    if section.port == listen.port != 0 and section.host == listen.host:
        message = f"port {section.port} is also the one of listen"
        findings.problem(("admin", "port"), message, "give the admin listener a port of its own")
    key = refs.resolve_admin(section.key, ("admin", "key"))
    return Admin(section.host, section.port, key or _NOT_SET)


def _webhooks(config: ConfigFile, refs: SecretRefs, findings: Findings) -> tuple[Webhook, ...]:
    found: list[Webhook] = []
    for number, section in enumerate(config.webhooks):
        place: Place = ("webhooks", number)
        url = refs.resolve_url(section.url, (*place, "url")) or _NOT_SET
        split = split_base_url(url.reveal(), allow_http=section.allow_http, name="url")
        if isinstance(split, BadUrl):
            findings.problem((*place, "url"), split.message.replace(url.reveal(), "it"), split.remedy)
        secret = None if section.secret is None else refs.resolve(section.secret, (*place, "secret"))
        found.append(Webhook(url, secret))
    return tuple(found)


def _peppers(config: ConfigFile, refs: SecretRefs) -> tuple[Secret, ...]:
    """The newest first; none where the gateway shall make one of its own beside the journal."""
    found = (refs.resolve(ref, ("peppers", number)) for number, ref in enumerate(config.peppers or ()))
    return tuple(secret for secret in found if secret is not None)
