# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: B006, B008  defaults of procedures are their signatures
"""From class bodies to specs: what `str(spec)` shows, and the order of inheritance."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import shark_turbine.aot as aot
from shark_turbine.aot.spec import ModuleSpec
from shark_turbine.errors import DeclarationError

A = aot.AbstractTensor


def spec_of(module: type[aot.CompiledModule]) -> ModuleSpec:
    return module._spec


def test_a_spec_shows_what_was_declared() -> None:
    linear = torch.nn.Linear(2, 3)

    class EverythingModule(aot.CompiledModule):
        """Dunders such as this text are kept, not collected."""

        params = aot.export_parameters(linear)
        count = aot.export_global(0, mutable=True)
        cache = aot.export_global(A(4, dtype=torch.int8), mutable=True, uninitialized=True)
        weights = aot.export_global_tree([A(2)], external=True, external_scope="s")
        program = torch.export.export(linear, (torch.zeros(2),))
        _program = torch.export.export(linear, (torch.zeros(2),))
        forward = aot.jittable(linear.forward)

        @aot.jittable
        def compute(x: Any) -> Any:
            return x

        def _helper(self, x: Any) -> Any:
            return x

        def run(self, x=A(None, "n"), *, state={"h": A(2), "n": [aot.AbstractI64]}):
            return x

    assert str(spec_of(EverythingModule)) == (
        "module @everything\n"
        "  global @_params.weight: f32[3, 2] = inline\n"
        "  global @_params.bias: f32[3] = inline\n"
        "  global mutable @_count.global: i64 = 0\n"
        "  global mutable @_cache.global: i8[4] = uninitialized\n"
        "  global @_weights.0: f32[2] = external s::weights.0\n"
        "  program @program\n"
        "  private program @_program\n"
        "  jittable @forward\n"
        "  jittable @compute\n"
        "  helper _helper\n"
        "  procedure @run(x: f32[?, n], state: {h: f32[2], n: [i64]})"
    )
    assert EverythingModule.__doc__ is not None
    assert EverythingModule.__doc__.startswith("Dunders")
    run: Any = spec_of(EverythingModule).members["run"]
    assert [parameter.keyword_only for parameter in run.parameters] == [False, True]
    assert run.location.source_line().startswith("def run(self")


def test_conditions_in_a_body_choose() -> None:
    def make(is_external: bool) -> ModuleSpec:
        class ChosenModule(aot.CompiledModule):
            if is_external:
                weight = aot.export_global(A(2), external=True)
            else:
                weight = aot.export_global(A(2))

        return spec_of(ChosenModule)

    assert "external model::weight.global" in str(make(True))
    assert "= zero" in str(make(False))


def test_the_nearest_declaration_wins() -> None:
    class TopModule(aot.CompiledModule):
        def a(self):
            return "top"

        def b(self):
            return "top"

    class LeftModule(TopModule):
        def a(self):
            return "left"

    class RightModule(TopModule):
        def a(self):
            return "right"

        def b(self):
            return "right"

    class BottomModule(LeftModule, RightModule):
        def c(self):
            return "bottom"

    def results(module: type[aot.CompiledModule]) -> dict[str, Any]:
        return {name: member.function(None) for name, member in spec_of(module).members.items()}  # type: ignore[union-attr]

    assert results(RightModule) == {"a": "right", "b": "right"}
    assert results(LeftModule) == {"a": "left", "b": "top"}
    assert results(BottomModule) == {"a": "left", "b": "right", "c": "bottom"}
    assert spec_of(BottomModule).own == ("c",)


def test_equal_tensors_are_one_global_over_classes() -> None:
    weight = torch.ones(3)

    class BaseModule(aot.CompiledModule):
        first = aot.export_global(weight)

    class DerivedModule(BaseModule):
        second = aot.export_global_tree({"w": weight, "view": weight[:2]})

    assert list(spec_of(DerivedModule).globals()) == ["_first.global", "_second.view"]


def test_a_spec_cannot_be_changed() -> None:
    class OneModule(aot.CompiledModule):
        def run(self, x=A(2)):
            return x

    with pytest.raises(TypeError):
        spec_of(OneModule).members["other"] = None  # type: ignore[index]
    with pytest.raises(DeclarationError, match="does not change afterwards"):
        OneModule.other = 3  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="it was collected"):
        _ = OneModule.run


def test_a_lambda_and_a_nested_function_are_procedures() -> None:
    class LambdaModule(aot.CompiledModule):
        same = lambda self, x=A(2): x  # noqa: E731

    assert str(spec_of(LambdaModule)) == "module @lambda\n  procedure @same(x: f32[2])"


def test_annotations_are_signatures() -> None:
    class AnnotatedModule(aot.CompiledModule):
        def run(self, x: A(4), y: list = [A(2)], *, z: {"k": A("n")}) -> Any:  # noqa: F821, UP037
            return x

    shown = "procedure @run(x: f32[4], y: [f32[2]], z: {k: f32[n]})"
    assert shown in str(spec_of(AnnotatedModule))
