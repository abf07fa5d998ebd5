def test_the_module_runs_as_the_command_does(tmp_path):
    import subprocess
    import sys

    command = [sys.executable, "-m", "twotower.commands.main", "runs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "No run matches" in done.stdout
