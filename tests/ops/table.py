# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Write docs/op-table.md from what a walk found: every operator, what compiles, what is refused and why.

python tests/ops/walk.py --json walk.jsonl
python tests/ops/table.py walk.jsonl
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.ops.walk import UNPREDICTABLE  # noqa: E402  found by the line above

PAGE = ROOT / "docs/op-table.md"
DTYPES = ("float32", "bfloat16", "int64", "bool")

# What becomes of a sample, as a user meets it.
VERDICTS = {
    "pass": "supported",
    "refused": "refused",
    "refused badly": "refused",
    "does not legalize": "refused",
    "does not compile": "refused",
    "compiler crash": "refused",
    "no export": "refused",
    "data-dependent": "refused",
    "run-time error": "refused",
    "wrong numbers": "wrong",
    "run-time crash": "wrong",
    "no eager": "not judged",
    "random": "not judged",
    "no tensor": "not judged",
}
CAUSES = {
    "refused": "by the importer, with operator and source line",
    "refused badly": "by the importer, in words that are not ours",
    "does not legalize": "by the compiler, which names the operator",
    "does not compile": "by the compiler, later on",
    "compiler crash": "the compiler's process dies, which is an error in ours",
    "no export": "`torch.export` or a decomposition of PyTorch's refuses",
    "data-dependent": "a size depends on values",
    "run-time error": "the artifact refuses the call",
}

Row = dict[str, Any]


def page(rows: Sequence[Row]) -> str:
    """Return the page for the lines of a walk; of a sample that was walked twice the later counts."""
    latest = {(row["op"], row["variant"], row["dtype"], row["index"]): row for row in rows}
    samples = [_judged(row) for row in latest.values()]
    operators = collections.defaultdict[str, list[Row]](list)
    for row in samples:
        operators[_name(row)].append(row)
    verdicts = {name: _verdict(found) for name, found in operators.items()}
    return "\n".join(
        [
            *_head(samples, verdicts),
            *_full(name for name, verdict in verdicts.items() if verdict == "supported"),
            *_others(operators, verdicts),
            *_unjudged(name for name, verdict in verdicts.items() if verdict == "not judged"),
        ]
    )


def _judged(row: Row) -> Row:
    """Say of a sample that has no one right result that it is not judged."""
    is_open = row["op"] in UNPREDICTABLE and row["outcome"] in {"pass", "wrong numbers"}
    return {**row, "outcome": "random"} if is_open else row


def _head(samples: Sequence[Row], verdicts: dict[str, str]) -> list[str]:
    counts = collections.Counter(VERDICTS[row["outcome"]] for row in samples)
    causes = collections.Counter(row["outcome"] for row in samples)
    by_operator = collections.Counter(verdicts.values())
    return [
        "# Every operator",
        "",
        f"Written by `tests/ops/table.py` from a walk over PyTorch's own operator samples with torch {_base('torch')} and IREE "
        f"{_base('iree-base-compiler')}; [op-support.md](op-support.md) says how the walk is made and what the causes are. Of each "
        "operator: up to three samples of float32, one each of bfloat16, int64 and bool.",
        "",
        "| | samples | operators | |",
        "|---|---|---|---|",
        f"| supported: the same as eager | {counts['supported']} | {by_operator['supported']} | |",
        f"| supported in some samples | | {by_operator['in part']} | |",
        f"| refused: an error, no result | {counts['refused']} | {by_operator['refused']} | |",
        f"| wrong | {counts['wrong']} | {by_operator['wrong']} | named below |",
        f"| not judged | {counts['not judged']} | {by_operator['not judged']} | random, no tensor in the result, not runnable in eager |",
        "",
        "Of those refused:",
        "",
        "| samples | by whom |",
        "|---|---|",
        *(
            f"| {causes[cause]} | {words} |"
            for cause, words in sorted(CAUSES.items(), key=lambda item: -causes[item[0]])
            if causes[cause]
        ),
        "",
    ]


def _full(names: Iterable[str]) -> list[str]:
    words = ", ".join(f"`{name}`" for name in sorted(names))
    return ["## Supported in every sample", "", words, ""]


def _others(operators: dict[str, list[Row]], verdicts: dict[str, str]) -> list[str]:
    lines: list[str] = []
    for verdict, title in (
        ("wrong", "Wrong in a sample"),
        ("in part", "Supported in some samples"),
        ("refused", "Refused"),
    ):
        names = sorted(name for name, found in verdicts.items() if found == verdict)
        if not names:
            continue
        lines += [f"## {title}", "", f"| operator | {' | '.join(DTYPES)} | why |"]
        lines += [f"|---|{'---|' * len(DTYPES)}---|"]
        lines += [_line(name, operators[name]) for name in names]
        lines += [""]
    return lines


def _unjudged(names: Iterable[str]) -> list[str]:
    return ["## Not judged", "", ", ".join(f"`{name}`" for name in sorted(names)), ""]


def _line(name: str, rows: Sequence[Row]) -> str:
    cells = [_cell([row for row in rows if row["dtype"] == f"torch.{dtype}"]) for dtype in DTYPES]
    worst = sorted(
        (row for row in rows if VERDICTS[row["outcome"]] in {"wrong", "refused"}),
        key=lambda row: VERDICTS[row["outcome"]] != "wrong",
    )
    return f"| `{name}` | {' | '.join(cells)} | {_reason(worst[0]) if worst else ''} |"


def _cell(rows: Sequence[Row]) -> str:
    judged = [row for row in rows if VERDICTS[row["outcome"]] != "not judged"]
    if not judged:
        return "–"
    good = sum(row["outcome"] == "pass" for row in judged)
    if good == len(judged):
        return "yes"
    is_wrong = any(VERDICTS[row["outcome"]] == "wrong" for row in judged)
    found = "wrong" if is_wrong else "refused"
    return found if good == 0 else f"{found} {len(judged) - good} of {len(judged)}"


def _reason(row: Row) -> str:
    """Return why a sample failed, in one short line."""
    text = row["detail"]
    operator = re.search(r"(?:torch\.)?((?:aten|prims|prim)[.:][\w.:]+)", text)
    if row["outcome"] == "does not legalize" and operator is not None:
        return f"the compiler has no `{operator[1]}`"
    if row["outcome"] == "data-dependent":
        return "a size depends on values"
    if row["outcome"] == "compiler crash":
        return "the compiler crashes"
    text = re.split(r"(?:;|\s(?:got|expected|fix):|\n)", text)[0]
    text = re.sub(r"^[\w.<>]* ?\([^)]*:\d+\): ", "", text)
    text = re.sub(r"(?:/[\w.@+-]+)+/", "", text).replace("|", "/").strip()
    return (text[:120] + "…") if len(text) > 121 else text


def _verdict(rows: Sequence[Row]) -> str:
    found = {VERDICTS[row["outcome"]] for row in rows} - {"not judged"}
    if not found:
        return "not judged"
    if "wrong" in found:
        return "wrong"
    return "in part" if len(found) > 1 else found.pop()


def _name(row: Row) -> str:
    return row["op"] + (f" ({row['variant']})" if row["variant"] else "")


def _base(distribution: str) -> str:
    return version(distribution).partition("+")[0]


def main() -> None:
    """Read the walk and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("walk", type=Path, help="what tests/ops/walk.py --json wrote")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.walk.read_text().splitlines()]
    PAGE.write_text(page(rows), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(rows)} lines of the walk")


if __name__ == "__main__":
    main()
