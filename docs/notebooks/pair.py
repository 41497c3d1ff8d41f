# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Write the `.ipynb` of each notebook from its text, the `.md` of the same name.

The text is the source: it is what people edit, and what reviews and the documentation show. The
`.ipynb`, for those who open it in Jupyter, holds no output. `make notebooks` runs this.
"""

from pathlib import Path

import jupytext
import nbformat

FOLDER = Path(__file__).parent
SOURCES = sorted(
    path for path in FOLDER.glob("*.md") if path.read_text().startswith("---\njupytext")
)


def notebook_of(source: Path) -> str:
    """Return the `.ipynb` of a text; the same text gives the same bytes."""
    notebook = jupytext.read(source, fmt="md:myst")
    for number, cell in enumerate(notebook.cells, 1):
        cell["id"] = f"{source.stem}-{number}"
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = {
        "jupytext": {"formats": "md:myst,ipynb"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.validate(notebook)
    return nbformat.writes(notebook).rstrip("\n") + "\n"


if __name__ == "__main__":
    for path in SOURCES:
        path.with_suffix(".ipynb").write_text(notebook_of(path), encoding="utf-8")
        print(f"{path.name} -> {path.stem}.ipynb")
