"""The first search convinces: ten everyday questions over the default run, with the answers a person would accept.

Trains the default run, or takes the one that TWOTOWER_EVERYDAY names (`make everyday RUN=...`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from twotower.search.engine import SearchEngine

ROOT = Path(__file__).resolve().parents[2]
FIRST = 3
"""An answer is to stand among so many first hits."""
AT_LEAST = 9
"""Of the ten questions, so many are to be answered."""
INVERSES = ["numpy.linalg._linalg.inv", "numpy.linalg._linalg.pinv", "numpy.matrixlib.defmatrix.matrix.I"]
INVERSES += ["scipy.linalg._basic.inv", "scipy.linalg._basic.pinv", "sympy.matrices.matrixbase.MatrixBase.inv"]
INVERSES += ["scipy.sparse.linalg._matfuncs.inv", "numpy.linalg._linalg.tensorinv", "scipy.linalg._basic.pinvh"]
QUESTIONS: dict[str, list[str]] = {
    "how do I invert a matrix": INVERSES,
    "how do I sort an array": ["numpy._core.fromnumeric.sort", "numpy.ma.core.MaskedArray.sort", "numpy.ma.core.sort"],
    "read a csv file": ["pandas.io.parsers.readers.read_csv", "csv.DictReader", "polars.read_csv"],
    "merge two data frames": ["pandas.core.frame.DataFrame.merge", "pandas.core.reshape.merge.merge",
                              "pandas.core.reshape.merge.merge_ordered", "pandas.core.frame.DataFrame.join"],
    "shortest path between two nodes": ["networkx.algorithms.shortest_paths.generic.shortest_path",
                                        "networkx.algorithms.shortest_paths.weighted.dijkstra_path",
                                        "networkx.algorithms.shortest_paths.unweighted.bidirectional_shortest_path",
                                        "networkx.algorithms.shortest_paths.unweighted.all_pairs_shortest_path"],
    "solve a system of linear equations": ["numpy.linalg._linalg.solve", "scipy.linalg._basic.solve",
                                           "sympy.solvers.solvers.solve_linear_system",
                                           "sympy.solvers.solveset.linsolve"],
    "eigenvalues of a matrix": ["numpy.linalg._linalg.eigvals", "numpy.linalg._linalg.eig",
                                "numpy.linalg._linalg.eigh", "scipy.linalg._decomp.eigvals",
                                "scipy.linalg._decomp.eig"],
    "fast fourier transform": ["numpy.fft._pocketfft.fft", "scipy.fft._basic.fft", "sympy.discrete.transforms.fft"],
    "copy a file": ["shutil.copy", "shutil.copy2", "shutil.copyfile", "distutils.file_util.copy_file"],
    "delete a directory and everything in it": ["shutil.rmtree", "distutils.dir_util.remove_tree"],
}  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    run = os.environ.get("TWOTOWER_EVERYDAY")
    if not run:
        run = tmp_path_factory.mktemp("everyday") / "run"
        command = [sys.executable, str(ROOT / "train.py"), f"hydra.run.dir={run}"]
        subprocess.run(command, cwd=ROOT, check=True, timeout=1800, capture_output=True)
    return SearchEngine.open(run)


@pytest.fixture(scope="module")
def ranks(engine):
    """The rank of the best answer to each question, 101 for none among the first hundred."""
    found = {}
    for question, answers in QUESTIONS.items():
        ids = [hit.doc_id for hit in engine.search(question, 100).hits]
        found[question] = next((rank for rank, name in enumerate(ids, start=1) if name in answers), 101)
    print("\n" + "\n".join(f"{rank:4}  {question}" for question, rank in found.items()))
    return found


@pytest.mark.slow
def test_an_inverse_is_among_the_first_when_one_asks_how_to_invert_a_matrix(ranks):
    assert ranks["how do I invert a matrix"] <= FIRST


@pytest.mark.slow
def test_everyday_questions_are_answered(ranks):
    answered = [question for question, rank in ranks.items() if rank <= FIRST]
    assert len(answered) >= AT_LEAST, ranks
