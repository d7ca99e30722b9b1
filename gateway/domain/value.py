"""Frozen values that cost little to make: immutable to the type checker, plain attributes at run time."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True)
def value(cls: type[_T]) -> type[_T]:
    """As `@dataclass(frozen=True, slots=True)`, for the values of which a request makes dozens.

    A frozen dataclass sets each field through object.__setattr__, four times the cost of an assignment
    (`python -m benchmarks.micro.values` shows it); mypy refuses a write either way.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
