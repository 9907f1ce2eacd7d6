"""Settings of the site: `make docs` builds it with Sphinx from the pages of this folder."""

import re
from typing import Any

import denseam

project = "denseam"
author = "the denseam team"
version = release = denseam.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["requirements.lock", "_build"]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # tests execute the notebooks; the site shows the outputs that they keep
suppress_warnings = ["ref.python"]  # `values`: several classes have one
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "denseam"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}


def _links(app: Any, document: str, source: list[str]) -> None:
    """Lead links to CONTRIBUTING.md, which lies above this folder, to its page of the site."""
    source[0] = source[0].replace("](../CONTRIBUTING.md", "](developers/contributing.md")


def _formulas(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Keep formulas of docstrings, |Y| or *shape, and indented blocks from being read as markup."""
    text: list[str] = []
    block = False
    margin = 0  # of the paragraph before
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line.strip() and not (block and indent > margin):
            blank = bool(text) and not text[-1].strip()
            block = blank and indent > margin
            if block and not any(each.rstrip().endswith("::") for each in text[-2:]):
                text += [" " * margin + "::", ""]
            margin = margin if block else indent
        if not block and not line.lstrip().startswith((">>>", "...")):
            pieces = re.split(r"(``.*?``|(?<![\w*])\*[^*\s][^*]*\*(?!\w))", line)
            pieces[::2] = [re.sub(r"(\||\*(?=\S))", r"\\\1", piece) for piece in pieces[::2]]
            text.append("".join(pieces))
        else:
            text.append(line)
    lines[:] = text


def setup(app: Any) -> None:
    """Connect what the pages need beyond the extensions."""
    app.connect("source-read", _links)
    app.connect("autodoc-process-docstring", _formulas, priority=400)  # napoleon: 500
