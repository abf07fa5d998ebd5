"""Rules of the house, held against every file: where imports stand, how long functions are, words that say nothing."""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

from tools.structure import imports
from twotower.core.extras import is_extra

ROOT = Path(__file__).resolve().parents[1]
SLOW = {
    *("torch", "pytorch_lightning", "lightning_fabric", "torchmetrics"),
    *("hydra", "numpy", "scipy", "pandas", "pyarrow", "bm25s", "gensim", "faiss", "redis"),
    *("altair", "vl_convert", "textual", "fastapi", "uvicorn", "IPython"),
    *("twotower.cli.sweep_job", "twotower.sweep.session"),
}
"""What takes a tenth of a second or more to load, up to four: `--help`, `runs` and `search` do without, but for
numpy, which the first table of `ui` does without too. Of our own, what a sweep alone needs: a fifteenth of a start."""
LONGEST = 60
"""Lines of a function, its docstring among them."""
SAYS_NOTHING = {"found", "told", "one", "two", "said", "odd", "thing", "stuff", "kin", "spoilt"}
"""No names for what a variable holds or a function does."""
OPTIONAL = {"readline"}
"""Parts of Python that some systems come without."""


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in (ROOT / "twotower").rglob("*.py")}


def loaded_by(node):
    """What an import statement names, the packages around it and the modules that its names may be among it."""
    names = [node.module] if isinstance(node, ast.ImportFrom) else []
    start = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    names += [start + item.name for item in node.names]
    return {".".join(name.split(".")[:length]) for name in names for length in range(1, name.count(".") + 2)}


@cache
def graph():
    """At the top of each module: the modules it loads; in its functions: its import statements."""
    top, inner = defaultdict(set), []
    for name, path in FILES.items():
        for node, inside in imports(ast.parse(path.read_text(encoding="utf-8"))):
            if inside:
                inner.append((name, node))
            else:
                top[name] |= loaded_by(node)
    return top, inner


def closure(names):
    """All that is loaded with some modules: ours, and the first names of others'."""
    seen, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name in FILES and name not in seen:
            waiting += graph()[0][name]
        seen.add(name if name in FILES else name.partition(".")[0])
    return seen


def reason(name, node):
    """Why an import stands in a function of a module, or None."""
    targets = {target for target in loaded_by(node) if target in FILES or not target.startswith("twotower")}
    first = min(targets, key=len)
    new = closure(targets) - closure({name})
    if first in OPTIONAL or (is_extra(first)):
        return "an extra"
    if new & SLOW:
        return "slow to load"
    if name in closure(targets - {"twotower", *(name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1))}):
        return "a circle"
    return None


def test_an_import_in_a_function_is_of_an_extra_or_slow_to_load_or_else_a_circle():
    left = [f"{FILES[name]}:{node.lineno} {ast.unparse(node)}" for name, node in graph()[1] if not reason(name, node)]
    assert not left, "these belong at the top:\n" + "\n".join(left)


def functions():
    for path in FILES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def test_no_function_is_longer_than_a_screen():
    lengths = {f"{path}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1 for path, node in functions()}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_names_say_what_they_name():
    left = []
    for path in FILES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else ""
            name = getattr(node, "arg", "") if isinstance(node, ast.arg) else name
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = node.name
            if name in SAYS_NOTHING or "mend" in name.split("_") or "knock" in name.split("_"):
                left.append(f"{path}:{node.lineno} {name}")
    assert not left, "\n".join(left)


def test_the_rule_tells_a_slow_import_from_a_quick_one():
    slow, quick = ast.parse("import torch").body[0], ast.parse("from rich.text import Text").body[0]
    assert reason("twotower.core.errors", slow) == "slow to load"
    assert reason("twotower.core.errors", quick) is None
    assert reason("twotower.model.module", slow) is None  # loaded at the top of the same file already


def test_every_path_that_a_target_of_the_makefile_names_is_there():
    named = set(re.findall(r"(?<![\w/.-])(?:tests|tools|experiments)/[\w/.-]+", (ROOT / "Makefile").read_text()))
    assert "tests/formats" in named
    assert not [path for path in sorted(named) if not (ROOT / path).exists()]
