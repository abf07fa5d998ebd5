import pytest

from twotower.core.secrets import is_secret_key, mask_override, mask_text, masked


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "redis_password",
        "WANDB_API_KEY",
        "apikey",
        "token",
        "hf_token",
        "client_secret",
        "secret_key",
        "auth",
    ],
)
def test_secret_keys(key):
    assert is_secret_key(key)


@pytest.mark.parametrize(
    "key",
    [
        "tokenizer",
        "max_tokens",
        "unk_token",
        "pad_token",
        "split_tokens",
        "author",
        "lr",
        "key",
        "keyword",
        "token_cache",
    ],
)
def test_harmless_keys(key):
    assert not is_secret_key(key)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://user:pw@host:6379/0", "redis://user:***@host:6379/0"),
        ("redis://:p@ss@host/0", "redis://:***@host/0"),
        ("https://ghp_token@github.com/x", "https://***@github.com/x"),
        ("https://host/x?token=abc&k=1", "https://host/x?token=***&k=1"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("mail me@host", "mail me@host"),
    ],
)
def test_urls(text, expected):
    assert mask_text(text) == expected


def test_nested_values_nulls_and_flags():
    value = {"a": [{"password": ["x", {"y": 1}]}], "token": None, "secret": "", "auth": True, "n": 1.5}
    assert masked(value) == {
        "a": [{"password": ["***", {"y": "***"}]}],
        "token": None,
        "secret": "",
        "auth": True,
        "n": 1.5,
    }


def test_overrides():
    assert mask_override("++redis.password=x=y") == "++redis.password=***"
    assert mask_override("optimizer.lr=0.1") == "optimizer.lr=0.1"
