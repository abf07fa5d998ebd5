"""The content-addressed cache: built once, whole, by whoever comes first."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotower.core import cache
from twotower.core.errors import UserError


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_the_key_tells_lists_of_strings_apart(first, second):
    assert (cache.content_key(first) == cache.content_key(second)) == (first == second)


def test_the_key_tells_kinds_and_shapes_apart():
    array = np.arange(6, dtype=np.int32)
    parts = [
        array,
        array.reshape(2, 3),
        array.astype(np.int64),
        array.tolist(),
        "abc",
        b"abc",
        ["abc"],
        {"a": 1},
        {"a": 2},
    ]
    assert len({cache.content_key(part) for part in parts}) == len(parts)
    assert cache.content_key("ab", "c") != cache.content_key("a", "bc")
    assert cache.content_key({"a": 1, "b": 2}) == cache.content_key({"b": 2, "a": 1})


def test_built_once_then_reused(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path))
    calls = []

    def build(folder):
        calls.append(1)
        (folder / "x").write_text("made")

    first = cache.cached_folder("kind", "key", build)
    assert cache.cached_folder("kind", "key", build) == first
    assert (first / "x").read_text() == "made"
    assert calls == [1]


def test_a_failed_build_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path))

    def build(folder):
        (folder / "half").write_text("")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cache.cached_folder("kind", "key", build)
    assert cache.entries() == []


def test_several_processes_build_once(tmp_path):
    script = (
        "import os, sys, time\n"
        f"os.environ['TWOTOWER_CACHE'] = {str(tmp_path / 'cache')!r}\n"
        "from twotower.core.cache import cached_folder\n"
        "def build(folder):\n"
        f"    open({str(tmp_path / 'calls')!r}, 'a').write('x')\n"
        "    time.sleep(0.3)\n"
        "    (folder / 'x').write_text('1')\n"
        "assert (cached_folder('k', 'v', build) / 'x').read_text() == '1'\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert (tmp_path / "calls").read_text() == "x"


def test_entries_and_clear(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path))
    for kind in ("tokens", "vectors"):
        cache.cached_folder(kind, "k", lambda folder: (folder / "x").write_bytes(b"12345"))
        time.sleep(0.01)
    assert {(entry.kind, entry.bytes) for entry in cache.entries()} == {("tokens", 5), ("vectors", 5)}
    with pytest.raises(UserError, match="Did you mean 'tokens'"):
        cache.clear("token")
    assert [entry.kind for entry in cache.clear("tokens")] == ["tokens"]
    assert [entry.kind for entry in cache.entries()] == ["vectors"]
    cache.clear()
    assert cache.entries() == []


def test_a_cache_closed_to_us_is_read_and_names_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path))
    kept = cache.cached_folder("kind", "a", lambda folder: None)
    (tmp_path / "kind" / "a.lock").unlink(missing_ok=True)
    for key in ("a", "b"):
        (tmp_path / "kind" / f"{key}.lock").mkdir()  # closed to the superuser too
    assert cache.cached_folder("kind", "a", lambda folder: None) == kept
    with pytest.raises(UserError, match="TWOTOWER_CACHE"):
        cache.cached_folder("kind", "b", lambda folder: None)
    assert not (tmp_path / "kind" / "b").exists()
