"""Parts of the work, and words of the command line."""

import pytest

from polycli.commands.options import parse_part, without_option
from polycli.errors import UserError


@pytest.mark.parametrize(("text", "part"), [(None, None), ("0/1", (0, 1)), ("3/4", (3, 4))])
def test_parts_are_counted_from_zero(text, part):
    assert parse_part(text, {}) == part


@pytest.mark.parametrize("text", ["4/4", "1", "a/b", "-1/4", "1/0", "", "1/4/5"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(UserError, match="expected i/n"):
        parse_part(text, {})


@pytest.mark.parametrize(
    ("variables", "part"),
    [
        ({"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "0"}, (2, 4)),
        ({"SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "1"}, (3, 4)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "20",
                "SLURM_ARRAY_TASK_COUNT": "3",
                "SLURM_ARRAY_TASK_MIN": "10",
                "SLURM_ARRAY_TASK_STEP": "5",
            },
            (2, 3),
        ),
    ],
)
def test_auto_is_the_place_in_a_job_array_wherever_its_ids_start(variables, part):
    assert parse_part("auto", variables) == part


@pytest.mark.parametrize(
    "variables",
    [{}, {"SLURM_ARRAY_TASK_ID": "x", "SLURM_ARRAY_TASK_COUNT": "2"}],
)
def test_auto_outside_a_job_array_is_refused(variables):
    with pytest.raises(UserError, match="SLURM_ARRAY_TASK_ID"):
        parse_part("auto", variables)


def test_an_irregular_job_array_is_refused():
    with pytest.raises(UserError, match="not a regular job array"):
        parse_part("auto", {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "2"})


def test_an_option_is_taken_out_of_a_line_in_both_spellings():
    line = ["a", "--nproc", "2", "b", "--nproc=3", "--print-command", "--nprocs", "c"]
    assert without_option(line, "--nproc", "--print-command") == ["a", "b", "--nprocs", "c"]
