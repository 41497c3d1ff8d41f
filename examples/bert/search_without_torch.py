# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Search sentences by meaning, with nothing but numpy, tokenizers and IREE's own runtime.

`python search_without_torch.py FOLDER QUERY [QUERY ...]` reads `encoder.vmfb`, `tokenizer.json` and
`corpus.txt` (a sentence a line) from a folder, and prints the sentences closest to each query, or with
`--json` the scores of all. `pip install iree-base-runtime numpy tokenizers` is all that it needs.
"""

import argparse
import json
import sys
from pathlib import Path

import iree.runtime as ireert
import numpy as np
from tokenizers import Tokenizer

LONGEST = 256  # tokens: what the model was trained with, and what the compiled encoder takes


def open_tokenizer(file):
    """Return a function from sentences to token ids and mask, each int64[sentences, tokens]."""
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding()  # to the longest sentence of a call, not to a fixed length

    def tokenize(sentences):
        encodings = tokenizer.encode_batch(sentences)
        token_ids = [encoding.ids for encoding in encodings]
        mask = [encoding.attention_mask for encoding in encodings]
        return np.array(token_ids, dtype=np.int64), np.array(mask, dtype=np.int64)

    return tokenize


def open_encoder(file):
    """Return the compiled function from token ids and mask to embeddings, float32[sentences, 384]."""
    config = ireert.Config("local-task")
    module = ireert.load_vm_module(ireert.VmModule.mmap(config.vm_instance, str(file)), config)
    return lambda token_ids, mask: module.main(token_ids, mask).to_host()


def main():
    """Embed the corpus and the queries, print what is closest."""
    parser = argparse.ArgumentParser(description="Search sentences by meaning.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("queries", nargs="+", metavar="QUERY")
    parser.add_argument("--json", action="store_true", help="print the scores of all sentences")
    options = parser.parse_args()

    corpus = (options.folder / "corpus.txt").read_text(encoding="utf-8").splitlines()
    tokenize = open_tokenizer(options.folder / "tokenizer.json")
    encode = open_encoder(options.folder / "encoder.vmfb")
    # Embeddings have length 1: their products are the cosines of the angles between them.
    scores = encode(*tokenize(options.queries)) @ encode(*tokenize(corpus)).T

    loaded = [name for name in ("torch", "transformers", "shark_turbine") if name in sys.modules]
    assert not loaded, loaded
    if options.json:
        print(json.dumps(scores.tolist()))
        return
    for query, row in zip(options.queries, scores, strict=True):
        print(query)
        for best in np.argsort(-row)[:3]:
            print(f"  {row[best]:.3f}  {corpus[best]}")


if __name__ == "__main__":
    main()
