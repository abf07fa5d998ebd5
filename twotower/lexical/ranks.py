"""The best of a matrix of scores, with numpy alone. Shapes: B queries of a block, N documents."""

from __future__ import annotations

import numpy as np


def best_of(scores_BN: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the k highest scores of each row [B, k], descending, equal ones by column, and their columns [B, k].

    Of equal scores at the last rank any are kept.
    """
    columns_BK = np.sort(np.argpartition(-scores_BN, k - 1, axis=1)[:, :k], axis=1)
    scores_BK = np.take_along_axis(scores_BN, columns_BK, axis=1)
    order_BK = np.argsort(-scores_BK, axis=1, kind="stable")
    return np.take_along_axis(scores_BK, order_BK, axis=1), np.take_along_axis(columns_BK, order_BK, axis=1)
