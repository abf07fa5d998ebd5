"""Trains one two-tower model, or with `-m` a sweep: `python train.py -m model=gru,mlp loss=contrastive,triplet`."""

from twotower.cli.train import main

if __name__ == "__main__":
    main()
