"""Changes are seen however the file is replaced."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.watch import changes, fingerprint


def rewrite(folder: Path) -> None:
    (folder / "gateway.yaml").write_text("two, and longer")


def replace_by_rename(folder: Path) -> None:
    (folder / ".gateway.yaml.swp").write_text("two, and longer")
    (folder / ".gateway.yaml.swp").rename(folder / "gateway.yaml")


def remove_and_write_again(folder: Path) -> None:
    (folder / "gateway.yaml").unlink()
    (folder / "gateway.yaml").write_text("two, and longer")


def swap_symlink(folder: Path) -> None:
    (folder / "..2").mkdir()
    (folder / "..2" / "gateway.yaml").write_text("two")
    (folder / "..tmp").symlink_to("..2")
    (folder / "..tmp").rename(folder / "..data")


def plain(folder: Path) -> None:
    (folder / "gateway.yaml").write_text("one")


def mounted(folder: Path) -> None:
    (folder / "..1").mkdir()
    (folder / "..1" / "gateway.yaml").write_text("one")
    (folder / "..data").symlink_to("..1")
    (folder / "gateway.yaml").symlink_to("..data/gateway.yaml")


@pytest.mark.parametrize(
    ("build", "change"),
    [(plain, rewrite), (plain, replace_by_rename), (plain, remove_and_write_again), (mounted, swap_symlink)],
)
async def test_a_change_is_seen(tmp_path: Path, build: Callable[[Path], None], change: Callable[[Path], None]) -> None:
    build(tmp_path)
    stop = asyncio.Event()
    seen = changes(tmp_path / "gateway.yaml", stop)
    first = asyncio.ensure_future(anext(seen))
    async with asyncio.timeout(20):
        while not first.done():
            await asyncio.wait([first], timeout=0.5)
            if not first.done() and "two" not in (tmp_path / "gateway.yaml").read_text():
                change(tmp_path)
        assert first.result() is None
        stop.set()
        assert [item async for item in seen] == []


async def test_a_link_is_followed_to_another_folder(tmp_path: Path) -> None:
    for name in ("a", "b", "home"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "real").write_text(name)
    link = tmp_path / "home" / "gateway.yaml"
    link.symlink_to("../a/real")
    stop = asyncio.Event()
    seen = changes(link, stop)

    async def until_seen(change: Callable[[], object]) -> None:
        one = asyncio.ensure_future(anext(seen))
        while not one.done():
            await asyncio.wait([one], timeout=2)
            if not one.done():
                change()
        assert one.result() is None

    def point_to_b() -> None:
        (tmp_path / "home" / "new").symlink_to("../b/real")
        (tmp_path / "home" / "new").rename(link)

    async with asyncio.timeout(20):
        await until_seen(point_to_b)
        await until_seen(lambda: (tmp_path / "b" / "real").write_text("more" * 3))
    stop.set()


async def test_a_stop_ends_it_also_where_no_folder_is(tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    assert [item async for item in changes(tmp_path / "no" / "gateway.yaml", stop)] == []


async def test_other_files_are_no_change_and_stop_ends_it(tmp_path: Path) -> None:
    plain(tmp_path)
    stop = asyncio.Event()
    first = asyncio.ensure_future(anext(changes(tmp_path / "gateway.yaml", stop), "ended"))
    await asyncio.wait([first], timeout=0.3)
    (tmp_path / "other").write_text("x")
    await asyncio.wait([first], timeout=0.5)
    assert not first.done()
    stop.set()
    async with asyncio.timeout(10):
        assert await first == "ended"


def test_what_is_not_there_has_no_fingerprint(tmp_path: Path) -> None:
    assert fingerprint(tmp_path / "none") is None
