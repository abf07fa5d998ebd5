"""Keeping passwords out of what is written down and shown: one scrubber for configs, overrides, messages and logs.

Masked are values of secret-looking keys (in nested data, and as `key=value` or `key: value` in text), logins in URLs,
secret query parameters, and every value that is known to be secret because of where it came from: an environment
variable of such a name, or a config key (`remember_secrets`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from twotower.core.errors import UserError
from twotower.core.nested import leaves

MASK = "***"
"""What stands in a record in place of a secret."""

REDIS_SCHEMES = ("redis", "rediss", "unix")

_SECRET_KEY = re.compile(
    r"(password|passwd|passphrase)s?$|(^|[._-])secrets?([._-]|$)|(^|[._-])(pass|pwd|credentials?|auth|authorization|bearer|"
    r"(api|access|private|account|signing|encryption)[_-]?keys?)$",
    re.IGNORECASE,
)
_TOKEN_KEY = re.compile(r"(^|[._-])token$", re.IGNORECASE)
_TEXT_TOKEN = re.compile(
    r"(^|[._-])(pad|unk|unknown|cls|sep|mask|bos|eos|start|end|special|per|min|max|num)_token$", re.IGNORECASE
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_URL = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://(?P<rest>\S*)")
_URL_QUERY = re.compile(
    r"(?P<name>[?&](?:password|token|api_?key|secret|access_token|sig|signature|x-amz-signature|x-amz-security-token)=)"
    r"[^&\s#]+",
    re.IGNORECASE,
)
_PAIR = re.compile(
    r"(?<![\w.-])(?P<key>[\w.-]*(?:pass|pwd|secret|credential|key|auth|bearer|token)[\w.-]*)(?P<sep>[\"']?\s*[:=]\s*)"
    r"(?P<value>\"[^\"]*\"|'[^']*'|(?:Bearer|Basic|Digest|Token|Api-?Key)\s+[^\s,;\"'}\]]+|\$\{[^}]*\}|[^\s,{}\[\])&;\"']+)",
    re.IGNORECASE,
)
_HARMLESS = re.compile(r"[\"']?(null|none|true|false|\*\*\*|\$\{[\w.]+\}|\$\{oc\.env:\w+\}|)[\"']?", re.IGNORECASE)
"""Values of secret keys that give nothing away: none at all, or the name of where the secret is."""
_SHORTEST = 6
"""Characters a value must have to be looked for in every text; shorter ones would mask half the words."""

_known: set[str] = set()


def is_secret_key(key: str) -> bool:
    """Says whether a config key's name promises a secret (`redis.password`, `WANDB_API_KEY`; not `unk_token`)."""
    key = _CAMEL.sub("_", key)
    if _SECRET_KEY.search(key):
        return True
    return bool(_TOKEN_KEY.search(key)) and not _TEXT_TOKEN.search(key)


def mask_text(text: str) -> str:
    """Masks every secret in a text; the rest stays as it is."""
    return _mask(text, known_secrets())


def masked(value: Any) -> Any:
    """Returns nested plain data with every secret replaced by `MASK`; nulls, flags and empty strings stay.

    Args:
        value: dicts, lists, strings and numbers. Mapping and sequence types become plain dicts and lists.
    """
    return _masked(value, known_secrets())


def mask_override(override: str) -> str:
    """Masks secrets in one Hydra override (`index.redis.password=x` -> `index.redis.password=***`)."""
    key, equals, value = override.partition("=")
    if equals and is_secret_key(key.lstrip("+~")) and not _HARMLESS.fullmatch(value):
        return f"{key}={MASK}"
    return mask_text(override)


def remember_secrets(config: Any) -> None:
    """Remembers the values of a config's secret keys, so that `mask_text` finds them in any message of a library."""
    _known.update(_values_of_secret_keys(config))


@contextmanager
def private_if_secret(config: Any, folder: Path) -> Iterator[None]:
    """Keeps what a run writes to its user alone (0600) where its resolved config holds a secret.

    The scrubber leaves none in our own files; what a logger or a part of somebody else writes is out of its sight.

    Args:
        config: the resolved config.
        folder: the run folder; what lies there already becomes private too.
    """
    if not any(value not in ("", MASK) for value in _values_of_secret_keys(config)):
        yield
        return
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _values_of_secret_keys(config: Any) -> Iterator[str]:
    for key, value in leaves(config):
        if isinstance(value, str) and any(is_secret_key(part) for part in key):
            yield value


def known_secrets() -> list[str]:
    """Returns the secrets this process knows, longest first: remembered ones and those in its environment."""
    secrets = set(_known)
    for name, value in os.environ.items():
        if is_secret_key(name) and name != "PWD":  # the shell's: the folder one is in
            secrets.add(value)
        elif "://" in value:
            secrets.add(_url_password(value))
    return sorted((item for item in secrets if len(item) >= _SHORTEST), key=len, reverse=True)


def literal_secrets(config: Any) -> list[str]:
    """Returns the keys of an unresolved config under which a secret stands in plain text.

    `${oc.env:NAME}` and references to other keys are no secrets: what is written down is where to find one.
    """
    keys = []
    for key, value in leaves(config):
        if not isinstance(value, str) or _HARMLESS.fullmatch(value):
            continue
        if any(is_secret_key(part) for part in key) or holds_secret(value):
            keys.append(".".join(key))
    return keys


def refuse_literal_secrets(config: Any, overrides: Iterable[str] = ()) -> None:
    """Refuses secrets in plain text, in a config or on the command line, before anything is written.

    Raises:
        UserError: naming the key, never the value.
    """
    keys = literal_secrets(config)
    for override in overrides:
        key, equals, value = override.partition("=")
        key = key.lstrip("+~")
        hidden = is_secret_key(key) and not _HARMLESS.fullmatch(value)
        if equals and (hidden or holds_secret(value)):
            keys.extend([f"{key}.{name}" for name in literal_secrets(_parsed(value))] or [key])
    if keys:
        what = "a password" if keys[0].endswith("url") else "a secret"
        way_out = (
            "leave it out and set the environment variable REDIS_URL to the whole address"
            if keys[0].endswith("redis.url")
            else f"put it into an environment variable NAME and write {keys[0]}='${{oc.env:NAME}}'"
        )
        raise UserError(f"{keys[0]} holds {what}, and the config is written down with the run: {way_out}.")


def _parsed(value: str) -> Any:
    """Returns an override's value as a dict or list where it is one, so that the key inside it can be named."""
    try:
        parsed = yaml.safe_load(re.sub(r"([{,]\s*[\w.]+):(?=\S)", r"\1: ", value))  # Hydra needs no blank, YAML does
    except yaml.YAMLError:
        return None
    return parsed if isinstance(parsed, (dict, list)) else None


def holds_secret(text: str) -> bool:
    """Says whether a text shows a secret: a URL's password, a secret query parameter, or a pair `api_key: x`."""
    if any(_url_password(match[0]) for match in _URL.finditer(text)) or _URL_QUERY.search(text):
        return True
    pairs = _PAIR.finditer(text)
    return any(is_secret_key(item["key"]) and not _HARMLESS.fullmatch(item["value"]) for item in pairs)


def url_login(scheme: str, rest: str) -> str:
    """Returns the login of a URL ("user:password"), "" where it has none.

    A password whose "/", "?" or "#" was not written as %2F, %3F or %23 is found too, where the URL can't be read in
    another way.
    """
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = re.sub(r"^\[[^\]]*\]", "v6", authority)
    greedy = scheme.lower() in REDIS_SCHEMES or re.search(r":(?!\d*$)|^:", host)
    return (rest if greedy and "@" not in authority else authority).rpartition("@")[0] if "@" in rest else ""


def _url_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    login = url_login(scheme, rest.split(maxsplit=1)[0] if rest.split() else "")
    user, colon, password = login.partition(":")
    return password if colon else "" if scheme.lower() in REDIS_SCHEMES else user


def _mask(text: str, known: list[str]) -> str:
    if "://" in text:
        text = _URL_QUERY.sub(rf"\g<name>{MASK}", _URL.sub(_mask_url, text))
    if ":" in text or "=" in text:
        text = _PAIR.sub(_mask_pair, text)
    for secret in known:
        text = text.replace(secret, MASK)
    return text


def _mask_url(match: re.Match[str]) -> str:
    login = url_login(match["scheme"], match["rest"])
    if not login:
        return match[0]
    user, colon, _ = login.partition(":")
    return f"{match['scheme']}://{user if colon else ''}{colon}{MASK}{match['rest'][len(login) :]}"


def _mask_pair(match: re.Match[str]) -> str:
    if not is_secret_key(match["key"]) or _HARMLESS.fullmatch(match["value"]):
        return match[0]
    return f"{match['key']}{match['sep']}{MASK}"


def _masked(value: Any, known: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): _hide(item) if is_secret_key(str(key)) else _masked(item, known) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_masked(item, known) for item in value]
    return _mask(value, known) if isinstance(value, str) else value


def _hide(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _hide(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hide(item) for item in value]
    return value if value is None or isinstance(value, bool) or value == "" else MASK
