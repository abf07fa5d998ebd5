"""A search by Optuna: values are asked for and results told through its public interface.

A study in a storage is shared and goes on: `n_trials` counts what it holds already, trials of a process that was killed
are tried again, and `optuna-dashboard STORAGE` shows it. Without one, a fixed seed chooses the same jobs again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer
from omegaconf import OmegaConf

from twotower.core.errors import UserError
from twotower.core.extras import missing
from twotower.core.validators import check_choice, check_count

log = logging.getLogger(__name__)

Suggest = Callable[[Any], Any]
"""Asks a trial for the value of one parameter."""
SAMPLERS = "optuna.samplers."


class Search:
    """The settings of a search, those of `hydra.sweeper`.

    Args:
        sampler: `_target_`, a class of optuna.samplers, with its settings; with a `seed` jobs are chosen alike again.
        direction: maximize or minimize.
        storage: where the study is kept: `sqlite:///study.db` or any address of Optuna's; null: in memory.
        study_name: its name there.
        n_trials: jobs in all.
        n_jobs: jobs of a round, which a launcher may run at once.
        max_failure_rate: the search ends when more of a round's jobs failed.
        params: spaces written in a file: {optimizer.lr: "interval(1e-4,1e-2)"}; the command line's go before.
    """

    def __init__(
        self,
        *,
        sampler: Mapping[str, Any],
        direction: Literal["maximize", "minimize"] = "maximize",
        storage: str | None = None,
        study_name: str | None = None,
        n_trials: int = 20,
        n_jobs: int = 1,
        max_failure_rate: float = 1.0,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        check_choice("hydra.sweeper.direction", direction, ("maximize", "minimize"))
        check_count("hydra.sweeper.n_trials", n_trials)
        check_count("hydra.sweeper.n_jobs", n_jobs)
        if not 0 <= max_failure_rate <= 1:
            raise UserError(f"hydra.sweeper.max_failure_rate={max_failure_rate}: must be from 0 to 1.")
        self.sampler, self.direction, self.storage, self.study_name = dict(sampler), direction, storage, study_name
        self.n_trials, self.n_jobs, self.max_failure_rate = n_trials, n_jobs, max_failure_rate
        self.params = dict(params or {})

    def run(self, arguments: Sequence[str], launcher: Any, sweep_dir: str) -> None:
        """Asks for jobs, launches them and tells Optuna what they reached, until there are `n_trials`.

        Args:
            arguments: overrides, fixed ones and spaces.
            launcher: Hydra's launcher.
            sweep_dir: where `optimization_results.yaml` goes.

        Raises:
            UserError: for a space that can't be searched, a missing package, or a storage that can't be used.
        """
        spaces, fixed = read_spaces([*(f"{key}={value}" for key, value in self.params.items()), *arguments])
        study = self._study()
        left, started = self.n_trials - _goes_on(study), 0
        while left > 0:
            trials = [study.ask() for _ in range(min(left, self.n_jobs))]
            jobs = [
                tuple(f"{name}={value}" for name, value in {**_values(trial, spaces), **fixed}.items())
                for trial in trials
            ]
            returns = launcher.launch(jobs, initial_job_idx=started)
            started, left = started + len(returns), left - len(trials)
            failed = sum(not _tell(study, trial, result) for trial, result in zip(trials, returns, strict=True))
            if failed / len(returns) > self.max_failure_rate:
                log.error("%d of %d jobs of this round failed: the search ends.", failed, len(returns))
                break
        _write_best(study, Path(sweep_dir))

    def _study(self) -> Any:
        try:
            import optuna
        except ImportError as error:
            raise missing("hydra/sweeper=optuna", "optuna") from error
        try:
            study = optuna.create_study(
                study_name=self.study_name, storage=self.storage, direction=self.direction, load_if_exists=True
            )
        except (optuna.exceptions.OptunaError, ImportError, ValueError, OSError) as error:
            raise self._refused(error) from error
        except Exception as error:  # of the storage's own package, such as SQLAlchemy's
            if self.storage is None:
                raise
            raise self._refused(error) from error
        study.sampler = self._sampler(optuna, len(study.trials))
        return study

    def _refused(self, error: Exception) -> UserError:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return UserError(f"hydra.sweeper.storage={self.storage}: Optuna can't use it ({reason}).")

    def _sampler(self, optuna: Any, trials: int) -> Any:
        """Makes the sampler; one that goes on with a study must not draw its first trials again."""
        settings = dict(self.sampler)
        target = str(settings.pop("_target_", ""))
        kind = getattr(optuna.samplers, target.removeprefix(SAMPLERS), None) if target.startswith(SAMPLERS) else None
        if kind is None:
            raise UserError(f"hydra.sweeper.sampler._target_={target}: must be a class of optuna.samplers.")
        if settings.get("seed") is not None:
            settings["seed"] = int(settings["seed"]) + trials
        try:
            return kind(**settings)
        except TypeError as error:
            raise UserError(f"hydra.sweeper.sampler: {error}.") from error


def read_spaces(arguments: Sequence[str]) -> tuple[dict[str, Suggest], dict[str, str]]:
    """Sorts overrides into those that are searched over and those that all jobs share.

    Args:
        arguments: as on the command line; a later one of the same key takes the place of an earlier.

    Returns:
        How to ask for each searched value, and the fixed values, by key.

    Raises:
        UserError: for a kind of space that Optuna has nothing for.
    """
    spaces: dict[str, Suggest] = {}
    fixed: dict[str, str] = {}
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        key = override.get_key_element()
        spaces.pop(key, None)
        fixed.pop(key, None)
        if override.is_sweep_override():
            spaces[key] = _space(key, override)
        else:
            fixed[key] = override.get_value_element_as_str()
    return spaces, fixed


def _space(key: str, override: Override) -> Suggest:
    value = override.value()
    if isinstance(value, IntervalSweep):
        return _numbers(key, value.start, value.end, None, log="log" in value.tags)
    if isinstance(value, RangeSweep) and not value.shuffle:
        return _numbers(key, value.start, value.stop, value.step, log=False)
    if override.is_choice_sweep() or isinstance(value, RangeSweep):
        choices = list(override.sweep_iterator(transformer=Transformer.encode))
        return lambda trial: trial.suggest_categorical(key, choices)
    raise UserError(f"{override.input_line}: Optuna searches over choices, ranges and intervals.")


def _numbers(key: str, low: Any, high: Any, step: Any, *, log: bool) -> Suggest:
    if low is None or high is None or low > high or (log and low <= 0):
        raise UserError(f"{key}: an interval needs its lower end first, and above 0 where it is searched by log.")
    parts = [low, high, *([] if step is None else [step])]
    if all(isinstance(item, int) for item in parts):
        return lambda trial: trial.suggest_int(key, low, high, step=step or 1, log=log)
    return lambda trial: trial.suggest_float(key, float(low), float(high), step=step, log=log)


def _values(trial: Any, spaces: Mapping[str, Suggest]) -> dict[str, Any]:
    return {key: suggest(trial) for key, suggest in spaces.items()}


def _goes_on(study: Any) -> int:
    """Returns how many trials have ended; those that a killed process left running are put in line again."""
    from optuna.trial import TrialState

    ended = 0
    for trial in study.trials:
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)
        elif trial.state.is_finished():
            ended += 1
    if study.trials:
        log.info("Study %s goes on: %d trials have ended", study.study_name, ended)
    return ended


def _tell(study: Any, trial: Any, result: Any) -> bool:
    """Tells Optuna what a job reached; returns whether it ended well."""
    from optuna.trial import TrialState

    value, reason = None, "it has no objective; the table of the sweep says why"
    try:
        value = result.return_value
    except Exception as error:  # whatever the job raised
        reason = str(error)
    if value is None:
        log.warning("Job %s failed: %s", trial.number, reason)
        study.tell(trial, state=TrialState.FAIL)
        return False
    study.tell(trial, float(value))
    return True


def _write_best(study: Any, folder: Path) -> None:
    from optuna.trial import TrialState

    if not any(trial.state == TrialState.COMPLETE for trial in study.trials):
        return
    best = {"name": "optuna", "best_params": study.best_trial.params, "best_value": study.best_trial.value}
    log.info("Best value %s with %s", best["best_value"], best["best_params"])
    OmegaConf.save(OmegaConf.create(best), folder / "optimization_results.yaml")
