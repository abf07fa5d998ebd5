"""Files that ask for more than they hold are refused before they cost anything, and in a moment."""

from __future__ import annotations

import pickle
import time
import zipfile
from pathlib import Path

import pytest
import torch

from twotower.core.archive import check_opcodes, read_archive
from twotower.core.errors import UserError

PROTOCOL = b"\x80\x02"


def archive(path: Path, data: bytes, compression: int = zipfile.ZIP_STORED, **more: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as made:
        made.writestr("x/data.pkl", data)
        made.writestr("x/version", b"3\n")
        made.writestr("x/byteorder", b"little")
        for name, content in more.items():
            made.writestr(f"x/{name}", content)
    return path


def laughs(depth: int) -> bytes:
    value = ["ha"] * 10
    for _ in range(depth):
        value = [value] * 10
    return pickle.dumps({"a": value}, protocol=2)


BOMBS = {
    "a place in memory beyond any file": PROTOCOL + b"]r\xff\xff\xff\x7f.",
    "a text of four gigabytes": PROTOCOL + b"X\xff\xff\xff\xff.",
    "a number of two gigabytes": PROTOCOL + b"\x8b\xff\xff\xff\x7f.",
    "a text of an exabyte": PROTOCOL + b"\x8d" + b"\xff" * 7 + b"\x0f.",
    "bytes of an exabyte": PROTOCOL + b"\x96" + b"\xff" * 7 + b"\x0f.",
    "lists in lists": laughs(9),
    "no end": PROTOCOL + b"]",
    "a call": pickle.dumps(print, protocol=2),
    "nested a thousand times": PROTOCOL + b"]" * 3000 + b"a" * 2999 + b".",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(tmp_path, name):
    path = archive(tmp_path / "bomb.pt", BOMBS[name])
    started = time.monotonic()
    with pytest.raises(UserError, match=r"bomb\.pt"):
        read_archive(path)
    assert time.monotonic() - started < 10


def test_compressed_entries_are_refused_unread(tmp_path):
    path = archive(tmp_path / "bomb.pt", pickle.dumps({"a": 1}, 2), zipfile.ZIP_DEFLATED, zeros=bytes(50_000_000))
    assert path.stat().st_size < 100_000
    started = time.monotonic()
    with pytest.raises(UserError, match="it is compressed"):
        read_archive(path)
    assert time.monotonic() - started < 5


def test_a_tensor_larger_than_its_file_is_refused(tmp_path):
    path = tmp_path / "wide.pt"
    torch.save({"a": torch.zeros(1).expand(10**12)}, path)
    with pytest.raises(UserError, match="more than the file holds"):
        read_archive(path)


def test_what_torch_writes_of_plain_data_is_read(tmp_path):
    content = {
        "words": {f"wört{n}": n for n in range(70_000)},
        "numbers": [0, 255, 65_535, 2**31 - 1, -5, 2**40, 10**40, 1.5, True, False, None],
        "nested": {"a": ("x", [1, {"b": ()}], {3: "z"})},
        "tensors": [torch.arange(6).reshape(2, 3), torch.zeros(0), torch.ones(2).half(), torch.tensor(True)],
    }
    torch.save(content, tmp_path / "good.pt")
    got = read_archive(tmp_path / "good.pt", contents=True)
    assert got["words"] == content["words"]
    assert got["numbers"] == content["numbers"]
    assert got["nested"] == content["nested"]
    assert all(torch.equal(one, two) for one, two in zip(got["tensors"], content["tensors"], strict=True))


def test_one_flipped_bit_is_found_by_the_archives_own_checksums(tmp_path):
    path = tmp_path / "state.ckpt"
    torch.save({"a": torch.zeros(1000)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(bytes(64)) + 32] ^= 1
    path.write_bytes(data)
    assert float(read_archive(path)["a"].abs().sum()) > 0
    with pytest.raises(UserError, match="is damaged"):
        read_archive(path, contents=True)


def test_a_pickle_that_ends_early_or_goes_beyond_its_end(tmp_path):
    whole = pickle.dumps({"a": [1, "b"]}, protocol=2)
    check_opcodes(whole, tmp_path)
    for end in range(len(whole)):
        with pytest.raises(UserError):
            check_opcodes(whole[:end], tmp_path)
