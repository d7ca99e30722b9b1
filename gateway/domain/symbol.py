"""Enums whose members answer without a call."""

from enum import Enum
from operator import attrgetter


class Symbol(Enum):
    """An Enum with the hash of objects and the value of its field, both in C: those of Enum are calls of Python's.

    A member is one object, so the two agree (`python -m benchmarks.micro.values` shows what it saves).
    """

    __hash__ = object.__hash__


# Set from outside: within the class a checker would take it for a member, and it knows the type of each member's value.
Symbol.value = property(attrgetter("_value_"))  # type: ignore[method-assign,assignment]
