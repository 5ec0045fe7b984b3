"""A family as small as one can be: rows of a CSV, whose last column is a weighted sum of the others."""

from polycli.families import Family

FAMILY = Family(
    name="linefit",
    about="linefit: a line through points",
    package=__name__,
    recipes={"prepare": "linefit.recipes:PrepareRecipe", "pretrain": "linefit.recipes:PretrainRecipe"},
    settings={"eval": "linefit.recipes:EvalSettings"},
    sources={"csv": "linefit.sources:CsvSource"},
    first_store="make a store with `polycli prepare linefit --source csv --input FILE.csv --output points.zarr`",
)
