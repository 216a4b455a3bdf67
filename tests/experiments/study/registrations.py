"""What a commit registered, against what the code says today and against the commits of the scores."""

import ast
import fnmatch
import inspect
import subprocess

from aeseg import spec
from experiments import papers
from experiments.recorded import measurements


def check(table, commit, start, rows="*"):
    """Assert that a paragraph of a table's docstring stands in the commit as it does now, and that the commit is in the code of its rows.

    Without the commit (an archive, a shallow clone) only the text of today can be read, and nothing is asserted.
    """
    if not commit or _git("cat-file", "-e", f"{commit}^{{commit}}").returncode:
        return
    then = _git("show", f"{commit}:experiments/papers/{table}.py")
    assert then.returncode == 0, then.stderr
    now = inspect.getdoc(spec.module(papers.__name__, table))
    assert _paragraph(ast.get_docstring(ast.parse(then.stdout)), start) == _paragraph(now, start)
    for line in measurements.lines(table):
        if fnmatch.fnmatchcase(line["row"], rows):
            trained = line["commit"].partition("+")[0]
            before = _git("merge-base", "--is-ancestor", commit, trained)
            assert before.returncode == 0, f"{line['row']}, seed {line['seed']} was trained by {trained}, which does not contain {commit}"


def _paragraph(docstring, start):
    return docstring[docstring.index(start) :].partition("\n\n")[0].strip()


def _git(*arguments):
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
