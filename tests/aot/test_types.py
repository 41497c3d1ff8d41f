# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The abstract values that users write."""

import pytest
import torch

import shark_turbine.aot as aot
from shark_turbine.aot.dims import DimVar
from shark_turbine.aot.types import TensorType, scalar_type_of
from shark_turbine.errors import DeclarationError, DimensionError, UnsupportedTypeError

A = aot.AbstractTensor


def test_tensors_are_shown_as_they_are_written() -> None:
    assert repr(A(3, 2, dtype=torch.float16)) == "AbstractTensor(3, 2, dtype=torch.float16)"
    assert repr(A()) == "AbstractTensor(dtype=torch.float32)"
    assert repr(A(None, "n")) == "AbstractTensor(None, 'n', dtype=torch.float32)"
    assert eval(repr(A(None, "n", 4)), {"AbstractTensor": A, "torch": torch}) == A(None, "n", 4)


def test_sizes_come_one_by_one_or_as_a_sequence() -> None:
    assert A(2, 3) == A((2, 3)) == A([2, 3]) == A(torch.Size([2, 3]))
    assert A(2, None) != A(2, 3)
    assert A(2) != A(2, dtype=torch.int32)
    assert A(2) != (2,)
    assert len({A(2), A(2), A(3)}) == 2
    assert A(0, 4).size == (0, 4)


@pytest.mark.parametrize("size", [-1, 1.5, True, "", "a b", "1x", object(), (2, 3)])
def test_what_is_no_size(size: object) -> None:
    with pytest.raises(DeclarationError):
        A(2, size)  # type: ignore[arg-type]


def test_dtypes_that_no_module_holds() -> None:
    for dtype in (torch.quint8, torch.complex32, torch.bits8):
        with pytest.raises(UnsupportedTypeError, match=str(dtype)):
            A(2, dtype=dtype)


def test_dynamic_dim_belongs_to_arguments() -> None:
    with pytest.raises(DimensionError, match="AbstractTensor\\(None"):
        A(None).dynamic_dim(0)


def test_scalars() -> None:
    scalars = [aot.AbstractIndex, aot.AbstractI32, aot.AbstractI64, aot.AbstractF32]
    scalars += [aot.AbstractF64, aot.AbstractBool]
    assert [str(scalar) for scalar in scalars] == ["index", "i32", "i64", "f32", "f64", "bool"]
    assert repr(aot.AbstractI64) == "AbstractI64"
    assert [scalar.is_integer for scalar in scalars] == [True, True, True, False, False, False]
    assert [scalar.is_float for scalar in scalars] == [False, False, False, True, True, False]
    kinds = [scalar_type_of(value) for value in (True, 1, 1.5)]
    assert kinds == [aot.AbstractBool, aot.AbstractI64, aot.AbstractF64]


def test_traced_types_show_their_dims() -> None:
    assert str(TensorType(torch.bfloat16, (DimVar(0, "n"), 4))) == "bf16[d0, 4]"
    assert str(TensorType(torch.bool, ())) == "bool[]"


def test_abstractify() -> None:
    tree = {"x": torch.zeros(2, 3, dtype=torch.int8), "y": [1, 2.5, True, A(None)], "z": ()}
    assert aot.abstractify(tree) == {
        "x": A(2, 3, dtype=torch.int8),
        "y": [aot.AbstractI64, aot.AbstractF64, aot.AbstractBool, A(None)],
        "z": (),
    }
    declared = aot.export_global_tree({"a": torch.zeros(2), "b": [3]})
    assert aot.abstractify(declared) == {"a": A(2), "b": [aot.AbstractI64]}
    assert aot.abstractify([declared["a"], aot.export_global(True)]) == [A(2), aot.AbstractBool]
