# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Wrong calls: the whole message, compared as text; and nothing has run."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from shark_turbine.errors import ArgumentError, ContractError, TurbineError
from shark_turbine.runtime import LoadedModule

A = torch.tensor([1.0, 2.0, 3.0, 4.0])
ROWS = torch.zeros(3, 4)
SCALARS = (1, 2, 3.0, 4.0, True, 5, 6.0)


def scalars(index: int, value: object) -> tuple[Any, ...]:
    return (*SCALARS[:index], value, *SCALARS[index + 1 :])


Call = Callable[[LoadedModule], object]
TREE = (
    "tree(x: (f32[4], {'a': f32[4], 'n': None}), scale: f32[4], flag: True, mode: None)"
    " -> {'sum': f32[4], 'parts': [f32[4], 3], 'none': None}"
)
WRONG_CALLS: dict[str, tuple[Call, str]] = {
    "missing": (
        lambda m: m.add(A),
        """
        basic.add: missing argument b
          got:      (f32[4])
          expected: add(a: f32[4], b: f32[4]) -> f32[4]
        """,
    ),
    "all missing": (
        lambda m: m.add(),
        """
        basic.add: missing arguments a, b
          got:      ()
          expected: add(a: f32[4], b: f32[4]) -> f32[4]
        """,
    ),
    "too many": (
        lambda m: m.add(A, A, 3),
        """
        basic.add: takes 2 positional arguments, 3 were given
          got:      (f32[4], f32[4], int 3)
          expected: add(a: f32[4], b: f32[4]) -> f32[4]
        """,
    ),
    "keyword-only by position": (
        lambda m: m.tree((A, {"a": A, "n": None}), A),
        f"""
        basic.tree: takes 1 positional argument, 2 were given
          got:      (a tuple of 2, f32[4])
          expected: {TREE}
        """,
    ),
    "unknown keyword": (
        lambda m: m.tree((A, {"a": A, "n": None}), scales=A),
        f"""
        basic.tree: there is no argument called 'scales'
          got:      (a tuple of 2, scales=f32[4])
          expected: {TREE}
          fix:      did you mean 'scale'?
        """,
    ),
    "twice": (
        lambda m: m.add(A, a=A),
        """
        basic.add: a was given twice, by position and by keyword
          got:      (f32[4], a=f32[4])
          expected: add(a: f32[4], b: f32[4]) -> f32[4]
        """,
    ),
    "a tensor for a tuple": (
        lambda m: m.tree(A, scale=A),
        """
        basic.tree: x has another structure than the function was compiled for
          got:      f32[4]
          expected: a tuple of 2
        """,
    ),
    "tuple too long": (
        lambda m: m.tree((A, A, A), scale=A),
        """
        basic.tree: x has another structure than the function was compiled for
          got:      a tuple of 3
          expected: a tuple of 2
        """,
    ),
    "a list for a dict": (
        lambda m: m.tree((A, [A]), scale=A),
        """
        basic.tree: x[1] has another structure than the function was compiled for
          got:      a list of 1
          expected: a dict with the keys 'a', 'n'
        """,
    ),
    "keys": (
        lambda m: m.tree((A, {"aa": A, "n": None}), scale=A),
        """
        basic.tree: x[1] lacks 'a' and has an unknown key 'aa'
          got:      a dict with the keys 'aa', 'n'
          expected: a dict with the keys 'a', 'n'
          fix:      did you mean 'a' for 'aa'?
        """,
    ),
    "a fixed value": (
        lambda m: m.tree((A, {"a": A, "n": None}), scale=A, flag=False),
        """
        basic.tree: flag was fixed to True when the function was compiled
          got:      bool False
          expected: True
          fix:      leave flag out, or compile the function for the other value
        """,
    ),
    "a fixed value inside": (
        lambda m: m.tree((A, {"a": A, "n": 1}), scale=A),
        """
        basic.tree: x[1]['n'] was fixed to None when the function was compiled
          got:      int 1
          expected: None
          fix:      pass None, or compile the function for the other value
        """,
    ),
    "torch dtype": (
        lambda m: m.add(A, A.double()),
        """
        basic.add: b has the wrong dtype
          got:      f64[4]
          expected: f32[4]
          fix:      b.to(torch.float32)
        """,
    ),
    "numpy dtype": (
        lambda m: m.add(np.zeros(4), A),
        """
        basic.add: a has the wrong dtype
          got:      f64[4]
          expected: f32[4]
          fix:      a.astype(numpy.float32)
        """,
    ),
    "a dtype that nobody knows": (
        lambda m: m.add(np.array(["x"] * 4), A),
        """
        basic.add: a has the wrong dtype
          got:      <U1[4]
          expected: f32[4]
          fix:      a.astype(numpy.float32)
        """,
    ),
    "byte order": (
        lambda m: m.add(np.zeros(4, ">f4"), A),
        """
        basic.add: a has the wrong dtype
          got:      >f4[4]
          expected: f32[4]
          fix:      a.astype(numpy.float32)
        """,
    ),
    "in a tree": (
        lambda m: m.tree((A, {"a": A.int(), "n": None}), scale=A),
        """
        basic.tree: x[1]['a'] has the wrong dtype
          got:      i32[4]
          expected: f32[4]
          fix:      x[1]['a'].to(torch.float32)
        """,
    ),
    "rank": (
        lambda m: m.add(A, ROWS),
        """
        basic.add: b has the wrong number of dims (2, not 1)
          got:      f32[3, 4]
          expected: f32[4]
        """,
    ),
    "fixed dim": (
        lambda m: m.add(A, A[:3]),
        """
        basic.add: b.shape[0] is 3, not 4
          got:      f32[3]
          expected: f32[4]
        """,
    ),
    "fixed dim beside a dynamic one": (
        lambda m: m.rows(ROWS, torch.zeros(3, 5)),
        """
        basic.rows: b.shape[1] is 5, not 4
          got:      f32[3, 5]
          expected: f32[n, 4]
        """,
    ),
    "unequal dims": (
        lambda m: m.rows(ROWS, ROWS[:2]),
        """
        basic.rows: a.shape[0] (3) must equal b.shape[0] (2): both are 'n'
        """,
    ),
    "a list": (
        lambda m: m.add(A, [1.0, 2.0, 3.0, 4.0]),
        """
        basic.add: b has the wrong type
          got:      a list of 4
          expected: a torch tensor or numpy array of f32[4]
          fix:      b = torch.as_tensor(b)
        """,
    ),
    "None": (
        lambda m: m.add(A, None),
        """
        basic.add: b has the wrong type
          got:      NoneType None
          expected: a torch tensor or numpy array of f32[4]
        """,
    ),
    "a number for a tensor": (
        lambda m: m.add(A, 1.0),
        """
        basic.add: b has the wrong number of dims (0, not 1)
          got:      float 1.0
          expected: f32[4]
        """,
    ),
    "another device": (
        lambda m: m.add(A, A.to("meta")),
        """
        basic.add: b is not in the memory of the CPU
          got:      f32[4] on meta
          expected: f32[4]
          fix:      b.cpu()
        """,
    ),
    "sparse": (
        lambda m: m.add(A, A.to_sparse()),
        """
        basic.add: b is not a dense tensor
          got:      torch.sparse_coo
          expected: f32[4]
          fix:      b.to_dense()
        """,
    ),
    "int out of range": (
        lambda m: m.scalars(*scalars(0, 2**31)),
        """
        basic.scalars: i does not fit into i32
          got:      2147483648
          expected: a number from -2147483648 to 2147483647
        """,
    ),
    "negative for unsigned": (
        lambda m: m.scalars(*scalars(5, -1)),
        """
        basic.scalars: u does not fit into u64
          got:      -1
          expected: a number from 0 to 18446744073709551615
        """,
    ),
    "float out of range": (
        lambda m: m.scalars(*scalars(2, 1e300)),
        """
        basic.scalars: f does not fit into f32
          got:      1e+300
          expected: a number from -3.4028234663852886e+38 to 3.4028234663852886e+38
        """,
    ),
    "float for int": (
        lambda m: m.scalars(*scalars(1, 1.5)),
        """
        basic.scalars: l has the wrong type
          got:      float 1.5
          expected: a Python int, passed as i64
          fix:      int(l)
        """,
    ),
    "int for bool": (
        lambda m: m.scalars(*scalars(4, 1)),
        """
        basic.scalars: b has the wrong type
          got:      int 1
          expected: a Python bool, passed as bool
          fix:      bool(b)
        """,
    ),
    "a tensor for a number": (
        lambda m: m.scalars(*scalars(0, A)),
        """
        basic.scalars: i has the wrong type
          got:      f32[4]
          expected: a Python int, passed as i32
        """,
    ),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_wrong_calls(basic: LoadedModule, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call, expected = WRONG_CALLS[name]
    monkeypatch.setattr(basic, "context", "nothing may run")
    with pytest.raises(ArgumentError) as caught:
        call(basic)
    assert str(caught.value) == textwrap.dedent(expected).strip()


def test_what_is_no_mistake(basic: LoadedModule) -> None:
    for value in (math.inf, -math.inf, 1, True):
        assert basic.scalars(*scalars(2, value))[2] == value
    assert math.isnan(basic.scalars(*scalars(3, math.nan))[3])
    assert basic.scalars(*scalars(0, -(2**31)))[0] == -(2**31)


def test_a_broken_contract_is_just_its_text(basic: LoadedModule) -> None:
    rows = torch.zeros(8, 4)
    with pytest.raises(ContractError) as caught:
        basic.rows(rows, rows)
    assert str(caught.value) == "rows: a.shape[0] must be < 8"
    assert isinstance(caught.value, TurbineError)
    assert basic.rows(rows[:7], rows[:7]).shape == (7, 4)


def test_no_such_function(basic: LoadedModule) -> None:
    with pytest.raises(AttributeError) as caught:
        basic.ad  # noqa: B018
    assert str(caught.value).startswith("module 'basic' has no function 'ad'; did you mean 'add'?")
    with pytest.raises(KeyError, match="did you mean 'rows'"):
        basic["row"]
    with pytest.raises(TypeError, match=r"no function 'main' \(it has: .*rows.*\): call one of"):
        basic(1)
