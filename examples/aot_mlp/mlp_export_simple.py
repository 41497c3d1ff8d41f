# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A small neural network, from PyTorch to one compiled file, in one call each.

Run it with `python examples/aot_mlp/mlp_export_simple.py`. It exits with 0 when the compiled
network gives what PyTorch gives, with 1 when not.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from shark_turbine import aot, runtime


class MLP(torch.nn.Module):
    """Three linear layers: 97 numbers in, 10 scores out."""

    def __init__(self):
        super().__init__()
        self.layer0 = torch.nn.Linear(97, 32)
        self.layer1 = torch.nn.Linear(32, 32)
        self.layer2 = torch.nn.Linear(32, 10)

    def forward(self, x):
        x = torch.tanh(self.layer0(x))
        x = torch.relu(self.layer1(x))
        return torch.softmax(self.layer2(x), dim=-1)


def main():
    """Run every step; return 0 when the compiled network agrees with PyTorch."""
    parser = argparse.ArgumentParser(description="Export, compile and run a small network.")
    parser.add_argument("--save-to", type=Path, metavar="FILE.vmfb", help="keep the compiled file")
    options = parser.parse_args()

    torch.manual_seed(0)
    model = MLP().eval()
    numbers = sum(parameter.numel() for parameter in model.parameters())
    print(f"1. A PyTorch model: {numbers:,} parameters. It is called with a 4x97 tensor.")

    exported = aot.export(model, torch.randn(4, 97))
    print("\n2. aot.export(model, example) turned it into an MLIR module (large tensors elided):\n")
    exported.print_readable(large_elements_limit=4)

    with tempfile.TemporaryDirectory() as folder:
        path = options.save_to or Path(folder) / "mlp.vmfb"
        vmfb = exported.compile(save_to=path)
        print(f"\n3. compile() wrote {path.name}: {vmfb.size:,} bytes of machine code and weights,")
        print(f"   for this machine's CPU ({vmfb.target['cpu']}). PyTorch is not in it.")
        compiled = runtime.load(path)
        print(f"\n4. runtime.load() gives its functions back:\n\n{compiled}")

    print("\n5. The compiled function against PyTorch, three new inputs:")
    agrees = True
    for number in range(1, 4):
        x = torch.randn(4, 97)
        expected, result = model(x).detach(), compiled.main(x)
        same = torch.allclose(result, expected, rtol=1e-4, atol=1e-5)
        agrees = agrees and same
        difference = (result - expected).abs().max().item()
        verdict = "equal" if same else "NOT EQUAL"
        print(f"   input {number}: largest difference {difference:.1e} – {verdict}")
    print("\nThe two agree." if agrees else "\nThe two DISAGREE: this is a bug.")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
