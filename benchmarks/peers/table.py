# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What was measured, as text."""

from __future__ import annotations

import math
import statistics
from typing import Any

from . import cases
from .runtimes import PEERS

Found = dict[str, Any]
# The goal for the time of our export and compilation over AOTInductor's.
COMPILE_GOAL = 0.6


def show_case(found: Found) -> str:
    """Return the rows of one case: every peer with its times, costs and errors."""
    goal = cases.goal(found["case"])
    lines = [
        f"{cases.title(found['case'])}: {found['flops'] / 1e9:.2f} GFLOP, "
        f"{found['weight_bytes'] / 2**20:.1f} MiB of weights"
        + (f"; goal: {goal:.2f} × the best peer" if goal else ""),
        f"  {'':<16} {'median ms':>10} {'min ms':>9} {'cpu ms':>9} {'× best':>7} {'abs err':>8} {'rel err':>8} "
        f"{'prepare s':>9} {'load s':>7} {'MiB':>7} {'peak MiB':>9} {'preparing':>9}",
    ]
    best = best_peer(found)
    for name, row in found["peers"].items():
        lines.append(f"  {PEERS[name].title:<16} {_row(row, best[1] if best else None)}")
    return "\n".join(lines)


def _row(row: Found, best: float | None) -> str:
    if row["state"] != "ready":
        return f"{row['state']}: {row['reason']}"
    # Who compiles when first called has no artifact: that call is what preparing costs.
    prepare = row.get("prepare_seconds", row["first_call_seconds"])
    return (
        f"{row['median_seconds'] * 1e3:10.3f} {row['min_seconds'] * 1e3:9.3f} "
        f"{row['cpu_seconds'] * 1e3:9.3f} "
        f"{row['median_seconds'] / best if best else math.nan:7.2f} {row['absolute_error']:8.1e} "
        f"{row['relative_error']:8.1e} {prepare:9.1f} {row['load_seconds']:7.2f} "
        f"{_mebibytes(row.get('artifact_bytes'), 7)} {_mebibytes(row['run_peak_bytes'], 9)} "
        f"{_mebibytes(row.get('prepare_peak_bytes'), 9)}"
    )


def _mebibytes(count: int | None, width: int) -> str:
    return f"{'-' if count is None else format(count / 2**20, '.1f'):>{width}}"


def best_peer(found: Found) -> tuple[str, float] | None:
    """Return the fastest peer that is not us, and its median."""
    ready = {
        name: row["median_seconds"]
        for name, row in found["peers"].items()
        if row["state"] == "ready" and not PEERS[name].is_ours
    }
    return min(ready.items(), key=lambda pair: pair[1]) if ready else None


def ratio(found: Found, ours: str = "ours") -> float | None:
    """Return our median over that of the best peer; None where one is missing."""
    row, best = found["peers"].get(ours), best_peer(found)
    if row is None or row["state"] != "ready" or best is None:
        return None
    return row["median_seconds"] / best[1]


def show_all(results: list[Found]) -> str:
    """Return the table of all cases in Markdown, and what follows from it."""
    names = list(results[0]["peers"])
    head = [
        "case",
        *(PEERS[name].title for name in names),
        "best peer",
        "ours / best",
        "goal",
        "of matmul peak",
        "of memory bandwidth",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    lines += ["| " + " | ".join(_cells(found, names)) + " |" for found in results]
    return "\n".join([*lines, "", *_conclusions(results)])


def _cells(found: Found, names: list[str]) -> list[str]:
    best, reached, goal = best_peer(found), ratio(found), cases.goal(found["case"])
    mark = "" if reached is None or goal is None else " ✓" if reached <= goal else " ✗"
    return [
        cases.title(found["case"]),
        *(milliseconds(found["peers"][name]) for name in names),
        PEERS[best[0]].title if best else "-",
        "-" if reached is None else f"{reached:.2f}",
        "-" if goal is None else f"{goal:.2f}{mark}",
        *_share_of_machine(found),
    ]


def milliseconds(row: Found) -> str:
    """Return median and minimum of a peer, or why there are none."""
    if row["state"] != "ready":
        return row["state"]
    return f"{row['median_seconds'] * 1e3:.3g} ({row['min_seconds'] * 1e3:.3g})"


def _share_of_machine(found: Found) -> list[str]:
    """Return how close our time is to what the machine reaches in matrix products, and in reading."""
    row, machine = found["peers"].get("ours"), found["machine"]
    if row is None or row["state"] != "ready":
        return ["-", "-"]
    seconds = row["median_seconds"]
    return [
        f"{found['flops'] / seconds / machine['flops_per_second']:.0%}",
        f"{found['weight_bytes'] / seconds / machine['bytes_per_second']:.0%}",
    ]


def _conclusions(results: list[Found]) -> list[str]:
    lines = ["Times are medians (minima) in ms of calls taken in turn by all peers."]
    speeds = [found["machine"] for found in results]
    lines.append(
        f"The machine in the same run: {max(each['flops_per_second'] for each in speeds) / 1e9:.0f} "
        f"GFLOP/s in f32 matrix products, "
        f"{max(each['bytes_per_second'] for each in speeds) / 1e9:.1f} GB/s read from memory."
    )
    groups = {
        "with goals": [found for found in results if cases.goal(found["case"])],
        "without goals": [found for found in results if not cases.goal(found["case"])],
    }
    for label, group in groups.items():
        ratios = {found["case"]: value for found in group if (value := ratio(found)) is not None}
        if ratios:
            worst = max(ratios, key=ratios.__getitem__)
            lines.append(
                f"Ours / best peer, cases {label}: geometric mean "
                f"{statistics.geometric_mean(ratios.values()):.2f} (goal 0.95), "
                f"worst {ratios[worst]:.2f} in {worst} (goal 1.20)."
            )
    compiled = {
        found["case"]: ours["prepare_seconds"] / theirs["prepare_seconds"]
        for found in results
        if (ours := _prepared(found, "ours")) and (theirs := _prepared(found, "aoti"))
    }
    if compiled:
        lines.append(
            f"Export and compile time, ours / AOTInductor: geometric mean "
            f"{statistics.geometric_mean(compiled.values()):.2f} (goal {COMPILE_GOAL}): "
            + ", ".join(f"{case} {value:.2f}" for case, value in compiled.items())
        )
    return lines


def _prepared(found: Found, peer: str) -> Found | None:
    row = found["peers"].get(peer)
    return row if row is not None and "prepare_seconds" in row else None
