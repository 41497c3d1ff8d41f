# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`run` and `inspect` on real files."""

import json

import ml_dtypes
import numpy as np
import pytest
import torch

from shark_turbine import aot
from shark_turbine.cli.results import Result, write_results
from shark_turbine.errors import CommandLineError


class Numbers(aot.CompiledModule):
    total = aot.export_global(torch.zeros(2), mutable=True)

    @aot.jittable
    def compute(x, k):
        return {"sum": x + k, "parts": [x * 2, x > 1]}

    @aot.jittable
    def divide(a, b):
        return a / b

    @aot.jittable
    def pick(table, index):
        return table[index]  # pyright: ignore[reportIndexIssue]

    def both(self, x=aot.AbstractTensor("n"), k=aot.AbstractF32):
        return self.compute(x, k)

    def add(self, terms={"a": aot.AbstractTensor(2), "b": aot.AbstractTensor(2)}):  # noqa: B006
        self.total = self.compute(terms["a"], terms["b"])["sum"]
        return self.total

    def narrow(self, x=aot.AbstractTensor(2, dtype=torch.bfloat16)):
        return self.divide(x, x)

    def choose(self, table=aot.AbstractTensor(3), index=aot.AbstractTensor(1, dtype=torch.int64)):
        return self.pick(table, index)


@pytest.fixture(scope="module")
def vmfb(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "numbers.vmfb"
    aot.export(Numbers).compile(save_to=path)
    return path


def test_results_are_printed_under_their_paths(call, vmfb):
    code, out, err = call(
        "run", vmfb, "--function", "both", "--input", "3xf32=0 1 2", "--input", "0.5"
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "result['sum']: f32[3]",
        "[0.5 1.5 2.5]",
        "result['parts'][0]: f32[3]",
        "[0. 2. 4.]",
        "result['parts'][1]: bool[3]",
        "[False False  True]",
    ]


def test_results_are_json(call_json, vmfb):
    words = ("run", vmfb, "--function", "both", "--input", "k:f32=1", "--input", "x:2xf32=nan inf")
    code, told = call_json(*words, "--device", "local-sync", "--repeat", 5)
    assert code == 0
    assert (told["function"], told["device"], told["calls"]) == ("both", "local-sync", 5)
    assert told["median_seconds"] > 0
    assert told["results"][0] == {
        "name": "result['sum']", "dtype": "f32", "shape": [2], "values": ["nan", "inf"]
    }  # fmt: skip
    assert told["results"][2]["values"] == [False, True]


def test_files_in_and_out(call, call_json, vmfb, here):
    np.savez("terms.npz", a=np.float32([1, 2]), b=np.float32([10, 20]))
    add = ("run", vmfb, "--function", "add", "--input", "@terms.npz:a", "--input", "@terms.npz:b")
    code, out, _ = call(*add, "--output", "@sum.npy", "--repeat", 3)
    assert (code, out.splitlines()[0]) == (0, "wrote sum.npy")
    assert "median of 3 calls: " in out
    np.testing.assert_array_equal(np.load("sum.npy"), np.float32([11, 22]))
    both = ("run", vmfb, "--function", "both", "--input", "@sum.npy", "--input", "1")
    code, told = call_json(*both, "--output", "all.npz")
    assert (code, [entry["file"] for entry in told["results"]]) == (0, ["all.npz"] * 3)
    with np.load("all.npz") as archive:
        assert set(archive) == {"sum", "parts.0", "parts.1"}
        np.testing.assert_array_equal(archive["parts.0"], np.float32([22, 44]))


def test_two_results_of_one_name_are_not_made_one(tmp_path):
    same = [Result(keys, np.ones(1)) for keys in [("a", "b"), ("a.b",)]]
    with pytest.raises(CommandLineError, match=r"two results would have one name"):
        write_results(same, [tmp_path / "all.npz"])
    assert list(tmp_path.iterdir()) == []


def test_dtypes_that_numpy_lacks(call, vmfb, here):
    narrow = ("run", vmfb, "--function", "narrow", "--input", "2xbf16=3")
    code, out, _ = call(*narrow)
    assert (code, out.splitlines()) == (0, ["result: bf16[2]", "[1 1]"])
    np.array([1, 2], ml_dtypes.bfloat16).tofile("narrow.bin")
    assert call("run", vmfb, "--function", "narrow", "--input", "2xbf16=@narrow.bin")[0] == 0
    code, _, err = call(*narrow, "--output", "narrow.npy")
    assert (code, "a .npy file cannot hold result" in err) == (2, True)
    assert not (here / "narrow.npy").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "has 4 functions"),
        (["--function", "bth"], 2, "has no function 'bth'"),
        (["--function", "both"], 2, "--input 4xf32 --input f32=0  (for zeros)"),
        (["--function", "both", "--input", "3xi32", "--input", "1"], 2, "x has the wrong dtype"),
        (["--function", "both", "--input", "?xf32"], 2, "--input 4xf32"),
        (["--function", "both", "--input", "y:2xf32"], 2, "has no argument 'y'"),
        (["--function", "narrow"] + ["--input", "2xbf16"] * 2, 2, "given too many inputs"),
        (["--function", "narrow", "--input", "@no.npy"], 2, "No such file"),
        (
            ["--function", "narrow", "--input", "2xbf16", "--device", "tpu"],
            2,
            "fix:      --device local-task uses",
        ),
        (
            ["--function", "choose", "--input", "3xf32", "--input", "1xi64=7"],
            4,
            "index out of range",
        ),
        (
            ["--function", "narrow", "--input", "2xbf16", "--output", "a.npy", "--output", "b.npy"],
            2,
            "gives 1 result",
        ),
        (["--parameters", "a=x", "--parameters", "y"], 2, "some parameters have a scope"),
    ],
)
def test_what_does_not_fit_is_said_without_a_traceback(call, vmfb, words, code, said):
    found, out, err = call("run", vmfb, *words)
    assert (found, out) == (code, "")
    assert err.startswith("error: ")
    assert said in err
    assert "Traceback" not in err


def test_a_file_that_is_no_vmfb(call, here):
    code, _, err = call("run", "cli_programs.py")
    assert (code, "this is not a vmfb" in err) == (2, True)


def test_inspect_shows_a_table(call, vmfb):
    code, out, err = call("inspect", vmfb)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "module @numbers" in lines
    assert "contracts checked in every call" in lines
    assert "state 1 mutable global: total: f32[2]" in lines
    assert "parameters none outside of the file" in lines
    assert "both takes x f32[n]" in lines
    assert "takes k f32" in lines
    assert "gives {'sum': f32[n], 'parts': [f32[n], bool[n]]}" in lines
    assert any(line.startswith("target llvm-cpu, x86_64") for line in lines)


def test_inspect_tells_of_random_numbers(call, tmp_path):
    def noisy(x):
        return x + torch.rand(3)

    path = tmp_path / "noisy.vmfb"
    aot.export(noisy, torch.ones(3)).compile(save_to=path)
    _, out, _ = call("inspect", path)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "state no mutable globals; calls advance a generator of random numbers" in lines
    assert "device local-sync, unless load() is told another" in lines


def test_inspect_prints_the_manifest_as_json(call, vmfb):
    code, out, _ = call("inspect", vmfb, "--json")
    manifest = json.loads(out)
    assert (code, manifest["module"]) == (0, "numbers")
    assert [function["name"] for function in manifest["functions"]] == [
        "both", "add", "narrow", "choose"
    ]  # fmt: skip
