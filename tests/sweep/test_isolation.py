# ruff: noqa: NPY002 - the global generator is what is tested
import gc
import logging
import os
import random
import sys
import weakref

import numpy as np
import torch

from twotower.core.memo import keeping, remember
from twotower.sweep.isolation import isolated, look_again, output_to, share_threads


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


def test_what_a_job_leaves_is_freed_also_after_the_collector_was_told_to_skip_what_was_there():
    look_again()
    try:
        for _ in range(3):
            with isolated():
                left = weakref.ref(Node())
            assert left() is None
        assert gc.get_freeze_count() > 0
    finally:
        look_again()


def is_set_aside(node):
    return not any(item is node for item in gc.get_objects())


def test_what_a_job_keeps_is_set_aside_once_also_where_the_libraries_were():
    look_again()
    gc.freeze()  # as `importing.set_aside` does
    try:
        first = Node()
        with isolated():
            pass
        assert is_set_aside(first)
        second = Node()
        with isolated():
            pass
        assert not is_set_aside(second)
        with keeping():
            for number in range(3):  # makes room for another collection, which is set aside in its turn
                remember("held", number, list)
        assert not is_set_aside(first)
        with isolated():
            pass
        assert is_set_aside(first)
        assert is_set_aside(second)
    finally:
        look_again()


def test_after_a_failure_nothing_is_set_aside():
    look_again()
    try:
        with isolated():
            node = Node()
            raise ZeroDivisionError
    except ZeroDivisionError:
        assert gc.get_freeze_count() == 0
    left = weakref.ref(node)
    del node
    with isolated():
        pass
    assert left() is None
    look_again()
