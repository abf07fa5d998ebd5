"""What decides a model's numbers is told by what it is, not by its name alone."""

from __future__ import annotations

from tests.one_thread_more import one_thread_more
from twotower.kernels import identity


def test_threads_and_the_package_s_own_code_belong_to_it(tmp_path, monkeypatch):
    before = identity.machine()
    assert identity.machine() == before
    with one_thread_more():
        assert identity.machine() != before
    for room in identity.ROOMS:
        (tmp_path / room).mkdir()
    monkeypatch.setattr(identity, "__file__", str(tmp_path / "kernels" / "identity.py"))
    codes = []
    for text in ("one", "two"):
        (tmp_path / "evaluation" / "formulas.py").write_text(text)
        identity.code.cache_clear()
        codes.append(identity.code())
    identity.code.cache_clear()
    assert len(set(codes)) == 2


def test_every_room_that_is_named_is_there():
    package = identity.Path(identity.__file__).resolve().parents[1]
    assert all(list((package / room).glob("*.py")) for room in identity.ROOMS)
