"""The loss of masked tubes: how much is hidden, what a guess of means scores, and which parameters it moves."""

import pytest
import torch

from polycli.engine.task import World
from polycli.errors import RecipeError
from polycli.mpp.data.about import physics_of
from polycli.mpp.model.baselines.tokens import cut_tubes
from polycli.mpp.model.baselines.vit import VideoTransformer
from polycli.mpp.recipe.networks import VitSection
from polycli.mpp.recipe.training import ObjectiveSection, PretrainRecipe
from polycli.mpp.training.costs import flops_per_sample
from polycli.mpp.training.tubes import MaskedTubes, TubePretraining, standardised
from polycli.recipes import load_recipe
from polycli.store.reader import open_store
from tests.mpp.model.baselines.video import WIDTHS

SECTION = VitSection(
    kind="vit", **WIDTHS, fields=("a.one", "a.two"), blocks=2, decoder_blocks=1, patch_size=4, tubelet=2
)


def tubes(ratio: float = 0.75) -> MaskedTubes:
    torch.manual_seed(2)
    return MaskedTubes(VideoTransformer(SECTION), ObjectiveSection(kind="tubes", mask_ratio=ratio))


def batch(frames: int = 5) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    fields = torch.randn(3, frames, 2, 16, 8, generator=generator).cumsum(dim=3)
    return {"fields": fields, "state_labels": torch.tensor([1, 0]), "bcs": torch.ones(3, 2, dtype=torch.long)}


def test_the_same_part_is_hidden_of_every_sample_at_all_times_and_the_choice_changes_while_training():
    objective = tubes()
    seen = []
    fill = objective.model.fill
    objective.model.fill = lambda *arguments: seen.append(arguments[2:]) or fill(*arguments)
    objective(batch())
    objective(batch())
    objective.eval()(batch())
    objective(batch())
    orders, hidden = zip(*seen, strict=True)
    assert hidden == (6, 6, 6, 6)  # three quarters of 4 x 2 patches
    for order in orders:
        assert torch.equal(order.sort(dim=1).values, torch.arange(8).expand(3, 8))
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0][0], orders[0][1])
    assert torch.equal(orders[2], orders[3])


@pytest.mark.parametrize("datasets", [1, 2])
def test_validation_is_the_same_at_any_micro_batch_size(store_factory, datasets):
    stores = [open_store(store_factory(f"s{index}", seed=index)) for index in range(datasets)]
    fields = physics_of(stores[0].manifest, stores[0].path).fields
    scores = []
    for size in (1, 2, 4):
        recipe = PretrainRecipe(
            family="mpp",
            verb="pretrain",
            model={**SECTION.model_dump(), "fields": fields},
            objective={"kind": "tubes", "mask_ratio": 0.75},
            data={"history": 4, "validation_windows": 4},
            train={"steps": 1, "global_batch_size": 4, "micro_batch_size": size},
        )
        task = TubePretraining(recipe, stores, World())
        task.model.eval()
        with torch.inference_mode():
            scores.append(task.validate(task.model, World()))
    assert scores[1] == pytest.approx(scores[0], rel=1e-5)
    assert scores[2] == pytest.approx(scores[0], rel=1e-5)


def test_the_target_of_each_tube_and_field_has_no_mean_and_unit_variance():
    target = standardised(cut_tubes(batch()["fields"][:, 1:], 2, 4))
    assert target.mean(dim=-1).abs().max() < 1e-5
    torch.testing.assert_close(target.var(dim=-1), torch.ones_like(target[..., 0]), rtol=1e-3, atol=1e-3)


def test_a_guess_of_every_mean_scores_one_and_fields_in_other_units_score_the_same():
    objective = tubes().eval()
    torch.nn.init.zeros_(objective.model.pixels.weight)
    loss, metrics = objective(batch())
    # Unbiased variances: the mean square over the 32 values of a tube is 31 / 32.
    assert loss.item() == pytest.approx(31 / 32, rel=1e-3)
    assert metrics["masked_error"].shape == (3,)
    other = tubes().eval()
    expected = other(batch())[0]
    scaled = batch()
    scaled["fields"] = 300 * scaled["fields"] + torch.tensor([5.0, -1e3]).view(2, 1, 1)
    torch.testing.assert_close(other(scaled)[0], expected, rtol=1e-3, atol=1e-4)


def test_every_parameter_has_a_gradient():
    objective = tubes()
    objective(batch())[0].backward()
    still = [name for name, value in objective.named_parameters() if value.grad is None or not value.grad.any()]
    assert still == []


def test_frames_that_make_no_whole_tube_are_left_out_at_the_front():
    objective = tubes().eval()
    five, later = batch(), batch()
    later["fields"] = later["fields"][:, 1:]
    torch.testing.assert_close(objective(five)[0], objective(later)[0])


def test_hidden_tubes_cost_the_encoder_nothing():
    most, few = (flops_per_sample(SECTION, 4, 2, (32, 32), mask_ratio=ratio) for ratio in (0.9, 0.1))
    assert most < few < flops_per_sample(SECTION, 4, 2, (32, 32))


@pytest.mark.parametrize(
    ("model", "objective", "reason"),
    [
        ("kind: fno", "kind: tubes", "objective.kind tubes needs model.kind vit, not fno"),
        (
            "kind: vit, embed_dim: 8, num_heads: 2, blocks: 1, decoder_dim: 8, decoder_heads: 2, tubelet: 3",
            "kind: tubes",
            "data.history is a context of 4 frames; this network's tubes are 3 frames long",
        ),
        (
            "kind: vit, embed_dim: 8, num_heads: 2, blocks: 1, decoder_dim: 8, decoder_heads: 3",
            "kind: tubes",
            "decoder_dim 8 is not divisible by its 3 heads",
        ),
        (
            "kind: vit, embed_dim: 8, num_heads: 2, blocks: 1, decoder_dim: 8, decoder_heads: 2",
            "kind: tubes, noise: 0.1",
            "objective.noise is for training on next frames; tubes have none",
        ),
    ],
)
def test_recipes_that_cannot_be_are_refused(tmp_path, model, objective, reason):
    path = tmp_path / "r.yaml"
    path.write_text(
        f"family: mpp\nverb: pretrain\nmodel: {{{model}}}\nobjective: {{{objective}}}\ndata: {{history: 4}}\n"
        "train: {steps: 1, global_batch_size: 1, micro_batch_size: 1}\n"
    )
    with pytest.raises(RecipeError) as refused:
        load_recipe(str(path), family="mpp", verb="pretrain")
    assert reason in refused.value.message
