"""Recipes: find, load, override, validate and print. YAML in, a frozen pydantic section out; no code in between."""

from polycli.recipes.files import find_recipe, recipes_folder, shipped_names
from polycli.recipes.loading import (
    ShippedRecipe,
    default_recipe,
    dump_recipe,
    load_any_recipe,
    load_recipe,
    shipped_recipes,
)
from polycli.recipes.schema import json_schema, recipe_schema, recipe_schemas, settings_schema

__all__ = [
    "ShippedRecipe",
    "default_recipe",
    "dump_recipe",
    "find_recipe",
    "json_schema",
    "load_any_recipe",
    "load_recipe",
    "recipe_schema",
    "recipe_schemas",
    "recipes_folder",
    "settings_schema",
    "shipped_names",
    "shipped_recipes",
]
