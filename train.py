"""Trains one two-tower model, or with `-m` a sweep: `python train.py -m model=gru,mlp loss=contrastive,triplet`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from twotower.cli.train import job, run


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def train(config: DictConfig) -> float | None:
    """Trains, evaluates and exports what the config says; returns the objective for a sweeper to optimise."""
    return job(config)


if __name__ == "__main__":
    run(train)
