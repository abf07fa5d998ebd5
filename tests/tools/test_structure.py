"""The figures of a package made up for it."""

from tools.structure import circles, figures, upward

FILES = {
    "twotower/__init__.py": "",
    "twotower/api.py": "from twotower.model.tower import Tower\n",
    "twotower/model/__init__.py": "",
    "twotower/model/tower.py": "from twotower import core\n\n\ndef rate(config):\n    return config['lr']\n",
    "twotower/model/settings.py": "def parse(config):\n    return config.get('lr')\n",
    "twotower/core/__init__.py": "",
    "twotower/core/files.py": """from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twotower.api import train


def back():
    import twotower.model.tower
""",
}


def test_what_is_counted(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert figures(tmp_path) == {
        "folders": 2,
        "loose modules": 2,
        "files": 7,
        "lines": 16,
        "arrows between rooms": 3,  # api -> model, model -> core, core -> model
        "upward arrows": 1,
        "circles": 1,
        "imports in functions": 1,
        "reads of the raw config": 2,
        "of these not at a door": 1,
        "lines of the longest function": 2,
    }


def test_a_long_circle_is_cut_at_one_arrow():
    arrows = {("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("a", "d"), ("e", "a")}
    assert circles(arrows) == [{"a", "b", "c", "d"}]
    assert upward(arrows) == 1
    assert upward({("a", "b"), ("a", "c"), ("b", "c")}) == 0
