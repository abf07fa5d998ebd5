"""Weighted bags against torch's own autograd, dropout against its expectation."""

from __future__ import annotations

import pytest
import torch

from twotower.kernels.bag import Dropout, distinct_words, kept, weighted_bag, word_sums


def test_value_and_gradient_equal_a_dense_product():
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(7, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    offsets = torch.tensor([0, 3, 3, 9, 10])
    place = torch.randint(0, 6, (10,), generator=generator)  # word 6 occurs nowhere
    weight = torch.rand(10, generator=generator, dtype=torch.float64)
    matrix = torch.zeros(4, 7, dtype=torch.float64)
    row = torch.repeat_interleave(torch.arange(4), offsets.diff())
    matrix.index_put_((row, place), weight, accumulate=True)
    upstream = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    (expected,) = torch.autograd.grad(matrix @ table, table, upstream)
    sums = weighted_bag(table, place, offsets, weight)
    (found,) = torch.autograd.grad(sums, table, upstream)
    torch.testing.assert_close(sums, matrix @ table)
    torch.testing.assert_close(found, expected)


def test_a_batch_without_tokens_gives_zeros_and_a_gradient():
    table = torch.ones(2, 3, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int64)
    sums = weighted_bag(table, none, torch.zeros(4, dtype=torch.int64), torch.zeros(0))
    sums.sum().backward()
    assert sums.shape == (3, 3)
    assert not table.grad.any()


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("rows", [True, False])
def test_word_sums_of_two_sides_equal_a_dense_product(weighted, rows):
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(7, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(7, generator=generator, dtype=torch.float64, requires_grad=True) if weighted else None
    found, expected = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for offsets in (torch.tensor([0, 3, 3, 9, 10]), torch.tensor([0, 4, 10])):
        ids = torch.randint(0, 6, (10,), generator=generator)  # word 6 occurs nowhere
        count = torch.rand(10, generator=generator, dtype=torch.float64)
        matrix = torch.zeros(len(offsets) - 1, 7, dtype=torch.float64)
        row = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
        matrix.index_put_((row, ids), count, accumulate=True)
        dense = matrix @ (table if weight is None else table * weight[:, None])
        upstream = torch.randn(dense.shape, generator=generator, dtype=torch.float64)
        sums = word_sums(table, weight, ids, offsets, count, rows=rows)
        torch.testing.assert_close(sums, dense)
        found, expected = found + (sums * upstream).sum(), expected + (dense * upstream).sum()
    leaves = [table] if weight is None else [table, weight]
    gradients = torch.autograd.grad(found, leaves)
    assert gradients[0].is_sparse == rows
    for gradient, wanted in zip(gradients, torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(gradient.to_dense() if gradient.is_sparse else gradient, wanted)


def test_word_sums_of_no_words_are_zeros_with_a_gradient():
    table, none = torch.ones(2, 3, requires_grad=True), torch.zeros(0, dtype=torch.int64)
    sums = word_sums(table, torch.ones(2), none, torch.zeros(4, dtype=torch.int64), torch.zeros(0), rows=True)
    sums.sum().backward()
    assert sums.shape == (3, 3)
    assert not table.grad.any()


def test_distinct_words_name_each_once():
    ids = torch.tensor([5, 2, 5, 9, 2])
    words, place = distinct_words(ids, 12)
    assert words.tolist() == [2, 5, 9]
    assert torch.equal(words[place], ids)


def test_dropout_keeps_the_share_and_the_mean():
    torch.manual_seed(0)
    shape = torch.Size([400, 501])
    assert abs(kept(shape, 0.3, torch.device("cpu")).double().mean() - 0.7) < 0.005
    layer, ones = Dropout(0.4), torch.ones(shape)
    dropped = layer(ones)
    assert set(dropped.unique().tolist()) == {0.0, float(torch.tensor(1.0) / 0.6)}
    assert abs(dropped.mean() - 1) < 0.01
    assert torch.equal(layer.eval()(ones), ones)
    torch.manual_seed(0)
    first = kept(shape, 0.3, torch.device("cpu"))
    torch.manual_seed(0)
    assert torch.equal(first, kept(shape, 0.3, torch.device("cpu")))
