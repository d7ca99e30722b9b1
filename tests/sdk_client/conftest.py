"""A gateway with simulated providers, as processes, for the client."""

from collections.abc import Iterator

import pytest

from tests.e2e.processes import lab


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with lab(tmp_path_factory.mktemp("lab")) as environ:
        yield environ
