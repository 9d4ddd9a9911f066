"""How the documentation is rendered (``tox -e docs``)."""

import sys
from pathlib import Path

project = "Mistral workflow service"
author = "The founders of the service"
copyright = author

extensions = ["myst_parser"]
html_theme = "sphinx_rtd_theme"
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["build"]
nitpicky = True

_HERE = Path(__file__).parent
sys.path.insert(0, str(_HERE))


def setup(app):
    """The page on the REST API is made of what serves it."""
    app.connect("builder-inited", _write_rest_page)


def _write_rest_page(app):
    import rest_page

    from mistral.api.app import document
    from mistral.config import Settings

    rest_page.write(document(Settings()), _HERE / "generated")
