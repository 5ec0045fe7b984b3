"""A TorchScript archive that writes a file where it is loaded, under any name that a checkpoint may have."""

import torch
from torch import nn


class _WritesWhereItIsLoaded(nn.Module):
    def __init__(self, mark: str) -> None:
        super().__init__()
        self.mark = mark
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[str, torch.Tensor, bool]:
        return self.mark, self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor, bool]) -> None:
        self.mark = state[0]
        self.weight = torch.from_file(self.mark, shared=True, size=3)
        self.training = state[2]


def write_program(path, mark):
    """Save the archive at `path`; loaded as a program, it makes the file `mark`."""
    torch.jit.save(torch.jit.script(_WritesWhereItIsLoaded(str(mark))), path)
