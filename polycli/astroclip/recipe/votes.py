"""The recipe section of volunteers' votes: questions, the columns that count answers, and which follow which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, PositiveFloat, ValidationInfo, model_validator

from polycli.astroclip.recipe.trees import TREES
from polycli.sections import Section

#: The context in which a checkpoint's description is read: its head answers the questions that it was trained on,
#: whatever a later version has made of the tree.
AS_WRITTEN = {"as_written": True}


class QuestionSection(Section):
    """One question: where its votes are counted, and when it is asked."""

    answers: tuple[str, ...] = Field(min_length=2, description="columns of the stores that count the votes, by answer")
    after: dict[str, str | tuple[str, ...]] = Field(
        {}, description="another question and its answers, as columns, after which it is asked; always asked if empty"
    )

    def parents(self) -> dict[str, tuple[str, ...]]:
        """Maps each question before this one to the columns of the answers that lead here."""
        return {name: (found,) if isinstance(found, str) else found for name, found in self.after.items()}


class VotesSection(Section):
    """A decision tree whose votes a head learns, as Dirichlet-multinomial counts (Walmsley et al. 2020)."""

    tree: Literal["gz_decals", "gz2", "mock"] | None = Field(
        None, description="questions by name: Galaxy Zoo DECaLS (campaign 5), Galaxy Zoo 2, or the simulated survey's"
    )
    questions: dict[str, QuestionSection] = Field(
        {}, description="own questions by name, those that others follow first; those of `tree` if empty"
    )
    leave_out: tuple[str, ...] = Field(
        (), description="questions of `tree` that are not learnt, and with each of them those that follow it alone"
    )
    lowest: PositiveFloat = Field(
        1.0,
        description="Dirichlet concentrations lie above this; 1, as published, cannot say that volunteers will agree "
        "but on what is open, which values such as 0.1 can",
    )
    highest: PositiveFloat = Field(100.0, description="and below this more; as published")

    @model_validator(mode="after")
    def _sound(self, info: ValidationInfo) -> VotesSection:
        if self.tree is not None and not (self.questions and info.context == AS_WRITTEN):
            questions = _questions_of(self.tree, self.leave_out)
            if self.questions and self.questions != questions:
                raise ValueError(
                    f"tree {self.tree} has its own questions, and questions names others: give one of both"
                )
            # Spelled out in the recipe of the run and in model.json, so that a checkpoint says what it answers.
            object.__setattr__(self, "questions", questions)
        elif self.leave_out and self.tree is None:
            raise ValueError("leave_out is for the questions of tree, which is absent: name the others in questions")
        if not self.questions:
            raise ValueError("tree and questions are both absent: nothing was voted on")
        if "leaf" in self.questions:
            raise ValueError("a question is called leaf, as the column of the answers that the likeliest ones lead to")
        made = [f"{name}_asked" for name in self.questions]
        made += [f"{column}_fraction{end}" for column in self.columns for end in ("", "_low90", "_high90")]
        if clash := [name for name in made if name in self.questions]:
            raise ValueError(f"a question is called {clash[0]}, as a column that predict writes of another one")
        self._check_columns()
        self._check_order()
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of all answers, question by question: the order of a head's outputs."""
        return tuple(column for question in self.questions.values() for column in question.answers)

    def slices(self) -> dict[str, slice]:
        """Maps each question to its place among `columns`."""
        found, start = dict[str, slice](), 0
        for name, question in self.questions.items():
            found[name] = slice(start, start + len(question.answers))
            start += len(question.answers)
        return found

    def predicted_names(self) -> set[str]:
        """The names of the columns that `predict` writes of the votes, but for those of bounds."""
        asked = (f"{name}_asked" for name in self.questions)
        return {"leaf", *self.questions, *asked, *(f"{column}_fraction" for column in self.columns)}

    def labels(self, question: str) -> tuple[str, ...]:
        """The answers of a question in short: its columns without its name before them and `_count` behind.

        Where two would then be called alike, they are called as their columns are.

        >>> VotesSection(tree="gz_decals").labels("bar"), VotesSection(tree="gz2").labels("t03_bar")
        (('strong', 'weak', 'no'), ('a06_bar', 'a07_no_bar'))
        """
        answers = self.questions[question].answers
        short = tuple(column.removeprefix(f"{question}_").removesuffix("_count") for column in answers)
        # Such as `yes` and `ring_yes` of a question `ring`: one answer must not be called as another one.
        return short if len(set(short)) == len(short) else answers

    def _check_columns(self) -> None:
        seen: dict[str, str] = {}
        for name, question in self.questions.items():
            for column in question.answers:
                if column in seen:
                    raise ValueError(f"column {column} is an answer of {seen[column]} and of {name}")
                seen[column] = name

    def _check_order(self) -> None:
        before: list[str] = []
        for name, question in self.questions.items():
            for parent, answers in question.parents().items():
                if parent not in before:
                    where = "stands behind it" if parent in self.questions else "is no question"
                    raise ValueError(f"question {name} is asked after {parent}, which {where}")
                known = self.questions[parent].answers
                if unknown := [answer for answer in answers if answer not in known]:
                    raise ValueError(
                        f"question {name} is asked after the answer {unknown[0]} to {parent}, whose answers are "
                        f"{', '.join(known)}"
                    )
            before.append(name)


def _questions_of(tree: str, leave_out: Sequence[str]) -> dict[str, QuestionSection]:
    if unknown := [name for name in leave_out if name not in TREES[tree]]:
        raise ValueError(f"leave_out names {unknown[0]}, and the questions of {tree} are {', '.join(TREES[tree])}")
    questions: dict[str, QuestionSection] = {}
    for name, (answers, after) in TREES[tree].items():
        if name not in leave_out and (after is None or after[0] in questions):
            questions[name] = QuestionSection(answers=answers, after={} if after is None else {after[0]: after[1]})
    return questions
