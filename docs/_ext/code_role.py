# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The role of single backticks in docstrings: code, and a link where it names something documented.

Docstrings are written as Markdown is: one backtick on each side. In reStructuredText that is the
default role, which this module defines.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole
from sphinx.util.docutils import SphinxRole

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\(\))?")


class CodeRole(SphinxRole):
    """Render text as code; a dotted name also as a link, where a page of the reference has it."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the node of one piece of code."""
        if NAME.fullmatch(self.text):
            role = PyXRefRole(fix_parens=self.text.endswith("()"))
            return role("py:obj", self.rawtext, self.text, self.lineno, self.inliner)
        return [nodes.literal(self.rawtext, self.text)], []


def setup(app: Sphinx) -> dict[str, object]:
    """Register the role as `turbine-code`; `default_role` in conf.py names it."""
    app.add_role("turbine-code", CodeRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
