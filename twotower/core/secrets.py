"""Keeping passwords out of what is written down: values of secret-looking keys and credentials in URLs are masked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
"""What stands in a record in place of a secret."""

_SECRET_KEY = re.compile(
    r"(^|[._-])(password|passwd|passphrase|secret|credentials?|api_?key|access_?key|private_?key|auth)$"
    r"|(^|[._-])secret([._-]|$)",
    re.IGNORECASE,
)
_TOKEN_KEY = re.compile(r"(^|[._-])token$", re.IGNORECASE)
_TEXT_TOKEN = re.compile(
    r"(^|[._-])(pad|unk|unknown|cls|sep|mask|bos|eos|start|end|special|per|min|max|num)_token$", re.IGNORECASE
)
_URL_LOGIN = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)(?P<login>[^/?#\s]*)@")
_URL_QUERY = re.compile(r"(?P<name>[?&](?:password|token|api_?key|secret|access_token)=)[^&\s#]+", re.IGNORECASE)


def is_secret_key(key: str) -> bool:
    """Says whether a config key's name promises a secret (`redis.password`, `WANDB_API_KEY`; not `unk_token`)."""
    if _SECRET_KEY.search(key):
        return True
    return bool(_TOKEN_KEY.search(key)) and not _TEXT_TOKEN.search(key)


def mask_text(text: str) -> str:
    """Masks logins inside URLs and secret query parameters; the rest of the text stays as it is."""
    return _URL_QUERY.sub(rf"\g<name>{MASK}", _URL_LOGIN.sub(_mask_login, text))


def _mask_login(match: re.Match[str]) -> str:
    user, colon, _ = match["login"].partition(":")
    return f"{match['scheme']}{user if colon else ''}{':' if colon else ''}{MASK}@"


def masked(value: Any) -> Any:
    """Returns nested plain data with every secret replaced by `MASK`; nulls, flags and empty strings stay.

    Args:
        value: dicts, lists, strings and numbers. Mapping and sequence types become plain dicts and lists.
    """
    if isinstance(value, Mapping):
        return {str(key): _hide(item) if is_secret_key(str(key)) else masked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item) for item in value]
    return mask_text(value) if isinstance(value, str) else value


def _hide(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _hide(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hide(item) for item in value]
    return value if value is None or isinstance(value, bool) or value == "" else MASK


def mask_override(override: str) -> str:
    """Masks the value of one Hydra override (`index.redis.password=x` -> `index.redis.password=***`)."""
    key, equals, value = override.partition("=")
    if equals and value not in ("", "null") and is_secret_key(key.lstrip("+~")):
        return f"{key}={MASK}"
    return mask_text(override)
