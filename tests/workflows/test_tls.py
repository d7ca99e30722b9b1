"""The gateway and Temporal behind certificates of one's own authority, as the commands are told of them."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from temporalio.client import Client

from agent_runtime.api import Agent
from agent_runtime.api.config import config_of, services_of
from agent_runtime.cli.durable import client_of, settings_of, tls_of
from agent_runtime.cli.running import gateway_ready
from agent_runtime.contracts.errors import ConfigError
from agent_runtime.domain.values import Principal
from agent_runtime.temporal.runtime import TemporalRuntime
from agent_runtime.temporal.workers import Crew
from tests.agent_runtime.lab import Lab
from tests.tls import HOST, ca_file_of, in_front_of, server_context


@pytest.fixture
def files(tmp_path: Path) -> tuple[trustme.CA, dict[str, str]]:
    authority = trustme.CA()
    own = authority.issue_cert("worker.test")
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    own.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    ca_file = ca_file_of(authority, tmp_path)
    return (
        authority,
        {
            "METERWAY_GATEWAY_CA_FILE": ca_file,
            "METERWAY_TEMPORAL_CA_FILE": ca_file,
            "METERWAY_TEMPORAL_CERT_FILE": str(tmp_path / "cert.pem"),
            "METERWAY_TEMPORAL_KEY_FILE": str(tmp_path / "key.pem"),
        },
    )


async def test_row_23_a_run_goes_through_tls_to_temporal_and_to_the_gateway(
    files: tuple[trustme.CA, dict[str, str]],
    lab: Lab,
    temporal: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority, settings = files
    gateway = urlsplit(lab.url)
    server, _, server_port = temporal.partition(":")
    monkeypatch.setenv("METERWAY_AGENT_KEY", lab.key)
    sealed = server_context(authority, protocol="h2", clients=True)
    async with (
        in_front_of(gateway.hostname or "", gateway.port or 0, server_context(authority)) as gateway_port,
        in_front_of(server, int(server_port), sealed) as temporal_port,
    ):
        environ = {
            **settings,
            "METERWAY_GATEWAY_URL": f"https://{HOST}:{gateway_port}/v1",
            "METERWAY_AGENT_KEY": lab.key,
            "METERWAY_AGENT_STORE": str(tmp_path / "agents.db"),
            "METERWAY_TEMPORAL": f"{HOST}:{temporal_port}",
            "METERWAY_AGENT_QUEUE": f"tls-{tmp_path.name}",
        }
        config = config_of(environ)
        assert await gateway_ready(config) is None
        services = services_of(config)
        client: Client = await client_of(config, services)
        one = Agent("main", services=services, model="words", principal=Principal("demo", "ann"))
        async with Crew(client, [one.spec], services, config.queue):
            result = await one.on(TemporalRuntime(client, services, settings_of(config))).run("go")
        assert (result.finish_reason, result.usage.llm_calls) == ("complete", 1)
        nameless = {name: value for name, value in environ.items() if "CERT" not in name and "KEY_FILE" not in name}
        with pytest.raises(ConfigError, match="Temporal does not answer"):
            await client_of(config_of(nameless), services)
        await services.close()


def test_row_23_settings_of_temporals_tls_are_read_and_what_is_missing_is_named(
    files: tuple[trustme.CA, dict[str, str]],
) -> None:
    _, settings = files
    tls = tls_of(config_of(settings))
    assert tls is not None
    for part in (tls.server_root_ca_cert, tls.client_cert, tls.client_private_key):
        assert part is not None
        assert part.startswith(b"-----BEGIN")
    assert tls_of(config_of({})) is None
    for name in settings:
        with pytest.raises(ConfigError, match=f"{name} is '/nowhere.pem', which is no file"):
            config_of({**settings, name: "/nowhere.pem"})
    with pytest.raises(ConfigError, match="belong together"):
        config_of({"METERWAY_TEMPORAL_CERT_FILE": settings["METERWAY_TEMPORAL_CERT_FILE"]})
