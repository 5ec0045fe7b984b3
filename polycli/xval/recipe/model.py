"""The sections that training recipes of this family are made of: model, data, objective, head."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from polycli.sections import MOST_BLOCKS, WIDEST, ReadAhead, Section, StoreCheck

EncodingName = Literal["xval", "multiscale", "fone", "bits", "p10", "p1000", "b1999", "fp15"]


class ModelSection(Section):
    """The transformer of xVal (Golkar et al. 2023, section 2), and how numbers enter and leave it."""

    encoding: EncodingName = Field(
        "xval",
        description="how numbers are written: one scaled vector (xval), with a bank of scales (multiscale), waves of "
        "their digits (fone), bits of float64 (bits), or as text",
    )
    exponents: tuple[int, int] | None = Field(
        None,
        description="lowest and highest power of ten of the text encodings, and of fone's digits; what covers the data "
        "if absent",
    )
    embed_dim: PositiveInt = Field(768, le=WIDEST, description="width; the paper's is 768")
    num_heads: PositiveInt = Field(6, description="attention heads; the paper's 6")
    blocks: PositiveInt = Field(6, le=MOST_BLOCKS, description="layers of the transformer; the paper's 6")
    feed_forward: PositiveInt = Field(3072, le=WIDEST, description="width inside blocks and heads; the paper's 3072")
    context: PositiveInt = Field(1024, le=WIDEST, description="tokens of the longest record")
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="of attention weights; the paper's 0.1 needs the slow form of attention on CPUs",
    )
    causal: bool = Field(False, description="each token sees those before it: for generation instead of filling in")
    number_term: Literal["linear", "asinh"] = Field(
        "linear", description="multiscale: what multiplies the number's vector; asinh where data span many decades"
    )
    decades: tuple[int, int] = Field(
        (-4, 4), description="multiscale and asinh: powers of ten from the smallest to the largest number that matter"
    )
    bank_start: NonNegativeFloat = Field(
        1.0, description="multiscale: standard deviation of the bank at the start; 0 starts as plain xVal"
    )
    number_head: Literal["linear", "asinh"] = Field(
        "linear", description="the space in which numbers are predicted; asinh where data span many decades"
    )
    cells: bool = Field(
        False,
        description="for tables: a number or a text is one token to the transformer, and is told its key; keys and "
        "brackets take no part in attention. Needs objective.hide=values",
    )
    quantiles: tuple[float, ...] = Field(
        (), description="also predicted, rising, such as [0.05, 0.5, 0.95]: the intervals of eval and predict"
    )

    answer: Literal["mean", "median"] = Field(
        "mean",
        description="what eval and predict answer: the mean, which has the least squared error, or the middle one of "
        "`quantiles`, which has the least absolute error",
    )

    @model_validator(mode="after")
    def _consistent(self) -> ModelSection:
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim {self.embed_dim} is not divisible by num_heads {self.num_heads}")
        if self.decades[0] >= self.decades[1]:
            raise ValueError(f"decades {list(self.decades)} do not rise")
        if self.exponents is not None and self.exponents[0] >= self.exponents[1]:
            raise ValueError(f"exponents {list(self.exponents)} do not rise")
        if self.encoding == "fone" and self.exponents is not None and self.exponents[1] - self.exponents[0] >= 15:
            raise ValueError(f"exponents {list(self.exponents)} are those of more than 15 digits, which float64 has")
        if any(not 0 < level < 1 for level in self.quantiles) or sorted(set(self.quantiles)) != list(self.quantiles):
            raise ValueError(f"quantiles {list(self.quantiles)} must rise strictly between 0 and 1")
        return self

    @model_validator(mode="after")
    def _answers_and_cells(self) -> ModelSection:
        if self.cells and (not self.continuous or self.causal):
            raise ValueError("cells are for encodings whose numbers are one token, and for models that are not causal")
        if self.answer == "median" and 0.5 not in self.quantiles:
            raise ValueError(f"answer: median needs 0.5 among quantiles, found {list(self.quantiles)}")
        return self

    @property
    def continuous(self) -> bool:
        """Whether numbers are one token each, with a value of their own, instead of text."""
        return self.encoding in ("xval", "multiscale", "fone", "bits")


class DataSection(Section):
    """The stores to train on, and how batches are made of their records."""

    stores: tuple[str, ...] = Field((), description="stores, folders of stores or globs; --data overrides")
    bucket_batches: PositiveInt = Field(
        64, description="global batches that are sorted by length together, so that little is padded; 1 sorts nothing"
    )
    limit: PositiveInt | None = Field(
        None, description="use at most this many records of each store and split; --limit overrides"
    )
    validation_records: PositiveInt = Field(256, description="records in each validation")
    workers: ReadAhead = 2
    verify: StoreCheck = "auto"
    shuffle_keys: bool = Field(
        False,
        description="train on records with their keys in a random order each time, so that none counts; such a model "
        "learns more slowly, and predict brings records into the trained order anyway",
    )
    too_long: Literal["refuse", "drop"] = Field(
        "refuse", description="records longer than model.context: end with an error, or leave them out and say how many"
    )


class ObjectiveSection(Section):
    """The training loss: which tokens are hidden, and the weights of cross-entropy and squared error (section 2.3)."""

    mask_probability: float = Field(0.3, gt=0, le=1, description="of hiding a token or a number; the paper's 0.3")
    token_weight: NonNegativeFloat = Field(1.0, description="factor on the cross-entropy of tokens; the paper's 1")
    number_weight: NonNegativeFloat = Field(1.0, description="factor on the squared error of numbers; the paper's 1")
    quantile_weight: NonNegativeFloat = Field(1.0, description="factor on the pinball loss, where there are quantiles")
    number_token_loss: NonNegativeFloat = Field(
        0.0,
        description="p10 alone: factor on the Wasserstein distance of digits (Zausinger et al. 2025); theirs is 0.3",
    )
    hide: Literal["everything", "values"] = Field(
        "everything",
        description="tokens of any kind, as in the paper, or values alone, a text as a whole: keys and brackets are "
        "then always seen, as they are when a model is asked",
    )
    classes: Literal["auto", "never"] = Field(
        "auto",
        description="also hide values of columns of few different texts as a whole, so that predict can fill them in",
    )
    keys: tuple[str, ...] = Field(
        (), description="hide only numbers under these key paths, such as description.planet*.a; all tokens if empty"
    )
    together: bool = Field(
        False, description="hide all numbers under `keys` of a record at once, instead of each by chance"
    )


def refuse_number_token_loss(objective: ObjectiveSection, encoding: EncodingName) -> None:
    """Return if the loss between digits is off, or there are tokens that are digits.

    Raises:
        ValueError: the encoding has none.
    """
    if objective.number_token_loss and encoding != "p10":
        raise ValueError(
            f"objective.number_token_loss compares digits, and {encoding} has no tokens that are digits: p10 has"
        )


class HeadSection(Section):
    """The target of finetuning besides filling in: one value per record, from its pooled vector."""

    kind: Literal["none", "regression", "classification"] = Field(
        "none", description="none goes on filling in masked numbers and tokens"
    )
    target: str = Field("", description="key path of the value that is predicted, and hidden from the model")
    dropout: float = Field(0.0, ge=0, lt=1)
    freeze: bool = Field(False, description="train the head alone")
