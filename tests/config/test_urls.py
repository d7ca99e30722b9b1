"""Which base URLs may be called."""

import pytest

from gateway.config.urls import BadUrl, split_base_url

GOOD = [
    ("https://api.openai.com/v1", "https://api.openai.com:443", "/v1"),
    ("https://API.Example.com./v1/", "https://api.example.com:443", "/v1"),
    ("https://h:8443", "https://h:8443", ""),
    ("http://127.0.0.1:9000/v1", "http://127.0.0.1:9000", "/v1"),
    ("http://localhost/a/b//"[:-1], "http://localhost:80", "/a/b"),
    ("http://[::1]:1/", "http://::1:1", ""),
    ("http://127.9.9.9/", "http://127.9.9.9:80", ""),
]
BAD = [
    ("", "not an http(s) URL"),
    ("api.openai.com/v1", "not an http(s) URL"),
    ("ftp://h/", "not an http(s) URL"),
    ("https:///v1", "not an http(s) URL"),
    ("http://10.0.0.1/", "not encrypted"),
    ("http://localhost.evil.com/", "not encrypted"),
    ("http://127.0.0.1.nip.io/", "not encrypted"),
    ("https://user:canary@h/", "user name or password"),
    ("https://canary@h/", "user name or password"),
    ("https://@h/", "user name or password"),
    ("https://h/?a=1", "query"),
    ("https://h/#a", "fragment"),
    ("https://h/?", "query"),
    ("https://h/a/../b", "dot segments"),
    ("https://h//b", "empty"),
    ("https://h:0/", "port 0"),
    ("https://h:99999/", "cannot be read"),
    ("https://h:x/", "cannot be read"),
    ("https://[::1/", "cannot be read"),
    ("https://h\\@evil/", "user name"),
    ("https://h\\evil/", "characters"),
    ("https://h h/", "characters"),
    ("https://h\r\nx: y/", "cannot be read"),
    ("https://bücher.example/", "characters"),
    ("https://127。0。0。1/", "characters"),
    ("https://[fe80::1%25eth0]/", "characters"),
    ("https://0x7f.1/", "not a valid name"),
    ("https://2130706433/", "not a valid name"),
    ("https://127.1/", "not a valid name"),
    ("https://-_..x/", "not a valid name"),
]


@pytest.mark.parametrize(("text", "origin", "path"), GOOD)
def test_good_urls_are_split(text: str, origin: str, path: str) -> None:
    split = split_base_url(text, allow_http=False)
    assert not isinstance(split, BadUrl), split
    assert (str(split[0]), split[1]) == (origin, path)


@pytest.mark.parametrize(("text", "message"), BAD)
def test_bad_urls_are_refused_without_telling_their_user(text: str, message: str) -> None:
    split = split_base_url(text, allow_http=False)
    assert isinstance(split, BadUrl)
    assert message in split.message
    assert split.remedy
    assert "canary" not in split.message


def test_http_elsewhere_must_be_allowed() -> None:
    assert not isinstance(split_base_url("http://10.0.0.1:80/v1", allow_http=True), BadUrl)
