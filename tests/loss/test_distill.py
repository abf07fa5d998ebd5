"""Distillation, vectors that serve cut short, and BM25 in the logits, against plain arithmetic."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from twotower.core.errors import UserError
from twotower.loss.contrastive import ContrastiveLoss
from twotower.loss.distill import DistillLoss


@pytest.fixture
def batch():
    torch.manual_seed(3)
    query_BD = functional.normalize(torch.randn(4, 8), dim=1).requires_grad_()
    document_ND = functional.normalize(torch.randn(6, 8), dim=1).requires_grad_()
    mask_BN = torch.zeros(4, 6, dtype=torch.bool)
    mask_BN[0, 5] = mask_BN[2, 1] = True
    return query_BD, document_ND, mask_BN


def test_kl_is_that_of_the_two_distributions_over_the_candidates(batch):
    query_BD, document_ND, mask_BN = batch
    teacher_BN = torch.randn(4, 6)
    teacher_BN[1, 4] = math.nan
    loss = DistillLoss(teacher="bm25", temperature=0.1, pairs=0.0)(query_BD, document_ND, mask_BN, teacher_BN).loss
    expected = []
    for row in range(4):
        kept = [n for n in range(6) if not mask_BN[row, n] and not math.isnan(teacher_BN[row, n])]
        student, teacher = (query_BD @ document_ND.T / 0.1)[row, kept], teacher_BN[row, kept]
        expected.append(functional.kl_div(student.log_softmax(0), teacher.softmax(0), reduction="sum"))
    torch.testing.assert_close(loss, torch.stack(expected).mean())
    loss.backward()
    assert query_BD.grad.isfinite().all()
    assert document_ND.grad.isfinite().all()


def test_margin_mse_compares_how_far_the_positive_wins(batch):
    query_BD, document_ND, mask_BN = batch
    teacher_BN = torch.randn(4, 6)
    teacher_BN[3, 3] = math.nan  # no score of the positive: no margin of this query is known
    loss = DistillLoss(teacher="bm25", objective="margin_mse", temperature=0.1, pairs=0.0)
    value = loss(query_BD, document_ND, mask_BN, teacher_BN).loss
    student_BN, gaps = query_BD @ document_ND.T / 0.1, []
    for row in range(3):
        for n in range(6):
            if n != row and not mask_BN[row, n]:
                gap = (student_BN[row, row] - student_BN[row, n]) - (teacher_BN[row, row] - teacher_BN[row, n])
                gaps.append(gap.square())
    torch.testing.assert_close(value, torch.stack(gaps).mean())
    value.backward()
    assert query_BD.grad.isfinite().all()


def test_a_student_that_agrees_has_nothing_to_learn(batch):
    query_BD, document_ND, mask_BN = batch
    teacher_BN = (query_BD @ document_ND.T / 0.1).detach()
    for objective in ("kl", "margin_mse"):
        loss = DistillLoss(teacher="bm25", objective=objective, temperature=0.1, pairs=0.0)
        assert float(loss(query_BD, document_ND, mask_BN, teacher_BN).loss.detach()) == pytest.approx(0, abs=1e-6)


def test_pairs_alone_are_infonce(batch):
    query_BD, document_ND, mask_BN = batch
    own = DistillLoss(teacher="bm25", temperature=0.1, pairs=1.0)(query_BD, document_ND, mask_BN, torch.randn(4, 6))
    plain = ContrastiveLoss(temperature=0.1)(query_BD, document_ND, mask_BN)
    torch.testing.assert_close(own.loss, plain.loss)
    assert own.accuracy == plain.accuracy


def test_dims_are_the_mean_over_the_prefixes_and_the_whole(batch):
    query_BD, document_ND, mask_BN = batch
    plain = ContrastiveLoss(temperature=0.1)
    cut = [
        plain(*(functional.normalize(side[:, :size], dim=1) for side in (query_BD, document_ND)), mask_BN).loss
        for size in (2, 4, 8)
    ]
    value = ContrastiveLoss(temperature=0.1, dims=[4, 2])(query_BD, document_ND, mask_BN)
    torch.testing.assert_close(value.loss, torch.stack(cut).mean())
    assert value.accuracy == plain(query_BD, document_ND, mask_BN).accuracy


def test_bm25_stands_in_the_logits_with_a_weight_that_is_learned(batch):
    query_BD, document_ND, mask_BN = batch
    lexical_BN = torch.rand(4, 6) * 10
    loss = ContrastiveLoss(temperature=0.1, lexical_weight=0.6)
    value = loss(query_BD, document_ND, mask_BN, lexical_BN=lexical_BN).loss
    logits_BN = (query_BD @ document_ND.T / 0.1 + 0.6 * lexical_BN).masked_fill(mask_BN, -torch.inf)
    torch.testing.assert_close(value, functional.cross_entropy(logits_BN, torch.arange(4)))
    value.backward()
    assert loss.log_lexical_weight.grad.abs() > 0
    assert loss.collapsed_value(4, 6) is None
    assert loss.batch_scores == {"lexical_BN": "bm25"}
    assert ContrastiveLoss().batch_scores == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dims": 64}, r"loss\.dims=64 must be a list"),
        ({"dims": [64, 64]}, "names a size twice"),
        ({"dims": [0]}, r"loss\.dims"),
        ({"lexical_weight": 0}, r"loss\.lexical_weight"),
        ({"lexical_weight": 0.6, "chunk": 8}, r"loss\.chunk=null"),
        ({"dims": [4], "chunk": 8}, r"loss\.chunk=null"),
    ],
)
def test_settings_that_cannot_be(settings, said):
    with pytest.raises(UserError, match=said):
        ContrastiveLoss(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"teacher": ""}, "names no teacher"),
        ({"teacher": "bm25", "objective": "mse"}, r"loss\.objective=mse"),
        ({"teacher": "bm25", "pairs": 2}, r"loss\.pairs"),
        ({"teacher": "bm25", "teacher_temperature": 0}, r"loss\.teacher_temperature"),
    ],
)
def test_settings_of_distillation_that_cannot_be(settings, said):
    with pytest.raises(UserError, match=said):
        DistillLoss(**settings)


def test_dims_above_the_vectors_are_refused(batch):
    query_BD, document_ND, mask_BN = batch
    with pytest.raises(UserError, match=r"model\.output_dim is 8"):
        ContrastiveLoss(dims=[16])(query_BD, document_ND, mask_BN)
