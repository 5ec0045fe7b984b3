"""InfoNCE: the original's loss, the same over two ranks as on one, and with embeddings recomputed in chunks."""

import pytest
import torch
from safetensors.torch import load_file

from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.training.contrastive import info_nce, ranks_of_partners, unit_vectors
from tests.astroclip.training.start_ranks import start


@pytest.fixture(scope="module")
def alignment(tmp_path_factory):
    """Loss and gradients of the same batch on one rank and on two."""
    folder = tmp_path_factory.mktemp("align")
    generator = torch.Generator().manual_seed(0)
    inputs = {
        "image": 0.1 * torch.randn(8, 3, 30, 30, generator=generator),
        "flux": torch.randn(8, 400, generator=generator),
        "keys": keys_of(0, torch.arange(8)),
    }
    torch.save(inputs, folder / "inputs.pt")
    for ranks in (1, 2):
        start("align", folder, ranks)
    return [torch.load(folder / f"outputs-{ranks}.pt", weights_only=True) for ranks in (1, 2)]


@pytest.mark.distributed
@pytest.mark.parametrize("chunks", ["whole", "2", "1"])
def test_two_ranks_have_the_loss_and_the_gradients_of_one_with_and_without_chunks(alignment, chunks):
    one, two = alignment
    expected = {name.removeprefix("whole/"): value for name, value in one.items() if name.startswith("whole/")}

    for found in (one, two):
        assert float((found[f"{chunks}/loss"] - expected["loss"]).abs() / expected["loss"]) < 1e-6
        for name, value in expected.items():
            difference = (found[f"{chunks}/{name}"] - value).norm()
            assert float(difference) <= 1e-5 * float(value.norm()) + 1e-8, name
    # The loss is one among eight, not among the four of each rank.
    assert len(expected) > 40
    assert float(expected["log_scale"].abs()) > 1e-4


def test_the_loss_is_that_of_the_original(shared):
    reference = load_file(shared / "parity" / "astroclip_model.safetensors")

    loss = info_nce(reference["output.image_embedding"], reference["output.spectrum_embedding"]).mean()

    assert float((loss - reference["output.loss"]).abs() / reference["output.loss"]) < 1e-5


def test_vectors_shorter_than_a_thousandth_are_not_blown_up():
    vectors = torch.tensor([[3.0, 4.0], [3e-4, 4e-4]])
    torch.testing.assert_close(unit_vectors(vectors), torch.tensor([[0.6, 0.8], [0.3, 0.4]]))


def test_ranks_count_how_many_are_nearer_than_the_partner():
    one = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    other = torch.tensor([[2.0, 0.1], [1.0, 1.0], [5.0, 0.0]])

    assert ranks_of_partners(one, other).tolist() == [1, 0, 2]
