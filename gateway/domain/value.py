"""Frozen values that cost little to make: structs in C that the tools of `dataclasses` know."""

from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, TypeVar, dataclass_transform

import msgspec

_T = TypeVar("_T")
_BELONGS_TO_THE_CLASS = frozenset({"__dict__", "__weakref__", "__annotations__"})


@dataclass_transform(frozen_default=True)
def value(cls: type[_T]) -> type[_T]:
    """As `@dataclass(frozen=True, slots=True)`, for the values of which a request makes dozens.

    A frozen dataclass sets each field through object.__setattr__; a struct is filled in C, at a tenth of the cost
    (`python -m benchmarks.micro.values` shows it).
    """
    described: Any = dataclass(init=False, repr=False, eq=False)(cls)
    columns = [_column(field) for field in fields(described)]
    left_out = _BELONGS_TO_THE_CLASS.union(column[0] for column in columns)
    rest = {name: what for name, what in vars(cls).items() if name not in left_out}
    made: Any = msgspec.defstruct(cls.__name__, columns, namespace=rest, module=cls.__module__, frozen=True)
    return made  # type: ignore[no-any-return]  # it is what `cls` describes


def _column(field: Field[Any]) -> Any:
    return (field.name, field.type) if field.default is MISSING else (field.name, field.type, field.default)
