"""Redis addresses: read, refused or shown without what is in them."""

from __future__ import annotations

import pytest

from twotower.core.addresses import check_address, holds_password, without_credentials
from twotower.core.errors import UserError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:s3cret@host:1/0", "redis://host:1/0"),
        ("redis://:a/s3cret@host:1/0", "redis://host:1/0"),
        ("redis://:a?b#s3cret@host:1/0?db=1", "redis://host:1/0?db=1"),
        ("redis://host:1/0?password=s3cret&db=1", "redis://host:1/0?db=1"),
        ("redis://host:6379", "redis://host:6379"),
        ("unix:///tmp/redis.sock?db=1", "unix:///tmp/redis.sock?db=1"),
        ("redis://[::1", "redis://[::1"),
        ("127.0.0.1:6379", "127.0.0.1:6379"),
    ],
)
def test_credentials_are_left_out_whatever_the_rest(url, shown):
    assert without_credentials(url) == shown
    assert holds_password(url) == ("s3cret" in url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://[::1", "can't be read"),
        ("redis://host:port", "can't be read"),
        ("redis://host:99999", "can't be read"),
        ("redis://:a/s3cret@host:1", "'/', '\\?' or '#' in its password is written %2F"),
        ("http://host", "is not a Redis address"),
        ("127.0.0.1:6379", "is not a Redis address"),
        ("", "is not a Redis address"),
    ],
)
def test_what_is_no_address_is_refused_in_one_line(url, why):
    with pytest.raises(UserError, match=rf"^index\.redis\.url=.*{why}") as caught:
        check_address("index.redis.url", url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://host", "rediss://u:p%2Fw@host:1/0", "unix:///a@b.sock", "redis://[::1]:6379"])
def test_addresses_pass(url):
    check_address("index.redis.url", url)


@pytest.mark.parametrize("url", ["redis://host/1", "redis://host:6379/15", "rediss://host?db=2", "unix:///tmp/s?db=1"])
def test_a_database_other_than_0_is_refused_before_anything_is_sent(url):
    with pytest.raises(UserError, match="vector search works in database 0 alone"):
        check_address("REDIS_URL", url)


@pytest.mark.parametrize(
    "url", ["redis://host", "redis://host/", "redis://host/0", "redis://h?db=0", "unix:///tmp/a/s"]
)
def test_database_0_is_fine(url):
    check_address("REDIS_URL", url)


def test_an_address_without_a_scheme_is_shown_whole():
    with pytest.raises(UserError, match=r"REDIS_URL=127\.0\.0\.1:6379 is not a Redis address"):
        check_address("REDIS_URL", "127.0.0.1:6379")
    with pytest.raises(UserError, match=r"REDIS_URL=\*\*\*@host is not a Redis address"):
        check_address("REDIS_URL", "redis//user:hun/ter2@host")
    for url in ("redis:/user:hun/ter2@host", "redis:user:hunter2@host"):
        with pytest.raises(UserError, match=r"REDIS_URL=\*\*\*@host is not a Redis address") as caught:
            check_address("REDIS_URL", url)
        assert "ter2" not in str(caught.value)
    with pytest.raises(UserError, match=r"index\.redis\.url=5 is not a Redis address"):
        check_address("index.redis.url", 5)
