"""Objects per second of embedding, bfloat16 against float32 in turns, and of reading: `python
benchmarks/astroclip_embedding.py`.

The encoders have random weights and published sizes, or those asked for. On processors without bfloat16 instructions
torch's own products in bfloat16 are slow, and the ratio says little; which kind this is, is said.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from polycli.astroclip.data.store import ObjectStore, open_objects
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.prepare import run
from polycli.astroclip.recipe.model import MODALITIES, ImageSection, ModelSection, SpectrumSection
from polycli.astroclip.scoring.encode import Encoder
from polycli.nn.products import CPU_MULTIPLIES_BFLOAT16
from polycli.requests import PrepareRequest

#: Widths, depths and heads of the ViTs of DINOv2's paper.
SIZES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        path = options.store
        if path is None:
            path = Path(scratch) / "mock.zarr"
            overrides = (f"mock.objects={options.objects}",)
            run(PrepareRequest(source="mock", inputs=(), output=path, overrides=overrides))
        compare(open_objects(path), options)


def compare(store: ObjectStore, options: argparse.Namespace) -> None:
    width, depth, heads = SIZES[options.size]
    torch.manual_seed(0)
    model = AstroClip(
        ModelSection(
            image=ImageSection(embed_dim=width, depth=depth, num_heads=heads),
            spectrum=SpectrumSection(embed_dim=options.spectrum_width, depth=6, num_heads=6),
        )
    ).eval()
    if torch.cuda.is_available():
        machine = torch.cuda.get_device_name()
    else:
        has = "with" if CPU_MULTIPLIES_BFLOAT16 else "without"
        machine = f"{os.cpu_count()} processors {has} bfloat16 instructions, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}; ViT {options.size}, SpecFormer of width {options.spectrum_width}, batches of {options.batch}")
    rows = np.arange(min(len(store), options.objects))
    for modality in MODALITIES:
        read = store.read_images if modality == "image" else store.read_spectra
        rates: dict[str, list[float]] = {"float32": [], "bfloat16": [], "reading": []}
        for turn in range(options.runs + 1):
            made: dict[str, float] = {}
            precisions: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
            for precision in precisions:
                encoder = Encoder(model, store, precision=precision, batch_size=options.batch)
                start = time.perf_counter()
                encoder.vectors(modality, rows)
                made[precision] = len(rows) / (time.perf_counter() - start)
            start = time.perf_counter()
            for batch in encoder.batches(rows):
                read(batch)
            made["reading"] = len(rows) / (time.perf_counter() - start)
            if turn:  # The first turn warms up.
                for name, rate in made.items():
                    rates[name].append(rate)
        float32, bfloat16, reading = (statistics.median(rates[name]) for name in ("float32", "bfloat16", "reading"))
        ratio = statistics.median(b / f for f, b in zip(rates["float32"], rates["bfloat16"], strict=True))
        print(
            f"{modality:<8} float32 {float32:7.1f}/s, bfloat16 {bfloat16:7.1f}/s ({ratio:.2f}x), "
            f"the store gives {reading:.0f}/s, {reading / max(float32, bfloat16):.0f}x what the encoder eats"
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="prepared pairs; simulated ones are prepared if absent")
    parser.add_argument("--objects", type=int, default=64)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--spectrum-width", type=int, default=768)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="where a store is prepared")
    return parser.parse_args()


if __name__ == "__main__":
    main()
