# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Architectures of transformers under `torch.compile(backend="turbine_cpu")`: forward and training."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import transformers

from tests.dynamo.conftest import BACKEND, compiled

from .architectures import Architecture
from .checks import assert_same_outputs, assert_same_training, forward, training
from .lists import ARCHITECTURES

pytestmark = [
    # Some operators have no compiled form; table.py says which. Numbers are what is tested here.
    pytest.mark.filterwarnings("ignore::shark_turbine.errors.FallbackWarning"),
    # transformers, under TorchDynamo: cached functions are traced through, a `.grad` is looked at to see whether a tensor
    # has one, and BLOOM calls an instance of its autograd function.
    pytest.mark.filterwarnings(
        "ignore:Dynamo detected a call to a .functools.lru_cache.:UserWarning"
    ),
    pytest.mark.filterwarnings(
        "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
    ),
    pytest.mark.filterwarnings(
        "ignore:.*torch.autograd.function.Function.*should not be instantiated:DeprecationWarning"
    ),
]
each = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda each: each.name)


@pytest.fixture(autouse=True)
def quiet_transformers() -> Iterator[None]:
    """Two tests at once on two cores: one thread each. Advice about configurations is no news."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    yield
    torch.set_num_threads(threads)


def test_there_are_enough_architectures() -> None:
    assert len({each.name for each in ARCHITECTURES}) == len(ARCHITECTURES) >= 25


@each
def test_forward_at_two_sizes(architecture: Architecture) -> None:
    model = architecture.model().eval()
    wrapped = compiled(model)
    for size in architecture.sizes:
        assert_same_outputs(forward(wrapped, model, architecture.inputs(size)))


@each
def test_a_step_of_training(architecture: Architecture) -> None:
    assert_same_training(training(architecture, BACKEND))
