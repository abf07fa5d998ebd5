import os
import subprocess
import sys

from twotower.core.host import git_state, host_facts, is_alive, process_started, versions


def test_this_process_is_alive():
    assert is_alive(host_facts()) is True


def test_an_ended_process_is_not():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    facts = {**host_facts(), "pid": process.pid, "process_started": process_started(process.pid)}
    assert is_alive(facts) is True
    process.communicate(b"\n")
    assert is_alive(facts) is False


def test_a_process_number_given_out_again_is_another_process():
    facts = host_facts()
    assert is_alive({**facts, "process_started": facts["process_started"] - 1}) is False


def test_a_machine_started_anew_runs_nothing_of_before():
    assert is_alive({**host_facts(), "boot_id": "another"}) is False


def test_another_machine_is_unknown():
    assert is_alive({**host_facts(), "name": "elsewhere"}) is None


def test_a_zombie_is_gone():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert process_started(pid) is None
    finally:
        os.waitpid(pid, 0)


def test_versions_come_without_imports():
    code = "import sys; from twotower.core.host import versions; versions(); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
    assert "torch" in versions()


def test_git_state_names_this_checkout():
    state = git_state()
    expected = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=os.path.dirname(__file__)
    )
    if expected.returncode == 0:
        assert state["commit"] == expected.stdout.strip()
