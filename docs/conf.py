"""Sphinx: `sphinx-build -W -b html docs docs/_build/html` builds the site; see the page for developers."""

import pathlib
import sys

DOCS = pathlib.Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]

import generated  # noqa: E402
import vendored  # noqa: E402

from imitation_lab import __version__  # noqa: E402

project = "imitation_lab"
author = "The imitation_lab developers"
project_copyright = author
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "docstrings"]
exclude_patterns = ["_build", "_ext", "algorithms/_*.md"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
# What tutorials link to is relative to notebooks/: files that no page shows, and recorded data.
suppress_warnings = ["mystnb.unknown_mime_type"]

# The stored outputs are the page; nbval keeps them true.
nb_execution_mode = "off"
nb_merge_streams = True

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 100

html_theme = "furo"
html_title = "imitation_lab"
html_static_path = ["_static"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}

if vendored.fetch(DOCS / "_build" / "vendor"):
    html_static_path.append("_build/vendor/static")
    html_extra_path = ["_build/vendor/extra"]
    mathjax_path = vendored.MATHJAX
    nb_ipywidgets_js = vendored.WIDGETS


def setup(app):
    """Write the pages that are made of other files, before Sphinx looks for pages."""
    app.connect("builder-inited", lambda app: generated.write(DOCS))
