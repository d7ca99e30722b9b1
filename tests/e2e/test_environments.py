"""A client that cannot be installed is told in one clear sentence; one that is there is not made again."""

import sys
from pathlib import Path

import pytest

from tests.e2e.environments import CLIENTS, CannotInstall, made_once, run

PINS = CLIENTS / "openai_python" / "requirements.txt"


def test_an_installer_that_fails_is_quoted_with_the_clients_name() -> None:
    with pytest.raises(CannotInstall, match=r"the client 'x' cannot be installed; .* ended with:\nno such version"):
        run("x", sys.executable, "-c", "import sys; sys.exit('no such version')")


def test_an_installer_that_is_missing_is_named() -> None:
    with pytest.raises(CannotInstall, match=r"the client 'x' cannot be installed: .*'no-such-installer'"):
        run("x", "no-such-installer")


def test_an_environment_is_made_once_for_the_same_pins(tmp_path: Path) -> None:
    pins = tmp_path / "requirements.txt"
    made = []
    for text in ("a==1\n", "a==1\n", "a==2\n"):
        pins.write_text(text)
        with made_once("x", pins, cache=tmp_path / "cache") as folder:
            made.append(folder is not None)
            if folder is not None:
                assert not folder.exists(), "what the former pins left is gone"
                folder.mkdir()
    assert made == [True, False, True]


def test_an_environment_that_was_not_finished_is_made_again(tmp_path: Path) -> None:
    with pytest.raises(CannotInstall, match="half-way"):
        begin_and_fail(tmp_path)
    with made_once("x", PINS, cache=tmp_path) as folder:
        assert folder is not None
        folder.mkdir()


def begin_and_fail(cache: Path) -> None:
    with made_once("x", PINS, cache=cache) as folder:
        assert folder is not None
        folder.mkdir()
        raise CannotInstall("half-way")
