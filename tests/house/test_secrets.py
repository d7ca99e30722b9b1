"""No key of any provider is in what is kept under version control."""

import re

from tests.house.sources import shown, tracked

KEYS = re.compile(
    r"\b(?:sk-[\w-]{20,}|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|gh[pousr]_\w{36}|github_pat_\w{40,}|xox[abp]-[\w-]{20,})"
    r"|-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40,}"
)
MADE_UP = ("canary", "abcdefgh")
"""What keys of tests are made of, so that one sees that they open nothing."""


def keys_in(text: str) -> list[str]:
    return [found for found in KEYS.findall(text) if not any(word in found.lower() for word in MADE_UP)]


def test_row_43_nothing_that_looks_like_a_key_is_kept() -> None:
    texts = {path: path.read_text(errors="replace") for path in tracked()}
    assert {shown(path): found for path, text in texts.items() if (found := keys_in(text))} == {}


def test_row_43_keys_are_recognized_and_made_up_ones_are_let_be() -> None:
    real = ["sk-" + "proj-" + 24 * "x7", "AKIA" + 16 * "Q", "ghp" + "_" + 36 * "z"]
    assert keys_in("\n".join(f'key = "{one}"' for one in real)) == real
    assert keys_in("sk-canary-openai-81hTTx0Lk2") == []
