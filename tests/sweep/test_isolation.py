# ruff: noqa: NPY002 - the global generator is what is tested
import contextlib
import logging
import os
import random
import sys
import weakref

import numpy as np
import torch

from twotower.sweep.isolation import isolated, output_to, share_threads


def test_a_job_leaves_the_process_as_it_found_it(monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    torch.use_deterministic_algorithms(False)  # another test may have trained in this process
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = (random.random(), np.random.rand(), torch.rand(1).item())
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    threads, handlers = torch.get_num_threads(), list(logging.getLogger("twotower").handlers)
    with isolated():
        random.seed(9), np.random.seed(9), torch.manual_seed(9)
        torch.set_num_threads(threads + 1)
        torch.use_deterministic_algorithms(True)
        torch.set_float32_matmul_precision("medium")
        os.environ["PL_GLOBAL_SEED"] = "9"
        os.environ["OMP_NUM_THREADS_BEFORE"] = os.environ.get("OMP_NUM_THREADS", "")
        logging.getLogger("twotower").addHandler(logging.NullHandler())
        logging.getLogger("twotower").setLevel(logging.DEBUG)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_float32_matmul_precision() == "highest"
    assert "PL_GLOBAL_SEED" not in os.environ
    assert logging.getLogger("twotower").handlers == handlers
    assert logging.getLogger("twotower").level == logging.NOTSET


def test_an_open_wandb_run_ends_as_a_failure(monkeypatch):
    ended = []

    class Wandb:
        run = object()

        @staticmethod
        def finish(exit_code):
            ended.append(exit_code)

    monkeypatch.setitem(sys.modules, "wandb", Wandb)
    with isolated():
        pass
    assert ended == [1]


def test_output_goes_to_the_file_and_kept_streams_stay_usable(tmp_path, capsys):
    kept = []
    for number in (1, 2):
        with output_to(tmp_path / f"{number}.log", show=False):
            print("job", number)
            kept.append(sys.stderr)
            for stream in kept:
                print("written to a stream found before", file=stream)
    print("written after both", file=kept[0])
    assert (tmp_path / "1.log").read_text() == "job 1\nwritten to a stream found before\n"
    assert (tmp_path / "2.log").read_text() == "job 2\n" + "written to a stream found before\n" * 2
    assert capsys.readouterr().err == "written after both\n"


def test_shown_jobs_print_to_the_terminal(tmp_path, capsys):
    with output_to(tmp_path / "log", show=True):
        print("here")
    assert capsys.readouterr().out == "here\n"
    assert not (tmp_path / "log").exists()


def test_cores_are_shared_out_but_what_the_user_set_stays(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    before = torch.get_num_threads()
    try:
        monkeypatch.setenv("MKL_NUM_THREADS", "3")
        share_threads(4)
        assert os.environ["OMP_NUM_THREADS"] == "2"
        assert os.environ["MKL_NUM_THREADS"] == "3"
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
            os.environ.pop(name, None)


class Node:
    """Something only the collector can free."""

    def __init__(self):
        self.itself = self


def test_what_a_job_leaves_is_freed_whether_it_ended_well_or_failed():
    for _ in range(3):
        with isolated():
            left = weakref.ref(Node())
        assert left() is None
    with contextlib.suppress(ZeroDivisionError), isolated():
        left = weakref.ref(Node())
        raise ZeroDivisionError
    assert left() is None
