"""DINOv2's losses against formulas written anew in numpy."""

import numpy as np
import pytest
import torch

from polycli.astroclip.training.distillation_losses import (
    PrototypeHead,
    cross_entropy,
    entropy,
    koleo,
    sinkhorn_targets,
    softmax_targets,
    spread,
)


@pytest.fixture
def logits():
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()


def softmax(values):
    shares = np.exp(values - values.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def test_targets_are_centred_and_sharpened(logits):
    centre = np.linspace(-1, 1, 5)
    found = softmax_targets(torch.from_numpy(logits), torch.from_numpy(centre), 0.3)
    np.testing.assert_allclose(found.numpy(), softmax((logits - centre) / 0.3), rtol=1e-10)


def test_cross_entropy_and_entropy_are_those_of_the_formulas(logits):
    target = softmax(logits[::-1] / 0.5)
    found = cross_entropy(torch.from_numpy(target), torch.from_numpy(logits), 0.1)
    np.testing.assert_allclose(found.numpy(), -(target * np.log(softmax(logits / 0.1))).sum(axis=1), rtol=1e-8)
    expected = -(target * np.log(target)).sum(axis=1)
    np.testing.assert_allclose(entropy(torch.from_numpy(target)).numpy(), expected, rtol=1e-10)


def test_a_student_that_says_what_the_teacher_says_reaches_the_teachers_entropy(logits):
    target = torch.from_numpy(softmax(logits / 0.2))
    torch.testing.assert_close(cross_entropy(target, torch.from_numpy(logits), 0.2), entropy(target))


def test_sinkhorn_shares_out_rows_exactly_and_prototypes_nearly(logits):
    # Mild logits, whose iterations have converged after three turns.
    found = sinkhorn_targets(torch.from_numpy(logits), 2.0).numpy()
    np.testing.assert_allclose(found.sum(axis=1), np.ones(7), rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=0), np.full(5, 7 / 5), rtol=1e-2)


def test_sinkhorn_is_three_turns_of_scaling_columns_and_rows(logits):
    shares = np.exp(logits / 0.5)
    for _ in range(3):
        shares /= shares.sum(axis=0, keepdims=True) * 5
        shares /= shares.sum(axis=1, keepdims=True) * 7
    np.testing.assert_allclose(sinkhorn_targets(torch.from_numpy(logits), 0.5).numpy(), shares * 7, rtol=1e-10)


def test_sinkhorn_of_sharp_or_of_no_logits_is_finite():
    sharp = sinkhorn_targets(torch.tensor([[1.0, -1.0], [1.0, -1.0]]), 0.004)
    assert torch.isfinite(sharp).all()
    assert sinkhorn_targets(torch.empty(0, 4), 0.1).shape == (0, 4)


def test_koleo_is_the_mean_logarithm_of_the_nearest_distance():
    vectors = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).numpy()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = np.linalg.norm(unit[:, None] - unit[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    found = koleo(torch.from_numpy(vectors))
    np.testing.assert_allclose(found.numpy(), -np.log(distances.min(axis=1)), rtol=1e-4)


def test_koleo_asks_no_other_rank_so_that_any_number_of_them_computes_the_same(monkeypatch):
    vectors = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    alone = koleo(vectors)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    assert torch.equal(koleo(vectors), alone)


def test_koleo_pushes_the_nearest_two_apart_and_a_single_one_nowhere():
    vectors = torch.tensor([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.2]], requires_grad=True)
    koleo(vectors).sum().backward()
    assert vectors.grad[0, 1] > 0  # a step against the gradient takes the first one away from the second
    alone = torch.ones(1, 3, requires_grad=True)
    koleo(alone).sum().backward()
    assert torch.equal(alone.grad, torch.zeros(1, 3))


def test_koleo_of_two_equal_vectors_has_gradients_that_are_numbers():
    vectors = torch.tensor([[1.0, 0.5], [1.0, 0.5], [-1.0, 0.2]], requires_grad=True)
    loss = koleo(vectors)
    loss.mean().backward()
    assert loss[:2].tolist() == pytest.approx([-np.log(1e-6)] * 2)
    assert torch.equal(vectors.grad[1], torch.zeros(2))  # the first one is the third one's nearest, too
    assert vectors.grad.isfinite().all()


def test_spread_is_zero_of_one_vector_and_one_of_opposite_ones():
    assert float(spread(torch.ones(4, 3))) == pytest.approx(0, abs=1e-3)
    assert float(spread(torch.tensor([[2.0, 0.0], [-1.0, 0.0]]))) == pytest.approx(1)


def test_the_heads_logits_are_cosines_and_a_frozen_last_layer_gets_no_gradient():
    torch.manual_seed(0)
    head = PrototypeHead(4, width=8, bottleneck=3, prototypes=6)
    vectors = torch.randn(5, 4)
    found = head(vectors)
    short, prototypes = head.layers(vectors).detach().numpy(), head.prototypes.detach().numpy()
    expected = (short / np.linalg.norm(short, axis=1, keepdims=True)) @ (
        prototypes / np.linalg.norm(prototypes, axis=1, keepdims=True)
    ).T
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=1e-6)

    head(vectors, frozen=True).square().sum().backward()
    assert torch.equal(head.prototypes.grad, torch.zeros(6, 3))
    assert head.layers[0].weight.grad.abs().sum() > 0
