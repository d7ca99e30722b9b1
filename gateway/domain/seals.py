"""Signatures of thinking on their way through a dialect that has no word for whose they are."""

_MARK = "gw."
ORIGINS = frozenset({"openai", "anthropic", "gemini"})


def sealed(signature: str, origin: str, native: str) -> str:
    """As written in a dialect whose own signatures are those of `native`."""
    return signature if origin == native or not signature else f"{_MARK}{origin}.{signature}"


def opened(text: str, native: str) -> tuple[str, str]:
    """The signature and its origin; what bears no mark is native to the dialect."""
    if text.startswith(_MARK):
        origin, dot, signature = text[len(_MARK) :].partition(".")
        if dot and origin in ORIGINS:
            return signature, origin
    return text, native if text else ""
