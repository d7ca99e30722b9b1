"""What making a value costs, frozen at run time or by the type checker alone."""

import timeit
from dataclasses import dataclass

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


def main() -> None:
    for name in ("Frozen", "Value"):
        call = f"{name}(1, 2, 3, 4, 5, 6, 7, 8)"
        seconds = min(timeit.repeat(call, number=200_000, repeat=5, globals=globals()))
        print(f"{name:8} of 8 fields {seconds / 200_000 * 1e6:6.3f} us")


if __name__ == "__main__":
    main()
