# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What user methods hold while a procedure is traced: stand-ins for tensors and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

import torch

from shark_turbine import trees
from shark_turbine.errors import DimensionError, TracingError

from ..dims import DimVar, DynamicDim
from ..types import AbstractScalar, TensorType, ValueType

if TYPE_CHECKING:
    from .procedure import ProcedureRecorder


_Type = TypeVar("_Type", bound=ValueType)


class _Traced(Generic[_Type]):
    """A value of the procedure that is being traced: its id, its type, what the user calls it."""

    __slots__ = ("_name", "_recorder", "_symbol", "type", "value")

    def __init__(
        self,
        recorder: ProcedureRecorder,
        value: int,
        type: _Type,
        name: str,
        symbol: str | None = None,
    ) -> None:
        self._recorder = recorder
        self.value = value
        self.type = type
        self._name = name
        self._symbol = symbol

    def set(self, value: Any) -> None:
        """Store a new value in the global that this value was read from.

        Raises:
            TracingError: it was not read from a global, or the global is immutable, or of another
                type.
        """
        self._recorder.set_global(self._symbol, self._name, value)


class TensorProxy(_Traced[TensorType]):
    """A tensor of the procedure that is being traced: has a shape and dtype, and no data.

    Compute with it in an `aot.jittable`; here it can be passed, stored in a global and returned.
    """

    __slots__ = ()

    @property
    def dtype(self) -> torch.dtype:
        """The element type."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        """The number of dims."""
        return len(self.type.shape)

    @property
    def shape(self) -> tuple[int | ScalarProxy, ...]:
        """The sizes: an int where fixed, a scalar of type index where dynamic."""
        return tuple(self.size(axis) for axis in range(self.ndim))

    def size(self, dim: int) -> int | ScalarProxy:
        """Return the size of one dim: an int where fixed, a scalar of type index where dynamic."""
        return self._recorder.size_of(self, self._axis(dim))

    def dim(self) -> int:
        """Return the number of dims."""
        return self.ndim

    def item(self) -> ScalarProxy:
        """Return the one element of a tensor as a scalar; the artifact waits for it there."""
        return self._recorder.tensor_load(self, [0] * self.ndim)

    def dynamic_dim(self, index: int) -> DynamicDim:
        """Name a dynamic dim, to constrain it: `x.dynamic_dim(0) < 4096`.

        Raises:
            DimensionError: the dim is static, or there is no such dim.
        """
        axis = self._axis(index)
        dim = self.type.shape[axis]
        if isinstance(dim, DimVar):
            self._recorder.owned([self])
            return DynamicDim(dim)
        raise DimensionError(
            f"dim {index} of {self._name} is static",
            where=self._recorder.where,
            location=self._recorder.user_location(),
            got=f"{self._name} is {self.type}",
            expected="a dim that was declared with None or a name",
            fix=f"declare it dynamic, as in {_dynamic_declaration(self.type, axis)}",
        )

    def _axis(self, dim: int) -> int:
        if -self.ndim <= dim < self.ndim:
            return dim % self.ndim
        raise DimensionError(
            f"{self._name} has no dim {dim}",
            where=self._recorder.where,
            location=self._recorder.user_location(),
            got=f"{self._name} is {self.type}",
            expected=f"a dim from {-self.ndim} to {self.ndim - 1}" if self.ndim else "no dims",
            fix=f"{self._name}.dynamic_dim(0) is the first dim"
            if self.ndim
            else "declare one: aot.AbstractTensor(None, ...)",
        )

    def _refuse(self, what: str) -> NoReturn:
        what = what if what[-1].isalnum() or what[-1] == ")" else f"operator {what}"
        raise TracingError(
            f"{what} on {self._name}: a procedure records calls and state, it does not compute",
            where=self._recorder.where,
            location=self._recorder.user_location(),
            got=f"{self._name}: {self.type}",
            expected="torch operations inside an aot.jittable",
            fix="aot.jittable(lambda x: ...)(x), or a method decorated with @aot.jittable",
        )

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> NoReturn:
        for value in trees.leaves([args, kwargs or {}]):
            if isinstance(value, TensorProxy):
                value._refuse(f"torch.{getattr(func, '__name__', func)}")
        raise TracingError(
            "a torch function was called on the values of a procedure",
            got=getattr(func, "__name__", func),
            expected="torch operations inside an aot.jittable",
            fix="call it inside an aot.jittable",
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse(f".{name}")

    def __bool__(self) -> NoReturn:
        self._refuse("a Python condition")

    def __len__(self) -> NoReturn:
        self._refuse("len()")

    def __iter__(self) -> NoReturn:
        self._refuse("iteration")

    def __getitem__(self, index: Any) -> NoReturn:
        self._refuse("indexing")

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        self._refuse("indexed assignment")

    def __repr__(self) -> str:
        return f"<{self._name}: {self.type}>"


def _refusing(symbol: str) -> Any:
    def operator(self: Any, *_: Any) -> None:
        self._refuse(symbol)

    return operator


for _name, _symbol in (
    ("add", "+"),
    ("sub", "-"),
    ("mul", "*"),
    ("truediv", "/"),
    ("floordiv", "//"),
    ("mod", "%"),
    ("pow", "**"),
    ("matmul", "@"),
    ("and", "&"),
    ("or", "|"),
    ("xor", "^"),
):
    setattr(TensorProxy, f"__{_name}__", _refusing(_symbol))
    setattr(TensorProxy, f"__r{_name}__", _refusing(_symbol))
for _name, _symbol in (
    ("eq", "=="),
    ("ne", "!="),
    ("lt", "<"),
    ("le", "<="),
    ("gt", ">"),
    ("ge", ">="),
    ("neg", "-"),
    ("pos", "+"),
    ("invert", "~"),
    ("lshift", "<<"),
    ("rshift", ">>"),
):
    setattr(TensorProxy, f"__{_name}__", _refusing(_symbol))
for _name in ("int", "float", "complex", "index", "abs", "round"):
    setattr(TensorProxy, f"__{_name}__", _refusing(f"{_name}()"))


class ScalarProxy(_Traced[AbstractScalar]):
    """A number of the procedure that is being traced; arithmetic and comparison are recorded."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> NoReturn:
        raise TracingError(
            f"{self._name} is known only at run time: Python cannot branch on it",
            where=self._recorder.where,
            location=self._recorder.user_location(),
            got=f"{self._name}: {self.type}",
            expected="values that are known while the method is traced",
            fix="aot.cond(pred, true_fn, false_fn); or torch.where, inside an aot.jittable",
        )

    def __index__(self) -> NoReturn:
        raise TracingError(
            f"{self._name} is known only at run time: it is no Python number",
            where=self._recorder.where,
            location=self._recorder.user_location(),
            got=f"{self._name}: {self.type}",
            expected="numbers that are known while the method is traced",
            fix="pass it to an aot.jittable",
        )

    def _refuse(self, what: str) -> NoReturn:
        what = what if what[-1] == ")" else f"operator {what}"
        raise TracingError(
            f"{what} on {self._name} is not recorded",
            where=self._recorder.where,
            location=self._recorder.user_location(),
            got=f"{self._name}: {self.type}",
            expected="+, -, *, /, //, %, &, |, ^, ~, abs() and comparisons",
            fix="pass it to an aot.jittable, and compute there",
        )

    __int__ = __float__ = __index__

    def __neg__(self) -> ScalarProxy:
        return self._recorder.scalar_operation("*", self, -1)

    def __pos__(self) -> ScalarProxy:
        return self

    def __abs__(self) -> ScalarProxy:
        return self._recorder.scalar_operation("abs", self)

    def __invert__(self) -> ScalarProxy:
        return self._recorder.scalar_operation("^", self, self.type.name == "bool" or -1)

    def __repr__(self) -> str:
        return f"<{self._name}: {self.type}>"


def _recording(symbol: str, reflected: bool) -> Any:
    def operator(self: ScalarProxy, other: Any) -> ScalarProxy:
        left, right = (other, self) if reflected else (self, other)
        return self._recorder.scalar_operation(symbol, left, right)

    return operator


for _name, _symbol in (
    ("add", "+"),
    ("sub", "-"),
    ("mul", "*"),
    ("truediv", "/"),
    ("floordiv", "//"),
    ("mod", "%"),
    ("and", "&"),
    ("or", "|"),
    ("xor", "^"),
):
    setattr(ScalarProxy, f"__{_name}__", _recording(_symbol, reflected=False))
    setattr(ScalarProxy, f"__r{_name}__", _recording(_symbol, reflected=True))
for _name, _symbol in (
    ("eq", "=="),
    ("ne", "!="),
    ("lt", "<"),
    ("le", "<="),
    ("gt", ">"),
    ("ge", ">="),
):
    setattr(ScalarProxy, f"__{_name}__", _recording(_symbol, reflected=False))
for _name, _symbol in (
    ("pow", "**"),
    ("matmul", "@"),
    ("lshift", "<<"),
    ("rshift", ">>"),
):
    setattr(ScalarProxy, f"__{_name}__", _refusing(_symbol))
    setattr(ScalarProxy, f"__r{_name}__", _refusing(_symbol))
ScalarProxy.__round__ = _refusing("round()")  # type: ignore[attr-defined]


Proxy = TensorProxy | ScalarProxy


def _dynamic_declaration(type: TensorType, axis: int) -> str:
    dims = [
        "None" if index == axis or isinstance(dim, DimVar) else str(dim)
        for index, dim in enumerate(type.shape)
    ]
    return f"aot.AbstractTensor({', '.join(dims)}, dtype={type.dtype})"
