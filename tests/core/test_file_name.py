import pytest

from twotower.core.errors import UserError
from twotower.core.file_name import LONGEST, check_folder_name, check_run_name, safe_file_name


@pytest.mark.parametrize(
    "name", ["mlp-contrastive-docstrings-seed0", "vivid-sweep-1", "größe_2", "lr=0.01,dim=8", "日本"]
)
def test_plain_names_stay(name):
    assert safe_file_name(name) == name
    assert check_folder_name("sweep.name", name) == name
    check_run_name(name)


@pytest.mark.parametrize(
    "name", ["exp/gru", "../../x", "..", ".", "a b", "x" * 230, "日" * 90, "a\\b", "nul\0", "a:b", "", "~/x", ".hidden"]
)
def test_any_name_becomes_one_short_name_of_its_own(name):
    safe = safe_file_name(name)
    assert safe != name
    assert not set(safe) & set("/\\\0")
    assert not safe.startswith(".")
    assert 0 < len(safe.encode()) <= LONGEST
    assert safe != safe_file_name(name + "x")
    with pytest.raises(UserError, match="becomes a folder"):
        check_folder_name("sweep.name", name)


def test_run_names_may_hold_what_people_read():
    check_run_name(None)
    check_run_name("exp/gru, second try")
    for name in ("", "  ", "two\nlines", "\x1b[2J"):
        with pytest.raises(UserError, match="must be a text of one line"):
            check_run_name(name)
