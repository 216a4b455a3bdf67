"""Configuration of the documentation site: pages from files of the repository, and a reference page per package.

python -m sphinx -W -q docs .cache/site      # warnings are errors; open .cache/site/index.html
"""

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
GENERATED = HERE / "generated"
sys.path[:0] = [str(ROOT), str(HERE)]

import docstrings  # noqa: E402 (beside this file)

project = "aeseg"
copyright = "the aeseg authors"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "aeseg"
myst_heading_anchors = 3
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "member-order": "bysource", "no-value": True}

PAGES = {
    "architecture": "aeseg/README.md",
    "tables": "experiments/README.md",
    "results": "experiments/results/README.md",
    "contributing": "CONTRIBUTING.md",
    "security": "SECURITY.md",
    "changelog": "CHANGELOG.md",
}
"""{page: file of the repository}."""

IMAGE = re.compile(r"!\[([^\]]*)\]\((?!\w+:)([^)\s]+)\)")
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:|#)([^)\s]+)\)")


def packages() -> dict[str, list[str]]:
    """Return {package: modules} of aeseg, from its files."""
    modules: dict[str, list[str]] = {}
    for path in sorted((ROOT / "aeseg").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if path.name != "__init__.py":
            modules.setdefault(".".join(parts[:-1]), []).append(".".join(parts))
    return modules


def reference_page(package: str, modules: list[str]) -> str:
    """Return a page with the docstrings of the modules of a package."""
    sections = [f"## {module}\n\n```{{eval-rst}}\n.. automodule:: {module}\n```" for module in modules]
    return "\n\n".join([f"# {package}", *sections]) + "\n"


def relinked(text: str, source: str) -> str:
    """Point relative links of a repository file at the page of their target; a target without a page becomes its path."""
    page_of = {file: page for page, file in PAGES.items()} | {f"docs/{path.name}": f"../{path.stem}" for path in HERE.glob("*.md")}

    def replaced(match: re.Match[str]) -> str:
        label, (path, _, anchor) = match.group(1), match.group(2).partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if not (ROOT / target).exists():
            raise FileNotFoundError(f"{source} links to {target}, which does not exist. Correct the link.")
        if target in page_of:
            return f"[{label}]({page_of[target]}.md{'#' + anchor if anchor else ''})"
        return f"`{target}`" if label.strip("`/") in target else f"{label} (`{target}`)"

    def moved(match: re.Match[str]) -> str:
        picture = posixpath.normpath(posixpath.join(posixpath.dirname(source), match.group(2)))
        return f"![{match.group(1)}]({posixpath.relpath(picture, 'docs/generated')})"

    return LINK.sub(replaced, IMAGE.sub(moved, text))


def generate(app: Any) -> None:
    """Write the pages that come from other files."""
    pages = {page: relinked((ROOT / source).read_text(), source) for page, source in PAGES.items()}
    pages |= {f"reference/{package}": reference_page(package, modules) for package, modules in packages().items()}
    for page, text in pages.items():
        path = GENERATED / f"{page}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:  # an unchanged page keeps its time, for incremental builds
            path.write_text(text)
    for path in GENERATED.rglob("*.md"):
        if str(path.relative_to(GENERATED).with_suffix("")) not in pages:
            path.unlink()


def setup(app: Any) -> None:
    """Connect the hooks."""
    app.connect("builder-inited", generate)
    app.connect("autodoc-process-docstring", docstrings.process)
    app.connect("autodoc-process-signature", docstrings.process_signature)
