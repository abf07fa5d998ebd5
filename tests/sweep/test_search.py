"""The search by Optuna, whatever version of it is installed, with a launcher that computes instead of training."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from twotower.core.errors import UserError
from twotower.sweep.search import Search, read_spaces

optuna = pytest.importorskip("optuna", reason="optuna isn't installed")

RANDOM = {"_target_": "optuna.samplers.RandomSampler", "seed": 0}
TPE = {"_target_": "optuna.samplers.TPESampler", "seed": 0, "n_startup_trials": 5, "multivariate": True}
SPACE = ["a.x=interval(0.0,1.0)", "a.n=range(1,9,2)", "kind=good,bad", "a.lr=tag(log,interval(1e-4,1e-2))", "fixed=7"]


class Result:
    def __init__(self, value):
        self.value = value

    @property
    def return_value(self):
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


class Launcher:
    """Notes every job; the best is x = .7 and kind = good. After `stop_after` jobs the process is gone."""

    def __init__(self, stop_after=None, fail=""):
        self.jobs, self.rounds, self.stop_after, self.fail = [], [], stop_after, fail

    def launch(self, jobs, initial_job_idx):
        self.rounds.append((initial_job_idx, len(jobs)))
        results = []
        for job in jobs:
            if self.stop_after is not None and len(self.jobs) == self.stop_after:
                raise KeyboardInterrupt
            self.jobs.append(job)
            values = dict(item.split("=") for item in job)
            wrong = self.fail and self.fail in job
            value = 1 - abs(float(values["a.x"]) - 0.7) - (values["kind"] == "bad")
            results.append(Result(ValueError("told to fail") if wrong else value))
        return results


def search(launcher, folder, **settings):
    Search(**{"sampler": RANDOM, "study_name": "s", "n_trials": 6, **settings}).run(SPACE, launcher, str(folder))
    return launcher


def test_jobs_have_values_of_their_spaces_and_what_all_share(tmp_path):
    launcher = search(Launcher(), tmp_path, n_jobs=4)
    assert launcher.rounds == [(0, 4), (4, 2)]
    for job in launcher.jobs:
        values = dict(item.split("=") for item in job)
        assert 0 <= float(values["a.x"]) <= 1
        assert values["a.n"] in {"1", "3", "5", "7", "9"}
        assert 1e-4 <= float(values["a.lr"]) <= 1e-2
        assert values["kind"] in {"good", "bad"}
        assert values["fixed"] == "7"
    assert len({job[0] for job in launcher.jobs}) == 6
    assert search(Launcher(), tmp_path, n_jobs=4).jobs == launcher.jobs, "a fixed seed chooses the same jobs again"


def test_tpe_goes_where_it_is_better(tmp_path):
    jobs = search(Launcher(), tmp_path, sampler=TPE, n_trials=40).jobs
    late = [dict(item.split("=") for item in job) for job in jobs[25:]]
    assert sum(values["kind"] == "good" for values in late) >= 12
    assert "best_value" in (tmp_path / "optimization_results.yaml").read_text()


def test_a_stored_study_goes_on_without_doing_a_job_twice(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    first = search(Launcher(), tmp_path, storage=storage, n_trials=4).jobs
    later = search(Launcher(), tmp_path, storage=storage, n_trials=10).jobs
    assert (len(first), len(later)) == (4, 6)
    assert not {job[0] for job in first} & {job[0] for job in later}
    assert search(Launcher(), tmp_path, storage=storage, n_trials=10).jobs == []


def test_what_a_killed_process_left_is_tried_again(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    with pytest.raises(KeyboardInterrupt):
        search(Launcher(stop_after=2), tmp_path, storage=storage)
    study = optuna.load_study(study_name="s", storage=storage)
    (left,) = [trial.params for trial in study.trials if trial.state.name == "RUNNING"]
    again = search(Launcher(), tmp_path, storage=storage).jobs
    assert f"a.x={left['a.x']}" in again[0]
    states = [trial.state.name for trial in optuna.load_study(study_name="s", storage=storage).trials]
    assert states.count("RUNNING") == 0
    assert states.count("COMPLETE") == 6


def test_failures_are_told_and_too_many_end_the_search(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    jobs = search(Launcher(fail="kind=bad"), tmp_path, storage=storage, n_trials=8).jobs
    assert len(jobs) == 8
    states = [trial.state.name for trial in optuna.load_study(study_name="s", storage=storage).trials]
    assert states.count("FAIL") == sum("kind=bad" in job for job in jobs) > 0
    assert len(search(Launcher(fail="fixed=7"), tmp_path, max_failure_rate=0.5).jobs) == 1


def test_a_job_without_an_objective_is_a_failed_trial(tmp_path, caplog):
    launcher = Launcher()
    launcher.launch = lambda jobs, initial_job_idx: launcher.jobs.extend(jobs) or [Result(None) for _ in jobs]
    search(launcher, tmp_path, max_failure_rate=0.5)
    assert len(launcher.jobs) == 1
    assert "Job 0 failed: it has no objective; the table of the sweep says why" in caplog.text


def test_the_dashboard_shows_the_study(tmp_path):
    dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard isn't installed")
    storage = f"sqlite:///{tmp_path}/study.db"
    search(Launcher(), tmp_path, storage=storage)
    answer = []
    environment = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/studies", "wsgi.input": None, "SERVER_NAME": "x"}
    environment |= {"SERVER_PORT": "80", "wsgi.url_scheme": "http", "QUERY_STRING": ""}
    body = dashboard.wsgi(storage)(environment, lambda status, headers, *_: answer.append(status))
    (study,) = json.loads(b"".join(body))["study_summaries"]
    assert answer[0].startswith("200")
    assert study["study_name"] == "s"


def test_a_later_argument_takes_the_place_of_an_earlier_one():
    spaces, fixed = read_spaces(["a=1,2", "b=3", "a=5", "b=choice(1,2)"])
    assert fixed == {"a": "5"}
    assert spaces["b"](SimpleNamespace(suggest_categorical=lambda name, choices: (name, choices))) == ("b", [1, 2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"direction": "up"}, "direction=up"),
        ({"n_trials": 0}, "n_trials"),
        ({"max_failure_rate": 2}, "max_failure_rate=2"),
        ({"storage": "sqlite:////nowhere/at/all.db"}, "storage=sqlite:////nowhere/at/all.db: Optuna can't use it"),
        ({"sampler": {"_target_": "os.system"}}, "must be a class of optuna.samplers"),
        ({"sampler": {**RANDOM, "sed": 1}}, "hydra.sweeper.sampler: .*sed"),
    ],
)
def test_mistakes_are_named(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        search(Launcher(), tmp_path, **settings)


def test_an_empty_interval_is_named():
    with pytest.raises(UserError, match="lower end first"):
        read_spaces(["a=interval(2,1)"])
