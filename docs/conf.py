# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The documentation site: `make docs` builds it into docs/_build/html, without a network.

The documents are Markdown that a forge shows as well. What only the site needs is in `_ext/`:
colours for MLIR, links in docstrings, and pages for documents that lie outside this folder.
"""

import logging
import os
import sys
from pathlib import Path

# The extensions are modules of this repository; tests import them by the same names.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shark_turbine import __version__

BUILD = Path(__file__).resolve().parent / "_build"

project = "shark_turbine"
author = "the authors of shark_turbine"
copyright = "the authors of shark_turbine; Apache-2.0 with LLVM exceptions"
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "docs._ext.mlir_lexer",
    "docs._ext.docstrings",
    "docs._ext.outside",
]
# Notebooks are read from their Markdown; the .ipynb beside it is the same notebook for Jupyter.
exclude_patterns = ["_build", "_ext", "notebooks/*.ipynb"]
source_suffix = {".md": "myst-nb", ".markdown": "myst-nb"}

# ------------------------------------------------------------------------------------------------------- Markdown --

# Links lead to headings as a forge names them.
myst_heading_anchors = 4
myst_enable_extensions = []
# What a block is, its fence says; one without a language is text.
highlight_language = "text"

# ------------------------------------------------------------------------------------------------------ notebooks --

nb_execution_mode = "cache"
nb_execution_cache_path = str(BUILD / "jupyter-cache")
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
# Kernels take nothing from the user's own profile, and do not warn that they talk over this machine's loopback.
os.environ["IPYTHONDIR"] = str(BUILD / "ipython")
_profile = BUILD / "ipython" / "profile_default"
_profile.mkdir(parents=True, exist_ok=True)
(_profile / "ipython_kernel_config.py").write_text(
    "c = get_config()\nc.IPKernelApp.log_level = 40\n"
)
logging.getLogger("traitlets").setLevel(logging.WARNING)

# ------------------------------------------------------------------------------------------------------ reference --

default_role = "turbine-code"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# ----------------------------------------------------------------------------------------------------------- HTML --

html_theme = "furo"
html_title = f"shark_turbine {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
# Prompts of console blocks are not copied, nor what a command printed.
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
