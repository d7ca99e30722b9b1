"""Data URLs taken apart."""

_BASE64 = ";base64"


def split_data_url(url: str) -> tuple[str, str, str]:
    """(media type, base64 data, "") of a data URL, ("", "", url) of any other."""
    if not url.startswith("data:"):
        return "", "", url
    head, comma, data = url[5:].partition(",")
    if not comma or not head.endswith(_BASE64):
        return "", "", url
    return head.removesuffix(_BASE64).partition(";")[0], data, ""
