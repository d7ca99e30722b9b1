"""What the door allows a connection: sizes, counts and absolute deadlines."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """Bytes and seconds. A body may take `body_timeout_s` plus one second for each 256 KiB received."""

    body_bytes: int = 10 * 1024 * 1024
    head_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    keep_alive_s: float = 75.0
    grace_s: float = 30.0
    connections: int = 10_000
    connections_per_address: int = 256
    headers_max: int = 64
    headers_bytes: int = 32 * 1024
    header_bytes: int = 8 * 1024
    send_stall_s: float = 30.0
    heartbeat_s: float = 15.0


BODY_BYTES_PER_S = 256 * 1024
