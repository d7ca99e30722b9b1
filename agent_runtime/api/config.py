"""What a process of the runtime is told by its environment, read once."""

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent_runtime.api.agent import Agent
from agent_runtime.api.services import local_services, redis_services, sqlite_services
from agent_runtime.connectors import secrets
from agent_runtime.connectors.remote import LOOPBACK
from agent_runtime.connectors.treasury import GatewayTreasurer
from agent_runtime.contracts.errors import ConfigError
from agent_runtime.desk.admission import check_services
from agent_runtime.desk.services import Services
from agent_runtime.ports import Blobs
from agent_runtime.spec.agent import KEY_LIKE
from agent_runtime.stores.blobs import FileBlobs, RedisBlobs
from agent_runtime.stores.redis import connect
from agent_runtime.telemetry.export import ExportingRecorder
from sdk_client import LLMClient

ENVIRONMENTS = ("development", "production")


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """`store` is `memory`, a path of a SQLite file, or a redis:// URL; `blobs` a folder, or a redis:// URL; keys are
    references (env:, file:)."""

    gateway_url: str = "http://127.0.0.1:8080/v1"
    gateway_key: str = "env:METERWAY_DEMO_KEY"
    gateway_ca: str | None = None
    store: str = "meterway-agents.db"
    temporal: str = "127.0.0.1:7233"
    namespace: str = "default"
    temporal_ca: str | None = None
    temporal_cert: str | None = None
    temporal_cert_key: str | None = None
    queue: str = "meterway"
    payload_key: str | None = None
    blobs: str | None = None
    environment: str = "development"
    otlp_endpoint: str | None = None
    heartbeat_s: float = 30.0
    keep_s: float | None = None
    admin_url: str | None = None
    admin_key: str = "env:METERWAY_ADMIN_KEY"

    @property
    def production(self) -> bool:
        return self.environment == "production"


SETTINGS = {
    "gateway_url": "METERWAY_GATEWAY_URL",
    "gateway_key": "METERWAY_AGENT_KEY",
    "gateway_ca": "METERWAY_GATEWAY_CA_FILE",
    "store": "METERWAY_AGENT_STORE",
    "temporal": "METERWAY_TEMPORAL",
    "namespace": "METERWAY_TEMPORAL_NAMESPACE",
    "temporal_ca": "METERWAY_TEMPORAL_CA_FILE",
    "temporal_cert": "METERWAY_TEMPORAL_CERT_FILE",
    "temporal_cert_key": "METERWAY_TEMPORAL_KEY_FILE",
    "queue": "METERWAY_AGENT_QUEUE",
    "payload_key": "METERWAY_PAYLOAD_KEY",
    "blobs": "METERWAY_PAYLOAD_STORE",
    "environment": "METERWAY_ENVIRONMENT",
    "otlp_endpoint": "METERWAY_OTLP_ENDPOINT",
    "heartbeat_s": "METERWAY_AGENT_HEARTBEAT_S",
    "keep_s": "METERWAY_AGENT_KEEP_S",
    "admin_url": "METERWAY_ADMIN_URL",
    "admin_key": "METERWAY_ADMIN_KEY",
}
FILES = ("gateway_ca", "temporal_ca", "temporal_cert", "temporal_cert_key")
SECONDS = ("heartbeat_s", "keep_s")
SECRET_SETTINGS = ("gateway_key", "payload_key", "admin_key")


def config_of(environ: Mapping[str, str]) -> RuntimeConfig:
    given: dict[str, Any] = {field: environ[name] for field, name in SETTINGS.items() if environ.get(name)}
    for field in SECRET_SETTINGS:
        if field in given and secrets.REFERENCE.fullmatch(given[field]) is None:
            given[field] = f"env:{SETTINGS[field]}"
    for field in SECONDS:
        if field in given:
            given[field] = _seconds(SETTINGS[field], given[field])
    return checked(RuntimeConfig(**given))


def checked(config: RuntimeConfig) -> RuntimeConfig:
    if config.environment not in ENVIRONMENTS:
        raise ConfigError(f"METERWAY_ENVIRONMENT is {config.environment!r}; give one of {list(ENVIRONMENTS)!r}")
    if KEY_LIKE.search(config.gateway_url):
        raise ConfigError("METERWAY_GATEWAY_URL holds a key; give it as METERWAY_AGENT_KEY")
    for field in FILES:
        path = getattr(config, field)
        if path is not None and not Path(path).is_file():
            raise ConfigError(f"{SETTINGS[field]} is {path!r}, which is no file; give a PEM file")
    if (config.temporal_cert is None) != (config.temporal_cert_key is None):
        raise ConfigError("METERWAY_TEMPORAL_CERT_FILE and METERWAY_TEMPORAL_KEY_FILE belong together; give both")
    return config


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise ConfigError(f"{name} is {text!r}; give seconds") from None
    if not 0 < seconds < math.inf:
        raise ConfigError(f"{name} is {text!r}; give more than 0 seconds")
    return seconds


def collector_problem(endpoint: str) -> str | None:
    """In production, what leaves this machine is encrypted."""
    parts = urlsplit(endpoint)
    if parts.scheme == "https" or parts.hostname in LOOPBACK:
        return None
    return f"METERWAY_OTLP_ENDPOINT is {endpoint!r}; in production it has to be https"


REDIS = ("redis://", "rediss://")


def blobs_of(config: RuntimeConfig) -> Blobs | None:
    """Where large payloads of runs on Temporal lie; None for in its history."""
    if config.blobs is None:
        return None
    return RedisBlobs(connect(config.blobs)) if config.blobs.startswith(REDIS) else FileBlobs(Path(config.blobs))


def services_of(config: RuntimeConfig) -> Services:
    client = LLMClient(config.gateway_url, secrets.resolved(config.gateway_key), ca_file=config.gateway_ca)
    more: dict[str, Any] = {"closers": (client.close,)}
    if (blobs := blobs_of(config)) is not None:
        more |= {"blobs": blobs, "closers": (client.close, blobs.close)}
    if config.otlp_endpoint:
        if config.production and (why := collector_problem(config.otlp_endpoint)) is not None:
            raise ConfigError(why)
        more["recorder"] = ExportingRecorder(config.otlp_endpoint, "meterway-agent", config.environment)
    if config.admin_url is not None:
        treasurer = GatewayTreasurer(config.admin_url, config.admin_key, ca_file=config.gateway_ca)
        more |= {"treasurer": treasurer, "closers": (*more["closers"], treasurer.close)}
    if config.store == "memory":
        return local_services(client, **more)
    if config.keep_s is not None:
        more["keep_s"] = config.keep_s
    if config.store.startswith(REDIS):
        return redis_services(client, config.store, **more)
    return sqlite_services(client, Path(config.store), **more)


def load_agents(names: str, services: Services) -> list[Agent]:
    """`package.module:name`, several with commas. The name is an agent, or a function that makes one of services."""
    agents: list[Agent] = []
    for name in filter(None, (one.strip() for one in names.split(","))):
        module, _, attribute = name.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute or "agent")
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"agents names {name!r}, which cannot be loaded ({error}); write package.module:name"
            ) from error
        made = found if isinstance(found, Agent) else found(services)
        if not isinstance(made, Agent):
            raise ConfigError(f"agents names {name!r}, which is no agent but {type(made).__name__}")
        made.services = made.services or services
        check_services(made.spec, made.services)
        agents.append(made)
    if not agents:
        raise ConfigError("agents is empty; name at least one, such as examples.research:agent")
    return agents


def inside(config: RuntimeConfig, **changes: Any) -> RuntimeConfig:
    """With what the command line says instead."""
    return replace(config, **{name: value for name, value in changes.items() if value is not None})
