# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Call one function of a compiled file with nothing but numpy and IREE's own runtime.

`python run_without_torch.py FILE.vmfb FUNCTION INPUTS.npz RESULT.npy` reads the arguments from an
`.npz` file (arg0, arg1, ...) and writes the result. It is what a machine without PyTorch and
without shark_turbine can do: `pip install iree-base-runtime numpy` is all that it needs.
"""

import sys

import iree.runtime as ireert
import numpy as np


def main():
    """Call the function; return 1 when IREE refuses the call."""
    vmfb, function, inputs, result = sys.argv[1:]
    config = ireert.Config("local-task")
    module = ireert.load_vm_module(ireert.VmModule.mmap(config.vm_instance, vmfb), config)
    with np.load(inputs) as arguments:
        values = [arguments[f"arg{index}"] for index in range(len(arguments.files))]
    try:
        output = module[function](*values)
    except RuntimeError as error:
        # IREE's message, of which the first line holds the text of the broken contract.
        print(str(error).splitlines()[0], file=sys.stderr)
        return 1
    np.save(result, output.to_host())
    loaded = [name for name in ("torch", "shark_turbine") if name in sys.modules]
    print(f"modules loaded in this process: {len(sys.modules)}; of PyTorch and ours: {loaded}")
    assert not loaded
    return 0


if __name__ == "__main__":
    sys.exit(main())
