"""Files are whole or absent."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.core.files import atomic_path, read_json, sha256_file, write_json, write_link, write_text


def test_a_failure_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("new, but")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half"):
        write_half()
    assert target.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_replaces_a_folder(tmp_path):
    for content in ("one", "two"):
        with atomic_path(tmp_path / "folder") as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [item.name for item in (tmp_path / "folder").iterdir()] == ["two"]
    assert [item.name for item in tmp_path.iterdir()] == ["folder"]


def test_json_has_no_nan_and_takes_numpy_numbers(tmp_path):
    write_json(tmp_path / "a.json", {"x": math.nan, "y": [np.float32(0.5), np.int64(3)], "z": "ä"})
    assert read_json(tmp_path / "a.json") == {"x": None, "y": [0.5, 3], "z": "ä"}
    assert "ä" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_json_cut_short_is_named(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"a": 1})[:-1])
    with pytest.raises(UserError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(UserError, match=r"Cannot read .*none\.json"):
        read_json(tmp_path / "none.json")


def test_a_full_disk_is_one_clear_line_and_keeps_the_old_file(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from twotower.core.files import write_text\n"
        f"write_text({str(tmp_path / 'a.txt')!r}, 'x' * 5000)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "Cannot write" in done.stderr
    assert "UserError" in done.stderr
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_compiled_writer_s_full_disk_is_one_clear_line_too(tmp_path):
    told = "Error in write_index: failed: write error: 62222 != 6959104 (No space left on device)"
    refused = pytest.raises(UserError, match=r"Cannot write .*a\.bin: No space left on device\. Free space")
    with refused, atomic_path(tmp_path / "a.bin"):
        raise RuntimeError(told)
    with pytest.raises(RuntimeError, match="something else"), atomic_path(tmp_path / "a.bin"):
        raise RuntimeError("something else")
    assert os.listdir(tmp_path) == []


def test_an_array_that_a_full_disk_takes_in_part_is_told_of_as_such(tmp_path):
    script = (
        "import resource, signal\n"
        "import numpy as np\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from twotower.core.files import atomic_path\n"
        f"with atomic_path({str(tmp_path / 'a')!r}) as folder:\n"
        "    folder.mkdir()\n"
        "    np.save(folder / 'b.npy', np.zeros(5000))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "UserError: Cannot write" in done.stderr.splitlines()[-1]
    assert "No space left on device" in done.stderr.splitlines()[-1]
    assert os.listdir(tmp_path) == []


def test_an_error_without_a_number_that_is_not_about_space_stays_what_it_is(tmp_path):
    with pytest.raises(OSError, match="another matter"), atomic_path(tmp_path / "a"):
        raise OSError("another matter")


def test_a_folder_s_hash_depends_on_names_and_content(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "a").write_text("1")
    first = sha256_file(folder)
    (folder / "a").rename(folder / "b")
    second = sha256_file(folder)
    (folder / "b").write_text("2")
    assert len({first, second, sha256_file(folder)}) == 3


@pytest.mark.parametrize("links", [True, False])
def test_a_second_name_outlives_what_replaces_the_first(tmp_path, monkeypatch, links):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    write_text(tmp_path / "best", "one")
    write_text(tmp_path / "last", "older")
    write_link(tmp_path / "best", tmp_path / "last")
    assert (tmp_path / "best").samefile(tmp_path / "last") == links
    write_text(tmp_path / "best", "two")
    assert (tmp_path / "last").read_text() == "one"
    assert sorted(os.listdir(tmp_path)) == ["best", "last"]
