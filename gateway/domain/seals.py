"""Signatures of thinking on their way through a dialect that has no word for whose they are."""

MARK = "gw."
_HIDDEN = "*"
ORIGINS = frozenset({"openai", "anthropic", "gemini"})


def sealed(signature: str, origin: str, native: str, *, hidden: bool = False) -> str:
    """As written in a dialect whose own signatures are those of `native`; `hidden` where it has no word for that."""
    if not signature or (origin == native and not hidden):
        return signature
    return f"{MARK}{origin}{_HIDDEN if hidden else ''}.{signature}"


def opened(text: str, native: str) -> tuple[str, str, bool]:
    """The signature, its origin and whether it hides a text; what bears no mark is native to the dialect."""
    if text.startswith(MARK):
        origin, dot, signature = text[len(MARK) :].partition(".")
        if dot and origin.removesuffix(_HIDDEN) in ORIGINS:
            return signature, origin.removesuffix(_HIDDEN), origin.endswith(_HIDDEN)
    return text, native if text else "", False
