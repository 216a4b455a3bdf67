"""docs/docstrings.py: aeseg's docstrings become reStructuredText with the same meaning."""

import pytest

from docs import docstrings


def converted(text: str) -> str:
    return "\n".join(docstrings.converted(text.splitlines())).strip()


def test_lines_of_a_name_and_a_description_become_a_list():
    text = "Head.\n\nwidth, depth   channels and\n               blocks\nnorm           none | batch\n\nThe end."
    assert converted(text) == "Head.\n\n\n* ``width``, ``depth``: channels and\n  blocks\n* ``norm``: none \\| batch\n\nThe end."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`dtype`s of `x`", "``dtype``\\ s of ``x``"),
        ("predict(*window)", "predict(\\*window)"),
        ("w_label and w_", "w_label and w\\_"),
        ("`a*b` * c", "``a*b`` \\* c"),
        ("a ` alone", "a \\` alone"),
    ],
)
def test_code_is_literal_and_other_markup_is_text(text, expected):
    assert converted(text) == expected


def test_a_doctest_is_unchanged_and_ends_at_a_blank_line():
    assert converted("Doubles.\n>>> [x_ * 2]\n[`4`]\n\nAnd *more*.") == "Doubles.\n\n>>> [x_ * 2]\n[`4`]\n\nAnd \\*more\\*."


def test_an_indented_block_after_a_blank_line_is_code_and_any_other_indented_line_is_text():
    assert converted("Call:\n\n    run(*x)\n    end\nText\n  goes on.") == "Call:\n\n::\n\n    run(*x)\n    end\n\nText\ngoes on."


def test_the_fields_that_flax_adds_are_left_out_of_a_signature():
    sign = lambda text: docstrings.process_signature(None, "class", "", None, None, text, "")  # noqa: E731
    assert sign("(width: int = 8, parent: Any = None, name: str = '')") == ("(width: int = 8)", "")
    assert sign("(width: int = 8)") is None
