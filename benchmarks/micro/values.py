"""What values, members of enums and looking into bytes cost, in the ways of the standard library and in ours."""

import timeit
from dataclasses import dataclass
from enum import Enum

from gateway.domain.symbol import Symbol
from gateway.domain.value import value


@dataclass(frozen=True, slots=True)
class Frozen:
    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int


@value
class Value:
    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int


class Plain(Enum):
    ONE = "one"


class Ours(Symbol):
    ONE = "one"


LINES = b"x-gateway-target: assistant\n" * 20
CARRIAGE = 0x0D
MEMBERS: dict[Enum, int] = {Plain.ONE: 1, Ours.ONE: 1}


def _us(call: str) -> float:
    return min(timeit.repeat(call, number=200_000, repeat=5, globals=globals())) / 200_000 * 1e6


def main() -> None:
    for name in ("Frozen", "Value"):
        print(f"{name:8} of 8 fields {_us(f'{name}(1, 2, 3, 4, 5, 6, 7, 8)'):6.3f} us")
    for name in ("Plain", "Ours"):
        print(f"{name:8} looked up   {_us(f'MEMBERS[{name}.ONE]'):6.3f} us")
        print(f"{name:8} its value   {_us(f'{name}.ONE.value'):6.3f} us")
    print(f"bytes in bytes       {_us('bytes((CARRIAGE,)) in LINES') - _us('bytes((CARRIAGE,))'):6.3f} us")
    print(f"number in bytes      {_us('CARRIAGE in LINES'):6.3f} us")


if __name__ == "__main__":
    main()
