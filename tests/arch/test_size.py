"""A guard against modules and functions that nobody can read at one go. The aim is well below (CONTRIBUTING.md)."""

from __future__ import annotations

import ast

from tests.arch.code import PRODUCT, modules

MOST_LINES = 400
MOST_FUNCTION_LINES = 60

ALL = modules(*PRODUCT, "bench")


def test_modules_can_be_read() -> None:
    long = {module.name: len(module.lines) for module in ALL if len(module.lines) > MOST_LINES}
    assert not long, "divide them by subject"


def test_functions_can_be_read() -> None:
    long = {
        f"{module.name}.{function.name}": length
        for module in ALL
        for function in module.functions
        if (length := (function.end_lineno or 0) - function.lineno + 1) > MOST_FUNCTION_LINES
    }
    assert not long, "separate deciding from doing"


def test_modules_say_what_they_are_for() -> None:
    silent = [module.name for module in ALL if module.lines and not ast.get_docstring(module.tree)]
    assert not silent, "a sentence at the top tells a reader whether to read on"
