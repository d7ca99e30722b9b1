"""The egress function: where keys may go, and what no head may contain."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import AuthStyle, Credential, Origin, Secret, Timeouts
from gateway.domain.failure import AttemptFailed, FailureKind, Sent
from gateway.upstream.egress import Egress

HERE = Origin("https", "api.provider.test", 443)
ELSEWHERE = Origin("https", "evil.test", 443)


def call_with(
    credential: Credential, path: str = "/v1/x", headers: tuple[tuple[bytes, bytes], ...] = (), method: str = "POST"
) -> UpstreamCall:
    return UpstreamCall(credential, path, b"", Timeouts(), time.monotonic() + 1, headers, method)


def key(text: str = "sk-1", auth: AuthStyle = AuthStyle.BEARER, origin: Origin = HERE) -> Credential:
    return Credential("c", origin, Secret(text), auth)


def kind_of(egress: Egress, call: UpstreamCall, origin: Origin = HERE) -> FailureKind:
    with pytest.raises(AttemptFailed) as caught:
        egress.head(call, origin)
    assert caught.value.failure.sent is Sent.NO
    assert "sk-" not in caught.value.failure.message
    return caught.value.failure.kind


def test_a_key_never_goes_to_another_origin() -> None:
    egress = Egress()
    egress.head(call_with(key()), HERE)
    assert kind_of(egress, call_with(key()), ELSEWHERE) is FailureKind.AUTH
    assert kind_of(egress, call_with(key()), Origin("http", HERE.host, 443)) is FailureKind.AUTH


@pytest.mark.parametrize(
    ("auth", "line"),
    [
        (AuthStyle.BEARER, b"\r\nauthorization: Bearer sk-1\r\n"),
        (AuthStyle.X_API_KEY, b"\r\nx-api-key: sk-1\r\n"),
        (AuthStyle.API_KEY, b"\r\napi-key: sk-1\r\n"),
        (AuthStyle.X_GOOG_API_KEY, b"\r\nx-goog-api-key: sk-1\r\n"),
    ],
)
def test_every_style_writes_its_header(auth: AuthStyle, line: bytes) -> None:
    assert line in Egress().head(call_with(key(auth=auth)), HERE)


def test_no_style_writes_no_key() -> None:
    assert b"sk-1" not in Egress().head(call_with(key(auth=AuthStyle.NONE)), HERE)


def test_a_rotated_secret_is_used_at_once() -> None:
    egress = Egress()
    assert b"Bearer sk-1\r\n" in egress.head(call_with(key("sk-1")), HERE)
    assert b"Bearer sk-2\r\n" in egress.head(call_with(key("sk-2")), HERE)
    assert b"Bearer sk-2\r\n" in egress.head(call_with(key("sk-2")), HERE)


def test_the_kept_heads_are_bounded() -> None:
    egress = Egress()
    for number in range(3000):
        egress.head(call_with(key(), path=f"/v1/{number}"), HERE)
    assert len(egress._prefixes) <= 1024


@pytest.mark.parametrize("text", ["", "sk-\r\nx: y", "sk-\n", "sk-\0", "sk-\u00e9"])
def test_a_key_that_is_no_header_value_is_misconfigured(text: str) -> None:
    assert kind_of(Egress(), call_with(key(text))) is FailureKind.AUTH


@pytest.mark.parametrize("path", ["", "v1", "/a b", "/a\r\nx: y", "/\u00e9", "http://evil.test/", "/a\0"])
def test_a_path_that_is_no_path_is_refused(path: str) -> None:
    assert kind_of(Egress(), call_with(key(), path=path)) is FailureKind.INVALID_REQUEST


@pytest.mark.parametrize("method", ["HEAD", "CONNECT", "post", "GET / HTTP/1.1\r\n"])
def test_a_method_that_is_not_known_is_refused(method: str) -> None:
    assert kind_of(Egress(), call_with(key(), method=method)) is FailureKind.INVALID_REQUEST


@pytest.mark.parametrize(
    "name",
    [
        b"host",
        b"Authorization",
        b"x-api-key",
        b"content-length",
        b"Transfer-Encoding",
        b"connection",
        b"a b",
        b"",
        b"a:",
    ],
)
def test_a_header_that_is_not_the_callers_is_refused(name: bytes) -> None:
    assert kind_of(Egress(), call_with(key(), headers=((name, b"1"),))) is FailureKind.INVALID_REQUEST


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_no_header_can_add_a_line(name: bytes, value: bytes) -> None:
    try:
        head = Egress().head(call_with(key(), headers=((name, value),)), HERE)
    except AttemptFailed:
        return
    plain = Egress().head(call_with(key()), HERE)
    assert head.count(b"\r\n") == plain.count(b"\r\n") + 1
    assert head.count(b"\n") == head.count(b"\r") == head.count(b"\r\n")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (Origin("https", "api.test", 443), b"api.test"),
        (Origin("https", "api.test", 8443), b"api.test:8443"),
        (Origin("http", "api.test", 80), b"api.test"),
        (Origin("http", "::1", 9000), b"[::1]:9000"),
        (Origin("http", "[::1]", 80), b"[::1]"),
        (Origin("https", "b\u00fccher.test", 443), b"xn--bcher-kva.test"),
    ],
)
def test_the_host_header_is_canonical(origin: Origin, host: bytes) -> None:
    assert b"\r\nhost: " + host + b"\r\n" in Egress().head(call_with(key(origin=origin)), origin)


@pytest.mark.parametrize("host", ["", "a b", "a\r\nx: y", "a/b", "a@b"])
def test_a_host_that_is_no_name_is_refused(host: str) -> None:
    origin = Origin("https", host, 443)
    assert kind_of(Egress(), call_with(key(origin=origin)), origin) is FailureKind.INVALID_REQUEST


def test_a_get_without_body_has_no_length() -> None:
    assert b"content-length" not in Egress().head(call_with(key(), method="GET"), HERE)
    assert b"content-length: 0\r\n\r\n" in Egress().head(call_with(key()), HERE)
