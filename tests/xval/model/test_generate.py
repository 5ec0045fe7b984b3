"""Causal models write on: what each step would have said, numbers included, up to the end."""

import pytest
import torch

from polycli.errors import UserError
from polycli.xval.model.generate import generate
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ModelSection
from polycli.xval.training.objective import FillIn

END, MASK, PAD, NUM = range(4)
SIZES = {"embed_dim": 32, "num_heads": 2, "blocks": 2, "feed_forward": 64, "context": 16, "dropout": 0.0}


@pytest.fixture(scope="module")
def doubler():
    """A model that was taught `[x] -> x, 2 x, x + 1, end`: 4 [NUM] 5 [NUM] [NUM] 6 end."""
    torch.manual_seed(0)
    model = FillIn(Numformer(ModelSection(**SIZES, causal=True), 8))
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    token_ids = torch.tensor([[4, NUM, 5, NUM, NUM, 6, END]]).expand(32, -1)
    at = torch.arange(32 * 7).reshape(32, 7)[:, :-1].flatten()
    is_number = (token_ids[:, 1:] == NUM).flatten()
    for _ in range(160):
        x = torch.rand(32, 1) * 2 - 1
        numbers = torch.cat([torch.ones(32, 1), x, torch.ones(32, 1), 2 * x, x + 1, torch.ones(32, 2)], dim=1)
        batch = {
            "token_ids": token_ids,
            "numbers": numbers,
            "at": at,
            "target_ids": token_ids[:, 1:].flatten(),
            "number_at": at[is_number],
            "number_targets": numbers[:, 1:].flatten()[is_number],
        }
        loss, _ = model(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.model.eval()


def test_numbers_are_written_that_follow_from_those_that_were_given(doubler):
    x = torch.tensor([-0.7, 0.1, 0.5])
    beginnings = torch.tensor([[4, NUM, 5]]).expand(3, -1)
    numbers = torch.stack([torch.ones(3), x, torch.ones(3)], dim=1)

    written = generate(doubler, beginnings, numbers, most=10)

    assert written.ended.all()
    assert written.token_ids.tolist() == [[4, NUM, 5, NUM, NUM, 6, END]] * 3
    torch.testing.assert_close(written.numbers[:, 3], 2 * x, atol=0.25, rtol=0)
    torch.testing.assert_close(written.numbers[:, 4], x + 1, atol=0.25, rtol=0)
    assert (written.numbers[:, [0, 2, 5, 6]] == 1).all()


def test_what_ended_is_filled_up_while_others_go_on(doubler):
    beginnings = torch.tensor([[4, NUM, 5, NUM, NUM, 6], [4, NUM, 5, 4, NUM, 5]])
    written = generate(doubler, beginnings, torch.ones(2, 6), most=3)
    assert written.token_ids[0, 6:].tolist() == [END, *[PAD] * (written.token_ids.shape[1] - 7)]


def test_drawing_is_repeatable(doubler):
    beginnings, numbers = torch.tensor([[4, NUM]]).expand(8, -1), torch.ones(8, 2)
    drawn = [
        generate(doubler, beginnings, numbers, most=6, temperature=5.0, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(drawn[0].token_ids, drawn[1].token_ids)
    assert drawn[0].token_ids.shape != drawn[2].token_ids.shape or not torch.equal(
        drawn[0].token_ids, drawn[2].token_ids
    )


def test_what_cannot_be_written_on_is_refused(doubler):
    masked = Numformer(ModelSection(**SIZES), 8)
    with pytest.raises(UserError, match="fills in, it does not write on"):
        generate(masked, torch.tensor([[4]]), torch.ones(1, 1), most=1)
    with pytest.raises(UserError, match=r"exceed model\.context 16"):
        generate(doubler, torch.tensor([[4]]), torch.ones(1, 1), most=16)
    with pytest.raises(UserError, match="different length"):
        generate(doubler, torch.tensor([[4, PAD]]), torch.ones(1, 2), most=1)
