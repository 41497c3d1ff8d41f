# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The words after `--input`, and the arrays that they stand for."""

import numpy as np
import pytest

from shark_turbine.cli.arrays import to_array
from shark_turbine.cli.input_spec import DynamicDim, InputSpec, parse_input
from shark_turbine.errors import CommandLineError

BATCH = DynamicDim("batch", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2x16xf32", {"dims": (2, 16), "dtype": "f32"}),
        ("f32", {"dtype": "f32"}),
        ("3xcomplex64", {"dims": (3,), "dtype": "complex64"}),
        ("2x2xcomplex<f32>", {"dims": (2, 2), "dtype": "complex64"}),
        ("2xui8", {"dims": (2,), "dtype": "u8"}),
        ("batch?x16xf32", {"dims": (BATCH, 16), "dtype": "f32"}),
        ("?x?8xf32", {"dims": (DynamicDim(None, None), DynamicDim(None, 8)), "dtype": "f32"}),
        ("max?4x3xf8e4m3fn", {"dims": (DynamicDim("max", 4), 3), "dtype": "f8e4m3fn"}),
        ("mask:2xbool=1 0", {"name": "mask", "dims": (2,), "dtype": "bool", "values": "1 0"}),
        ("x['a']:2xf32", {"name": "x['a']", "dims": (2,), "dtype": "f32"}),
        ("f32=-1.5", {"dtype": "f32", "values": "-1.5"}),
        ("-3", {"values": "-3"}),
        ("1e-3", {"values": "1e-3"}),
        ("True", {"values": "True"}),
        ("@a.npy", {"file": "a.npy"}),
        ("@b/a.npz:key", {"file": "b/a.npz", "key": "key"}),
        ("x:@a.npz", {"name": "x", "file": "a.npz"}),
        ("2x2xf32=@a.bin", {"dims": (2, 2), "dtype": "f32", "file": "a.bin"}),
    ],
)
def test_a_spec_is_read(text, expected):
    assert parse_input(text) == InputSpec(text, **expected)


@pytest.mark.parametrize("text", ["", "2x", "x16xf32", "batchx16xf32", "2x16", "two", "2x-1xf32"])
def test_what_means_nothing_is_refused(text):
    with pytest.raises(CommandLineError, match=r"--input cannot be read|there is no dtype"):
        to_array(parse_input(text), ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2x2xf32", np.zeros((2, 2), np.float32)),
        ("2x2xf32=1.5", np.full((2, 2), 1.5, np.float32)),
        ("2x2xi64=1 2 3 4", np.array([[1, 2], [3, 4]])),
        ("2x2xi8=[[1, 2], [3, -4]]", np.array([[1, 2], [3, -4]], np.int8)),
        ("2xbool=true 0", np.array([True, False])),
        ("1xu64=0xffffffffffffffff", np.array([2**64 - 1], np.uint64)),
        ("2xcomplex64=1+2j 3", np.array([1 + 2j, 3], np.complex64)),
        ("2xf16=nan inf", np.array([np.nan, np.inf], np.float16)),
        ("i32=7", np.array(7, np.int32)),
    ],
)
def test_values_become_an_array(text, expected):
    spec = parse_input(text)
    array = to_array(spec, spec.dims)
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


def test_a_number_stays_one():
    assert to_array(parse_input("7"), ()) == 7
    assert isinstance(to_array(parse_input("7"), ()), int)
    assert to_array(parse_input("true"), ()) is True
    assert to_array(parse_input("-1.5e3"), ()) == -1500.0


def test_dtypes_that_numpy_lacks():
    array = to_array(parse_input("2xbf16=1.5 -2"), (2,))
    assert (array.dtype.name, array.astype(np.float32).tolist()) == ("bfloat16", [1.5, -2.0])


def test_files_become_arrays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save("a.npy", values)
    np.savez("a.npz", x=values, y=values + 1)
    values.tofile("a.bin")
    for text, expected in [
        ("@a.npy", values),
        ("@a.npz:y", values + 1),
        ("2x3xf32=@a.bin", values),
    ]:
        spec = parse_input(text)
        np.testing.assert_array_equal(to_array(spec, spec.dims), expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2xfloat32", "did you mean 'f32'?"),
        ("2xf33", "did you mean 'f32'?"),
        ("3xf32=1 2", "2 values"),
        ("2xi8=1 300", "300, where i8 holds -128 to 127"),
        ("2xi32=1.5", "values of i32"),
        ("2xbool=yes no", "values of bool"),
        ("@none.npy", "none.npy: No such file or directory"),
        ("@text.npy", "text.npy"),
        ("@a.npz:z", "a.npz has no array 'z'"),
        ("@a.npz", "a.npz holds several arrays"),
        ("3xf32=@text.npy", "of 4 bytes"),
    ],
)
def test_what_does_not_fit_is_said(text, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", x=np.ones(1), y=np.ones(1))
    (tmp_path / "text.npy").write_text("text")
    spec = parse_input(text)
    with pytest.raises(CommandLineError) as caught:
        to_array(spec, spec.dims)
    assert said in str(caught.value)
