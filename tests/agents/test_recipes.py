"""Every recipe runs, stays short, and says what it reached."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from tests.sweep.in_process import InProcess

RECIPES = sorted(Path(__file__).parents[2].joinpath("agents", "recipes").glob("*.py"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(recipe), "--steps", "60"])
    # What starts processes has tests of its own: to start them takes longer than all that they do.
    monkeypatch.setattr("hyperrl.sweep.engine.LocalEngine", lambda workers: InProcess())
    runpy.run_path(str(recipe), run_name="__main__")
    assert capsys.readouterr().out.strip()


def test_recipes_are_there_and_have_at_most_forty_lines():
    assert len(RECIPES) >= 4
    for recipe in RECIPES:
        assert len(recipe.read_text(encoding="utf-8").splitlines()) <= 40, recipe.name
