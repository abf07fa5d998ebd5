"""Comet without an account: Lightning 2.6's own logger takes `online=false` for "log nothing at all"."""

from __future__ import annotations

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import CometLogger


class OfflineCometLogger(CometLogger):
    """Writes an archive that `comet upload` sends later, when the run ends; with `online=true` it sends at once.

    Arguments are those of Lightning's `CometLogger`.
    """

    def _create_experiment(self) -> None:
        import comet_ml

        self._comet_config = comet_ml.ExperimentConfig(**self._kwargs)
        super()._create_experiment()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Ends the experiment, which is what writes the archive."""
        if self._experiment is not None:
            self._experiment.log_other("status", status)
            self._experiment.end()
