"""A small video transformer under the names of the transformers package, written out."""

import torch

WIDTHS = {"embed_dim": 8, "num_heads": 2, "decoder_dim": 6, "decoder_heads": 3}


def published_names(model) -> dict[str, torch.Tensor]:
    """The tensors of a network as published files have them: names, axes and all."""
    own = dict(model.state_dict())
    tensors = {
        "videomae.embeddings.patch_embeddings.projection.weight": own["patches.weight"],
        "videomae.embeddings.patch_embeddings.projection.bias": own["patches.bias"],
        "videomae.layernorm.weight": own["norm.weight"],
        "videomae.layernorm.bias": own["norm.bias"],
        "encoder_to_decoder.weight": own["bridge.weight"],
        "mask_token": own["mask.weight"][None, None],
        "decoder.norm.weight": own["decoder_norm.weight"],
        "decoder.norm.bias": own["decoder_norm.bias"],
        # There the values of a tube are ordered by frame, row, column and colour.
        "decoder.head.weight": torch.einsum("ctijd->tijcd", own["pixels.weight"]).flatten(0, 3),
        "decoder.head.bias": torch.einsum("ctij->tijc", own["pixels.bias"]).flatten(),
    }
    for there, here, blocks in (
        ("videomae.encoder.layer", "blocks", model.blocks),
        ("decoder.decoder_layers", "decoder", model.decoder),
    ):
        for number in range(len(blocks)):
            for name, ours in (
                ("attention.attention.query", "query"),
                ("attention.attention.key", "key"),
                ("attention.attention.value", "value"),
                ("attention.output.dense", "join"),
                ("intermediate.dense", "expand"),
                ("output.dense", "shrink"),
                ("layernorm_before", "norm1"),
                ("layernorm_after", "norm2"),
            ):
                for kind in ("weight", "bias"):
                    if (key := f"{here}.{number}.{ours}.{kind}") in own:
                        tensors[f"{there}.{number}.{name}.{kind}"] = own[key]
    return {name: value.clone().contiguous() for name, value in tensors.items()}
