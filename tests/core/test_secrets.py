"""Passwords and keys are found wherever they stand, and nothing else is."""

from __future__ import annotations

import logging
import os
import time

import pytest

from twotower.core.errors import UserError
from twotower.core.logging import ScrubbedFormatter
from twotower.core.secrets import (
    is_secret_key,
    literal_secrets,
    mask_override,
    mask_text,
    masked,
    private_if_secret,
    refuse_literal_secrets,
    remember_secrets,
)


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "redis_password",
        "WANDB_API_KEY",
        "apikey",
        "wandbApiKey",
        "token",
        "hf_token",
        "client_secret",
        "secret_key",
        "auth",
        "db_pwd",
        "AWS_SECRET_ACCESS_KEY",
        "PGPASSWORD",
        "dbPasswords",
        "Authorization",
        "X-Api-Key",
        "storage_account_key",
        "api_keys",
        "SMTP_PASS",
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
        "passes",
        "compass",
    ],
)
def test_harmless_keys(key):
    assert not is_secret_key(key)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://user:pw@host:6379/0", "redis://user:***@host:6379/0"),
        ("{Authorization: Bearer abc.def}", "{Authorization: ***}"),
        ("Authorization: token ghp_abc", "Authorization: ***"),
        ("Proxy-Authorization: Digest abc", "Proxy-Authorization: ***"),
        ("https://host/x?sv=2020&sig=ab%2F&k=1", "https://host/x?sv=2020&sig=***&k=1"),
        ("redis://:p@ss@host/0", "redis://:***@host/0"),
        ("redis://:pa/ss@host:6379/0", "redis://:***@host:6379/0"),
        ("redis://:pa/s?s#x@host:6379/0 is away", "redis://:***@host:6379/0 is away"),
        ("rediss://me:12/34@host", "rediss://me:***@host"),
        ("unix://me:pw@/tmp/redis.sock?db=1", "unix://me:***@/tmp/redis.sock?db=1"),
        ("https://me:pa/ss@host/x", "https://me:***@host/x"),
        ("https://host:8080/x@1.2", "https://host:8080/x@1.2"),
        ("https://[::1]:8080/x@1.2", "https://[::1]:8080/x@1.2"),
        ("s3://bucket/part@2", "s3://bucket/part@2"),
        ("https://ghp_token@github.com/x", "https://***@github.com/x"),
        ("https://host/x?token=abc&k=1", "https://host/x?token=***&k=1"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://[::1", "redis://[::1"),
        ("mail me@host", "mail me@host"),
        ("{host: a, password: s3cret}", "{host: a, password: ***}"),
        ("{'password': 's3 cret', 'n': 1}", "{'password': ***, 'n': 1}"),
        ('{"wandb":{"api_key":"abc","n":1}}', '{"wandb":{"api_key":***,"n":1}}'),
        ("settings.api_key=abc def", "settings.api_key=*** def"),
        ("password=null token: true secret=''", "password=null token: true secret=''"),
        ("api_key=${oc.env:WANDB_API_KEY}", "api_key=${oc.env:WANDB_API_KEY}"),
        ("api_key=${oc.env:WANDB_API_KEY,abc}", "api_key=***"),
        ("unk_token=[UNK] and lr=0.1", "unk_token=[UNK] and lr=0.1"),
    ],
)
def test_texts(text, expected):
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
    assert mask_override("+logger.wandb={settings:{api_key:abc},x:1}") == "+logger.wandb={settings:{api_key:***},x:1}"
    assert mask_override("x.password=${oc.env:PW}") == "x.password=${oc.env:PW}"


def test_what_the_environment_holds_is_masked_everywhere(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("REDIS_URL", "redis://me:pa/s5word@host:1")
    assert mask_text("the server says: 0123456789abcdef is wrong") == "the server says: *** is wrong"
    assert masked({"error": ["AUTH pa/s5word failed"]}) == {"error": ["AUTH *** failed"]}


def test_the_folder_one_is_in_is_no_secret(monkeypatch):
    monkeypatch.setenv("PWD", "/home/me/project")  # a shell's PWD is a folder, a config's `pwd` a password
    assert masked({"run": "/home/me/project/outputs/1"}) == {"run": "/home/me/project/outputs/1"}
    monkeypatch.setenv("MYSQL_PWD", "/home/me/project")
    assert masked({"run": "/home/me/project/outputs/1"}) == {"run": "***/outputs/1"}


def test_what_a_config_held_is_masked_in_messages():
    remember_secrets({"logger": {"wandb": {"settings": {"api_key": "fedcba9876543210"}}}})
    assert mask_text("refused fedcba9876543210!") == "refused ***!"


def test_log_lines_and_tracebacks_are_scrubbed():
    try:
        raise ValueError("redis://:pa/ss@host:1 is away")
    except ValueError as error:
        record = logging.LogRecord("x", 40, "x", 1, "token=%s", ("abc",), (type(error), error, error.__traceback__))
    line = ScrubbedFormatter("%(message)s").format(record)
    assert line.startswith("token=***")
    assert "redis://:***@host:1 is away" in line
    assert "pa/ss" not in line.splitlines()[-1]


def test_a_long_text_takes_no_time():
    started = time.monotonic()
    for text in ("a" * 200_000, "a:" * 100_000, "://" * 60_000, "redis://" + "a@" * 100_000, "x.-" * 70_000 + "="):
        mask_text(text)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        ({"a": {"password": "x"}}, ["a.password"]),
        ({"a": {"password": {"value": "x"}}}, ["a.password.value"]),
        ({"a": ["redis://:pw@host", "redis://host"]}, ["a.0"]),
        ({"a": "redis://:pa/ss@host"}, ["a"]),
        ({"a": {"api_key": "${oc.env:KEY}", "b": "${a.api_key}", "token": None, "secret": ""}}, []),
        ({"a": {"api_key": "${oc.env:KEY,abc}"}}, ["a.api_key"]),
        ({"text": {"unk_token": "[UNK]"}, "url": "https://host/x@y", "index": {"url": "redis://user@host"}}, []),
    ],
)
def test_secrets_in_plain_text_are_found_in_a_config(config, keys):
    assert literal_secrets(config) == keys


@pytest.mark.parametrize(
    "override",
    [
        "+logger.wandb.settings.api_key=s3cret",
        "++logger.wandb={settings:{api_key:s3cret}}",
        "+x={a: {'password': 's3cret'}}",
        "index.redis.url='redis://:pa/s3cret@host'",
        "index.redis.url=redis://:s3cret@host",
        "data.url=https://host/x?token=s3cret",
        "+password=s3cret",
    ],
)
def test_secrets_on_the_command_line_are_refused_and_not_repeated(override):
    with pytest.raises(UserError, match=r"holds a (secret|password)") as caught:
        refuse_literal_secrets({}, ["model=gru", override])
    assert "s3cret" not in str(caught.value)
    assert override.partition("=")[0].lstrip("+") in str(caught.value)


def test_the_key_inside_a_dict_is_named():
    for override in ("++logger.wandb={settings:{api_key:s3cret}}", "+logger.wandb={settings: {api_key: s3cret}}"):
        with pytest.raises(UserError, match=r"^logger\.wandb\.settings\.api_key holds a secret"):
            refuse_literal_secrets({}, [override])


@pytest.mark.parametrize(("config", "mode"), [({"a": {"api_key": "s3cret"}}, 0o600), ({"a": {"api_key": ""}}, 0o644)])
def test_files_of_a_run_with_secrets_are_its_users_alone(tmp_path, config, mode):
    before = os.umask(0o022)
    try:
        (tmp_path / "log").write_text("x")
        with private_if_secret(config, tmp_path):
            (tmp_path / "later").write_text("x")
        (tmp_path / "after").write_text("x")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"log": mode, "later": mode, "after": 0o644}


def test_other_overrides_pass():
    refuse_literal_secrets({}, ["index.redis.url=redis://host:6379/1", "index.redis.url=null", "x=a:b@c", "-m"])
    refuse_literal_secrets({}, ["x.password=${oc.env:PW}", "text.unk_token=x", "x.password=null", "~x.password"])
