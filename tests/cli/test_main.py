import errno
from pathlib import Path

import pytest

from twotower.cli import main


def test_the_module_runs_as_the_command_does(tmp_path):
    import subprocess
    import sys

    command = [sys.executable, "-m", "twotower.cli.main", "runs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "No run matches" in done.stdout


def test_the_list_of_commands_is_that_of_the_files_and_loads_none_of_them(tmp_path):
    import subprocess
    import sys

    shared = {"__init__", "completion", "main", "options", "sweep_job"}
    files = {path.stem for path in Path(main.__file__).parent.glob("*.py")}
    assert sorted(files - shared) == list(main.COMMANDS)
    for name in main.COMMANDS:
        assert main.cli.get_command(None, name) is not None
    code = (
        "import sys; from twotower.cli.main import COMMANDS, cli; cli(['--help'], standalone_mode=False); "
        "sys.exit(any(f'twotower.cli.{name}' in sys.modules for name in COMMANDS))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    for name, text in main.COMMANDS.items():
        assert any(line.split(maxsplit=1) == [name, text] for line in done.stdout.splitlines()), name


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "cannot write: No space left on device."),
        (OSError(errno.EFBIG, "File too large"), "cannot write: File too large."),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "cannot write /x/y: No space left on device."),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), "cannot write /x/y: Permission denied."),
    ],
)
def test_a_disk_that_takes_nothing_is_one_line_and_exit_code_2(monkeypatch, capsys, error, told):
    def fail(**_):
        raise error

    monkeypatch.setattr(main, "cli", fail)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.strip() == f"twotower: {told}"


def test_other_errors_of_the_system_stay_errors(monkeypatch):
    def fail(**_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(main, "cli", fail)
    with pytest.raises(OSError, match="Input/output error"):
        main.main()


def test_training_tells_of_a_full_disk_without_a_file_name():
    from twotower.cli.train import closed_to_us

    assert "TWOTOWER_CACHE" in closed_to_us(OSError(errno.ENOSPC, "No space left on device"))
    assert "File too large" in closed_to_us(OSError(errno.EFBIG, "File too large"))
    assert "/x/y" in closed_to_us(PermissionError(errno.EACCES, "Permission denied", "/x/y"))
    assert closed_to_us(OSError(errno.EIO, "Input/output error")) is None


def test_a_mistake_in_an_option_is_one_line_that_names_the_help(tmp_path):
    import subprocess
    import sys

    for words, message in (
        (["search", "-k", "0", "x"], "'-k'"),
        (["search", "--wbe"], "--web"),
        (["evaluate", "--split"], "--split"),
    ):
        command = [sys.executable, "-m", "twotower.cli.main", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert message in done.stderr
        assert "--help`" in done.stderr
