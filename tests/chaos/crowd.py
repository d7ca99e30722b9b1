"""Many callers at once, in an order that does not depend on the machine."""

import asyncio
import itertools

from tests.rows.house import House
from tests.rows.talk import Seen


async def crowd(house: House, count: int, at_once: int = 8, first: int = 0) -> list[Seen]:
    """So many requests with different bodies, streamed and not, from both keys of the tenant."""
    numbers = itertools.count(first)
    answers: list[Seen] = []

    async def caller() -> None:
        while (number := next(numbers)) < first + count:
            answers.append(
                await house.ask(f"question {number}", stream=bool(number % 2), caller=("one", "two")[number // 2 % 2])
            )

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(caller())
    return answers


def served(seen: Seen) -> bool:
    """A whole answer, as a provider gives it."""
    whole = seen.status == 200 and seen.whole and seen.text.startswith("Hello")
    return whole and (seen.done or seen.headers["content-type"] == "application/json")
