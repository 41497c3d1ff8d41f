# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""transformers models, called as people call them: exported, compiled, run, compared with eager."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
import transformers
from transformers.integrations.executorch import register_dynamic_cache_export_support

from shark_turbine import aot, runtime

from .families import DECODERS, FAMILIES, TEXT, Family, Size, text

CAUSAL = {family.name: family for family in DECODERS}


@pytest.fixture(autouse=True)
def quiet_transformers() -> Iterator[None]:
    """Two tests at once on two cores: one thread each. Advice about configurations is no news."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    yield
    torch.set_num_threads(threads)


def test_there_are_enough_families() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES) >= 20


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_dynamic_batch_and_length(family: Family) -> None:
    model = family.model()
    output = aot.export(
        model,
        kwargs=family.inputs(family.sizes[0]),
        dynamic_shapes=family.dynamic_shapes,
        strict_export=family.strict,
    )
    loaded = load(output)
    for size in family.sizes:
        compare(loaded, model, family.inputs(size))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_static_without_dynamo(family: Family) -> None:
    model = family.model()
    inputs = family.inputs(family.sizes[1])
    compare(load(aot.export(model, kwargs=inputs, strict_export=False)), model, inputs)


@pytest.mark.parametrize(("name", "side"), [("llama", "right"), ("opt", "right"), ("gpt2", "left")])
def test_padding_on_the_other_side(name: str, side: str) -> None:
    model, inputs = CAUSAL[name].model(), text(side)
    loaded = load(
        aot.export(model, kwargs=inputs(Size(3, 7)), dynamic_shapes=TEXT, strict_export=False)
    )
    for size in (Size(4, 12), Size(2, 6)):
        compare(loaded, model, inputs(size))


def test_key_value_cache_as_a_result() -> None:
    register_dynamic_cache_export_support()
    model = CAUSAL["llama"].model()
    config: Any = model.config
    config.use_cache = True
    inputs = text("left")
    output = aot.export(model, kwargs=inputs(Size(2, 8)), dynamic_shapes=TEXT, strict_export=False)
    loaded = load(output)
    for size in (Size(2, 8), Size(3, 11)):
        compare(loaded, model, inputs(size))


def load(output: aot.ExportOutput) -> Any:
    return runtime.load(output.compile(), device="local-sync")


def compare(loaded: Any, model: Callable[..., Any], inputs: Mapping[str, Any]) -> None:
    with torch.no_grad():
        expected = dict(flat("", model(**inputs)))
    found = dict(flat("", loaded.main(**inputs)))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=2e-5)


def flat(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a result with their paths."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, transformers.DynamicCache):
        yield from flat(name, {"key_cache": [layer.keys for layer in value.layers]})
        yield from flat(name, {"value_cache": [layer.values for layer in value.layers]})
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from flat(f"{name}.{key}", item)
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from flat(f"{name}[{index}]", item)
    else:
        assert value is None, (name, type(value))
