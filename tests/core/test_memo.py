import gc
import os
import weakref

import pytest

from twotower.core.memo import keeping, remember, stamp


@pytest.fixture
def built():
    made = []

    def build():
        made.append(object())
        return made[-1]

    build.made = made
    return build


def test_a_value_is_kept_for_the_jobs_of_a_sweep_only(built):
    with keeping():
        first = remember("collection", {"path": "a"}, built)
        assert remember("collection", {"path": "a"}, built) is first
    assert remember("collection", {"path": "a"}, built) is not first
    with keeping():
        assert remember("collection", {"path": "a"}, built) is first


def test_one_value_of_each_kind_is_kept(built):
    with keeping():
        first = remember("one", 1, built)
        other = remember("other", 1, built)
        assert remember("one", 2, built) is not first
        assert remember("other", 1, built) is other
        assert remember("one", 1, built) is not first
    assert len(built.made) == 4


def test_a_failure_is_not_kept(built):
    with keeping():
        with pytest.raises(ZeroDivisionError):
            remember("failing", 1, lambda: 1 / 0)
        assert remember("failing", 1, built) is built.made[0]


def test_the_stamp_changes_with_the_files(tmp_path):
    (tmp_path / "a").write_text("one")
    before = stamp(str(tmp_path))
    assert stamp(str(tmp_path)) == before
    (tmp_path / "a").write_text("two")
    os.utime(tmp_path / "a", ns=(1, 1))
    changed = stamp(str(tmp_path))
    assert changed != before
    (tmp_path / "b").write_text("")
    assert stamp(str(tmp_path)) != changed
    assert stamp(str(tmp_path / "a")) == changed
    assert stamp(None) == stamp(str(tmp_path / "missing")) == []


def test_a_value_that_makes_room_is_freed():
    class Holder:
        def __init__(self):
            self.itself = self

    with keeping():
        first = weakref.ref(remember("held", 1, Holder))
        remember("held", 2, Holder)
        gc.collect()
        assert first() is None
        remember("held", 3, lambda: None)
