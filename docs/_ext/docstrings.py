# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Docstrings as this project writes them: single backticks are code, properties have plain sentences.

One backtick on each side, as in Markdown, is the default role of reStructuredText, which this module
defines: code, and a link where it names something that the reference has.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole
from sphinx.util.docutils import SphinxRole

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\(\))?")
# `Sheep`s: reStructuredText wants to be told where the code ends.
_CODE = re.compile(r"(`[^`]+`)(\w?)")
_BEFORE_NAPOLEON, _AFTER_NAPOLEON = 400, 600


def _with_end(code: re.Match[str]) -> str:
    return f"{code[1]}\\ {code[2]}" if code[2] else code[1]


class CodeRole(SphinxRole):
    """Render text as code; a dotted name also as a link, where a page of the reference has it."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the node of one piece of code."""
        if NAME.fullmatch(self.text):
            role = PyXRefRole(fix_parens=self.text.endswith("()"))
            return role("py:obj", self.rawtext, self.text, self.lineno, self.inliner)
        return [nodes.literal(self.rawtext, self.text)], []


class _Docstrings:
    """Napoleon takes what stands before a colon in a property's docstring for its type: not here."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def before(
        self, app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
    ) -> None:
        lines[:] = [_CODE.sub(_with_end, line) for line in lines]
        self._lines = list(lines)

    def after(
        self, app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
    ) -> None:
        if what == "property":
            lines[:] = self._lines


def _plain_signature(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    result: str | None,
) -> tuple[str, str | None] | None:
    """Write signatures as the source does, and that of errors once: all but a few take the same."""
    if signature is None:
        return None
    if what == "exception" and "__init__" not in vars(obj):
        return "", None
    # Sphinx doubles the brackets of `Callable[..., Any]`.
    written = [
        text and text.replace("Callable[[...]", "Callable[...") for text in (signature, result)
    ]
    return written[0] or "", written[1]


def setup(app: Sphinx) -> dict[str, object]:
    """Register the role as `turbine-code`, which `default_role` in conf.py names, and read docstrings."""
    docstrings = _Docstrings()
    app.add_role("turbine-code", CodeRole())
    app.connect("autodoc-process-docstring", docstrings.before, priority=_BEFORE_NAPOLEON)
    app.connect("autodoc-process-docstring", docstrings.after, priority=_AFTER_NAPOLEON)
    app.connect("autodoc-process-signature", _plain_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
