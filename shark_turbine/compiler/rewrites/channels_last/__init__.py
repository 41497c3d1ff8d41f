# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Networks of convolutions with their channels last: each point of an image is a row of channels.

PyTorch calls it `torch.channels_last`. A 1 x 1 convolution is then a product of rows with a stored
weight, which has the best code that we know of (`panels.py`); other kernels are one of rows that hold
several points; a depthwise kernel is a sum of vectors; padding adds whole rows.

Each convolution is written with a permutation in front of it and one behind. The permutations behind are
moved down through what computes element by element, pools, and puts images together, until they meet one
in front, and both are gone.
"""

from .rule import OPERATORS, rewrite_channels_last, suits_channels_last

__all__ = ["OPERATORS", "rewrite_channels_last", "suits_channels_last"]
