# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The search of examples/bert ranks as PyTorch does, without PyTorch too, and says so with its exit code."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples/bert"


def run(*command: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("search")
    process = run(FOLDER / "search_sentences.py", "--save-to", folder)
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stderr == ""
    return folder, process.stdout


def test_it_finds_what_is_meant_and_ranks_as_pytorch(saved: tuple[Path, str]) -> None:
    _, printed = saved
    assert "FAILED" not in printed
    assert printed.count("   ok     the sentence that is meant") == 5
    assert printed.count("same order") == 3
    assert "main(token_ids: i64[batch, length], mask: i64[batch, length])" in printed
    assert "token_ids.shape[1] must be <= 256" in printed
    # PyTorch and what it needs on the left, the client's needs on the right.
    theirs, ours = re.findall(r"  together +([\d.]+) +([\d.]+)", printed)[0]
    assert float(ours) < float(theirs) / 2


def test_the_client_finds_without_pytorch(saved: tuple[Path, str]) -> None:
    folder, _ = saved
    corpus = (folder / "corpus.txt").read_text().splitlines()
    # Longer than all sentences of the corpus, longer than the model reads, and empty.
    queries = ["My cat is ill.", "snow and rain " * 300, ""]
    client = FOLDER / "search_without_torch.py"
    process = run(client, "--json", folder, *queries)
    assert process.returncode == 0, process.stderr
    scores = json.loads(process.stdout)
    assert "Young cats" in corpus[scores[0].index(max(scores[0]))]
    assert "Rain is likely" in corpus[scores[1].index(max(scores[1]))]
    assert all(-1.001 < score < 1.001 for row in scores for score in row)
    imports = re.findall(r"^(?:import|from) (\S+)", client.read_text(), re.MULTILINE)
    assert {"torch", "transformers", "shark_turbine"}.isdisjoint(imports)


def test_another_encoder_is_an_exit_code(saved: tuple[Path, str], tmp_path: Path) -> None:
    # The model is not what was compiled.
    source = (FOLDER / "search_sentences.py").read_text()
    line = "    model = pretrained(checkpoint)\n"
    assert source.count(line) == 1
    spoil = "    torch.nn.init.ones_(model.bert.encoder.layer[5].output.LayerNorm.weight)\n"
    (tmp_path / "search_sentences.py").write_text(source.replace(line, line + spoil))
    for name in ("search_without_torch.py", "corpus.txt"):
        (tmp_path / name).write_text((FOLDER / name).read_text())
    process = run(tmp_path / "search_sentences.py", "--use", saved[0])
    assert process.returncode == 1, process.stdout + process.stderr
    assert "FAILED the vmfb, all sentences at once" in process.stdout
