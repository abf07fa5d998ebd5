import subprocess
import sys

import pytest

from twotower.core.errors import UserError
from twotower.data.docstring_files import _distributions, _modules, divide, find_package, name_words, read_docstrings

SOURCE = '''
"""The module's own docstring is not taken."""
def free():
    """Adds two numbers.

    Works for floats too.
    """
    def inner():
        """Not taken: nobody can call it."""
class Shape:
    """A shape. It has an area."""
    def area(self):
        """Computes the
        area.

        In square metres.
        """
    def __len__(self):
        """Special methods are left out."""
try:
    async def _fallback():
        """Fetches a page."""
except ImportError:
    pass
'''


def test_functions_classes_and_methods_are_read(tmp_path):
    file = tmp_path / "mod.py"
    file.write_text(SOURCE)
    found = [(item.name, item.kind, item.summary, item.rest) for item in read_docstrings("pack.mod", file)]
    assert found == [
        ("pack.mod.free", "function", "Adds two numbers.", "Works for floats too."),
        ("pack.mod.Shape", "class", "A shape.", "It has an area."),
        ("pack.mod.Shape.area", "function", "Computes the area.", "In square metres."),
        ("pack.mod._fallback", "function", "Fetches a page.", ""),
    ]


@pytest.mark.parametrize("content", [b"def broken(:\n  '''x'''", b"\xff\xfe'''", b"'''\x00'''", b""])
def test_files_that_are_not_python_hold_nothing(tmp_path, content):
    (tmp_path / "bad.py").write_bytes(content)
    assert list(read_docstrings("bad", tmp_path / "bad.py")) == []


def test_half_a_surrogate_pair_is_replaced(tmp_path):
    (tmp_path / "odd.py").write_text('def f():\n    """Takes a \\ud800 sign.\n\n    Rest."""\n')
    assert [item.summary for item in read_docstrings("odd", tmp_path / "odd.py")] == ["Takes a ? sign."]


def test_a_long_first_sentence_is_cut_and_nothing_is_lost():
    words = [f"w{number}" for number in range(50)]
    summary, rest = divide(" ".join(words) + "\n\nMore.")
    assert f"{summary} {rest}".split() == [*words, "More."]
    assert len(summary.split()) == 40


def test_abbreviations_do_not_end_a_sentence():
    assert divide("Uses e.g. a tree, i.e. a graph. Then stops.")[0] == "Uses e.g. a tree, i.e. a graph."


def test_names_become_words():
    assert name_words("torch.nn.modules.BatchNorm2d.reset_stats") == "torch nn modules Batch Norm2d reset stats"
    assert name_words("http.server.HTTPServer") == "http server HTTP Server"


def test_packages_are_found_without_importing_them(tmp_path):
    package = tmp_path / "loud_package"
    (package / "tests").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "part.py").write_text("")
    (package / "tests" / "test_part.py").write_text("")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from twotower.data.docstring_files import find_package; "
        "print([module for module, _ in find_package('loud_package').files])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['loud_package', 'loud_package.part']"


def test_files_come_in_the_order_of_their_paths(tmp_path):
    for name in ("b.py", "a/__init__.py", "a/z.py", "a.py", "a/b/c.d.py", "a/_vendor/x.py", "a-b/y.py", "a/test_z.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    found = _modules(tmp_path, "package")
    paths = [path for path in sorted(tmp_path.rglob("*.py")) if not {"_vendor", "test_z.py"} & set(path.parts)]
    assert [path for _, path in found] == paths
    assert [module.removeprefix("package.") for module, _ in found] == ["a", "a.b.c.d", "a.z", "a-b.y", "a", "b"]


def test_standard_library_is_found_and_tests_are_not():
    modules = [module for module, _ in find_package("stdlib").files]
    assert {"json.decoder", "json", "textwrap"} <= set(modules)
    assert not [module for module in modules if module.startswith("test.") or "site-packages" in module]


@pytest.mark.parametrize("name", ["nunpy", "os.path", "sys"])
def test_a_package_that_cannot_be_read_is_named(name):
    with pytest.raises(UserError, match=f"data.source.packages: '{name}'"):
        find_package(name)


HERE, FILE, ELSEWHERE = ({"RECORD": f"{name},,\n"} for name in ("glow/__init__.py", "glow.py", "glowing/__init__.py"))


@pytest.mark.parametrize(
    ("installed", "version"),
    [
        ({"glow-1.5": HERE}, "1.5"),
        ({"glow-1.5": FILE}, "1.5"),
        ({"glow-1.5": {**ELSEWHERE, "top_level.txt": "lamp\nglow\n"}, "Lamp-2.0": HERE}, "1.5"),
        ({"Lamp-2.0": HERE}, "2.0"),
        ({"glow-1.5": ELSEWHERE, "Lamp-2.0": HERE}, "2.0"),
        ({"Lamp-2.0": ELSEWHERE}, "unknown"),
    ],
)
def test_a_package_has_the_version_of_what_it_was_installed_with(tmp_path, monkeypatch, installed, version):
    for name, files in installed.items():
        folder = tmp_path / f"{name}.dist-info"
        folder.mkdir()
        for file, content in {**files, "METADATA": "Name: {}\nVersion: {}\n".format(*name.split("-"))}.items():
            (folder / file).write_text(content)
    (tmp_path / "glow").mkdir()
    (tmp_path / "glow" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    _distributions.cache_clear()
    try:
        assert find_package("glow").version == version
    finally:
        _distributions.cache_clear()
