"""The examples in docstrings give the results that they show."""

import doctest
import importlib

import pytest

from tests.imports_test import files


@pytest.mark.parametrize("module", sorted(name for name, path in files().items() if ">>> " in path.read_text()))
def test_an_example_gives_what_it_shows(module):
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert tried > 0
    assert failed == 0
