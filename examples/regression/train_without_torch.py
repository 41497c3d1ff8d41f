# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Train a compiled model with nothing but numpy and IREE's own runtime.

`python train_without_torch.py FILE.vmfb DATA.npz RESULT.npz` calls `train_step` for each batch of the
data and `predict` at the end. `pip install iree-base-runtime numpy` is all that it needs.
"""

import sys

import iree.runtime as ireert
import numpy as np


def main():
    """Train, and write losses and predictions."""
    vmfb, data, result = sys.argv[1:]
    config = ireert.Config("local-task")
    module = ireert.load_vm_module(ireert.VmModule.mmap(config.vm_instance, vmfb), config)
    with np.load(data) as arrays:
        x, y, grid = (arrays[key] for key in ("x", "y", "grid"))
    losses = []
    for step, (inputs, targets) in enumerate(zip(x, y, strict=True), start=1):
        # The weights change inside the module: nothing else is passed or kept here.
        losses.append(module.train_step(inputs, targets).to_host())
        if step % 100 == 0:
            print(f"   step {step}: loss {losses[-1]:.4f}")
    np.savez(result, losses=np.stack(losses), predicted=module.predict(grid).to_host())
    loaded = [name for name in ("torch", "shark_turbine") if name in sys.modules]
    print(f"   modules loaded in this process: {len(sys.modules)}; of PyTorch and ours: {loaded}")
    assert not loaded


if __name__ == "__main__":
    main()
