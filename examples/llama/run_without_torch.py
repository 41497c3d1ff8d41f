# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Generate with a compiled Llama from nothing but numpy and IREE's own runtime.

`python run_without_torch.py FILE.vmfb CHECKPOINT COUNT TOKEN [TOKEN ...]` prints COUNT new tokens. All it
needs are the vmfb, the checkpoint's .safetensors files, and `pip install iree-base-runtime numpy`.
"""

import sys
from pathlib import Path

import iree.runtime as ireert
import numpy as np


def load(vmfb, checkpoint):
    """Map the weights and the vmfb; return the module's functions."""
    config = ireert.Config("local-task")
    weights = ireert.ParameterIndex()
    for file in sorted(Path(checkpoint).glob("*.safetensors")):
        weights.load(str(file))
    parameters = ireert.create_io_parameters_module(
        config.vm_instance, weights.create_provider(scope="model")
    )
    module = ireert.VmModule.mmap(config.vm_instance, vmfb)
    return ireert.load_vm_modules(parameters, module, config=config)[-1]


def main():
    """Read the prompt, generate, print."""
    vmfb, checkpoint, count, *prompt = sys.argv[1:]
    llama = load(vmfb, checkpoint)
    first = llama.prefill(np.array([prompt], dtype=np.int64)).to_host()
    rest = llama.generate(first, int(count) - 1).to_host()
    print(*first[0], *rest[0])
    loaded = [name for name in ("torch", "shark_turbine") if name in sys.modules]
    print(f"of PyTorch and ours: {loaded}", file=sys.stderr)


if __name__ == "__main__":
    main()
