"""How the documentation is rendered (``tox -e docs``)."""

project = "Mistral workflow service"
author = "The founders of the service"
copyright = author

extensions = ["myst_parser"]
html_theme = "sphinx_rtd_theme"
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["build"]
nitpicky = True
