"""Usage as Gemini tells it: what was thought is counted apart, what was cached is not."""

import msgspec

from gateway.domain.reply import Usage
from gateway.formats.gemini import Modality, decode_usage
from gateway.providers.figures import part, sane


def usage_of(raw: msgspec.Raw) -> Usage | None:
    """Explicit zeros count; negative, absurd or wrongly typed figures do not."""
    text = bytes(raw)
    if not text or text == b"null":
        return None
    try:
        shape = decode_usage(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    prompt, said = sane(shape.prompt_token_count), sane(shape.candidates_token_count or 0)
    used, thought = sane(shape.tool_use_prompt_token_count or 0), sane(shape.thoughts_token_count or 0)
    if prompt is None or said is None or used is None or thought is None:
        return None
    given = prompt + used
    return Usage(
        given,
        said + thought,
        part(shape.cached_content_token_count, given),
        thought,
        audio_input=_of(shape.prompt_tokens_details, "AUDIO", given),
        image_input=_of(shape.prompt_tokens_details, "IMAGE", given),
        audio_output=_of(shape.candidates_tokens_details, "AUDIO", said),
        image_output=_of(shape.candidates_tokens_details, "IMAGE", said),
    )


def _of(details: list[Modality] | None, modality: str, whole: int) -> int:
    return next((part(one.token_count, whole) for one in details or () if one.modality == modality), 0)
