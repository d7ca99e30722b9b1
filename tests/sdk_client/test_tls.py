"""A gateway behind a certificate that an authority of one's own has signed."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from sdk_client import LLMClient, LLMClientSync, Message, errors
from tests.tls import HOST, ca_file_of, in_front_of, server_context

HELLO = [Message.user("hello there")]


async def test_row_23_an_own_authority_is_accepted_where_it_is_named_and_nowhere_else(
    gateway: dict[str, str], tmp_path: Path
) -> None:
    authority, key = trustme.CA(), gateway["METERWAY_DEMO_KEY"]
    parts = urlsplit(gateway["CHECK_GATEWAY"])
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    async with in_front_of(parts.hostname or "", parts.port or 0, server_context(authority)) as port:
        url, ca_file = f"https://{HOST}:{port}/v1", ca_file_of(authority, tmp_path)
        async with LLMClient(url, key, ca_file=ca_file) as client:
            assert "hello there" in (await client.generate(HELLO, model="assistant")).text
            async with client.stream(HELLO, model="assistant") as deltas:
                assert "hello there" in (await deltas.reply()).text

        def blocking() -> str:
            with LLMClientSync(url, key, ca_file=ca_file) as client:
                return client.generate(HELLO, model="assistant").text

        assert "hello there" in await asyncio.to_thread(blocking)
        for wrong in (None, ca_file_of(trustme.CA(), strangers)):
            async with LLMClient(url, key, ca_file=wrong, attempts_max=1) as client:
                with pytest.raises(errors.Overloaded):
                    await client.generate(HELLO, model="assistant")
