"""How many connections each client address has open."""


class Addresses:
    """Invariant: an address is kept only while it has a connection, so that there are never more of them."""

    __slots__ = ("_each_max", "_open")

    def __init__(self, each_max: int) -> None:
        self._each_max = each_max
        self._open: dict[str, int] = {}

    def enter(self, address: str) -> bool:
        """Whether one more is allowed; what is let in leaves again."""
        count = self._open.get(address, 0)
        if count >= self._each_max:
            return False
        self._open[address] = count + 1
        return True

    def leave(self, address: str) -> None:
        count = self._open[address] - 1
        if count:
            self._open[address] = count
        else:
            del self._open[address]

    def __len__(self) -> int:
        return len(self._open)
