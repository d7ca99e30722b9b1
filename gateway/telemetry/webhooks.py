"""Tells other systems of budgets that cross a threshold: signed HTTP calls, repeated until they are taken."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from gateway.domain.budget import Crossing
from gateway.domain.webhook import SIGNATURE, Webhook, event_of, signature
from gateway.ports import Clock
from gateway.upkeep import keep_up

TIMEOUT_S = 5.0
TRIES = 8
WAIT_MAX_S = 60.0
WAITING_MAX = 1_000
CLOSE_S = 2.0

_log = logging.getLogger("meterway")

First = Callable[[Crossing], Awaitable[bool]]


class _NotTaken(Exception):
    """Worth another try."""


@dataclass(slots=True)
class _Post:
    number: int
    webhook: Webhook
    event_id: str
    body: bytes


class Webhooks:
    """A context. `first` says whether this process is the one of all that tells of a crossing.

    An event is sent at least once.
    """

    def __init__(self, clock: Clock, webhooks: tuple[Webhook, ...], first: First) -> None:
        self._clock = clock
        self._webhooks = webhooks
        self._first = first
        self._waiting: asyncio.Queue[Crossing] = asyncio.Queue(WAITING_MAX)
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)
        self._working: asyncio.Task[None] | None = None
        self._posts: set[asyncio.Task[None]] = set()

    def crossed(self, crossing: Crossing) -> None:
        """Never waits; what is too much is left out, and said."""
        try:
            self._waiting.put_nowait(crossing)
        except asyncio.QueueFull:
            _log.error("a webhook event of budget %s is lost: %d wait already", crossing.budget.id, WAITING_MAX)

    async def __aenter__(self) -> "Webhooks":
        self._working = asyncio.create_task(keep_up("webhook events are lost", self._work, self._room))
        return self

    async def __aexit__(self, *_: object) -> None:
        """What waits is tried once more, for a moment."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)
        while not self._waiting.empty():
            self._tell(self._waiting.get_nowait())
        if self._posts:
            late = (await asyncio.wait(self._posts, timeout=CLOSE_S))[1]
            for post in late:
                post.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._client.aclose()

    async def _work(self) -> None:
        crossing = await self._waiting.get()
        if await self._first(crossing):
            self._tell(crossing)

    async def _room(self) -> None:
        while len(self._posts) >= WAITING_MAX:
            await asyncio.wait(self._posts, return_when=asyncio.FIRST_COMPLETED)

    def _tell(self, crossing: Crossing) -> None:
        event = event_of(crossing, self._clock.wall_s())
        body = json.dumps(event).encode()
        for number, webhook in enumerate(self._webhooks):
            post = asyncio.create_task(self._post(_Post(number, webhook, event["id"], body)))
            self._posts.add(post)
            post.add_done_callback(self._posts.discard)

    async def _post(self, post: _Post) -> None:
        turns = AsyncRetrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_random_exponential(max=WAIT_MAX_S),
            retry=retry_if_exception_type((_NotTaken, httpx.TransportError)),
        )
        try:
            async for turn in turns:
                with turn:
                    await self._send(post)
        except RetryError as error:
            why = error.last_attempt.exception()
            _log.error("webhook %d did not take event %s: %r", post.number, post.event_id, why)

    async def _send(self, post: _Post) -> None:
        headers = {"content-type": "application/json", "user-agent": "meterway", "x-meterway-event": post.event_id}
        if post.webhook.secret is not None:
            headers[SIGNATURE] = signature(post.webhook.secret.reveal().encode(), post.body, int(self._clock.wall_s()))
        answer = await self._client.post(post.webhook.url.reveal(), content=post.body, headers=headers)
        if answer.status_code >= 500 or answer.status_code in (408, 409, 425, 429):
            raise _NotTaken(f"status {answer.status_code}")
        if not answer.is_success:
            _log.error("webhook %d refused event %s with %d", post.number, post.event_id, answer.status_code)
