# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`export`: every kind of program, run afterwards and compared with eager PyTorch; and its mistakes."""

import json

import pytest
import torch

from shark_turbine import aot, runtime
from shark_turbine.cli import output

X = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
BY = torch.tensor([2.0, 3.0, 4.0])


def test_a_module_is_exported_and_says_so(call, here):
    code, out, err = call(
        "export", "cli_programs:model", "--input", "rows?x3xf32", "-o", "scale.vmfb"
    )
    assert (code, out) == (0, "")
    lines = err.splitlines()
    assert lines.pop(1) == "the module says something"
    steps = ["import", "load", "trace", "prepare", "kernels", "code"]
    assert [line.split()[0] for line in lines] == steps
    assert "Scale, 3 parameters (12 B)" in err
    assert "main(x: f32[rows, 3]) -> f32[rows, 3]" in err
    assert "scale.vmfb, " in lines[-1]
    # In eval(): a dropout would change it.
    torch.testing.assert_close(runtime.load("scale.vmfb").main(X), X * BY)


@pytest.mark.filterwarnings("error::shark_turbine.errors.TrainingModeWarning")
def test_training_mode_is_kept_where_it_is_asked_for(call, here):
    words = ("export", "cli_programs:model", "--input", "2x3xf32", "-o", "training.vmfb")
    assert call(*words, "--training")[0] == 0
    # Half of the numbers are dropped, and the others doubled.
    assert (runtime.load("training.vmfb").main(torch.ones(2, 3)) != BY).all()


def test_the_json_is_all_that_stdout_has(call_json, here):
    words = ("export", "cli_programs.py:make", "--input", "2x3xf32", "-o", "made.vmfb")
    code, told = call_json(*words, "--quiet")
    assert (code, told["file"], told["from_cache"]) == (0, "made.vmfb", False)
    assert told["bytes"] == (here / "made.vmfb").stat().st_size
    assert told["functions"][0]["signature"] == "main(x: f32[2, 3]) -> f32[2, 3]"
    assert told["target"]["backends"] == ["llvm-cpu"]
    assert told["recipe"]["name"] == "auto"
    assert told["kernels"] == 1
    assert set(told["seconds"]) == {
        "import", "load", "trace", "prepare", "kernels", "code"
    }  # fmt: skip
    torch.testing.assert_close(runtime.load("made.vmfb").main(X), X * (BY + 1))
    code, told = call_json(*words)
    assert (code, told["from_cache"]) == (0, True)


def test_arguments_have_names_and_options_their_effect(call, here):
    code, _, err = call(
        "export",
        "cli_programs:Scale",
        "--input",
        "n?4x3xf32",
        "--input",
        "shift:n?xn?xf32",
        "-o",
        "never.vmfb",
    )
    assert code == 3
    assert "error: " in err
    code, _, err = call(
        *("export", "cli_programs:Scale", "--input", "n?4x3xf32", "--input", "shift:n?x3xf32"),
        *("--function-name", "scale", "--module-name", "scaling", "--recipe", "none"),
        *("--flag=--iree-opt-level=O1", "-o", "named.vmfb"),
    )
    assert code == 0, err
    module = runtime.load("named.vmfb")
    assert (module.name, module.functions) == ("scaling", ("scale",))
    torch.testing.assert_close(module.scale(X, shift=X), X * BY + X)
    with pytest.raises(ValueError, match=r"both are 'n'"):
        module.scale(X, shift=X[:1])


def test_example_inputs_come_from_python(call, here):
    words = ("export", "cli_programs:model", "--inputs", "cli_programs:examples")
    code, _, err = call(*words, "--no-strict", "-o", "examples.vmfb")
    assert code == 0, err
    loaded = runtime.load("examples.vmfb")
    torch.testing.assert_close(loaded.main(x=X, shift=torch.ones(3)), X * BY + 1)


def test_functions_and_programs_of_other_kinds(call, here):
    code, _, err = call(
        *("export", "cli_programs:dot", "--input", "n?xf32", "--input", "n?xf32"),
        *("-o", "dot.vmfb", "-q"),
    )
    assert (code, err) == (0, "the module says something\n")
    torch.testing.assert_close(runtime.load("dot.vmfb").main(X[0], X[1]), X[0] @ X[1])

    class Doubled(torch.nn.Module):
        def forward(self, x):
            return x * 2

    program = torch.export.export(Doubled(), (torch.ones(3),))
    torch.export.save(program, here / "doubled.pt2")
    aot.FxPrograms({"twice": program}).save(here / "doubled.fx")
    assert call("export", "doubled.pt2", "-o", "doubled.vmfb", "-q")[0] == 0
    torch.testing.assert_close(runtime.load("doubled.vmfb").main(X[0]), X[0] * 2)
    assert call("export", "doubled.fx", "-o", "twice.vmfb", "-q")[0] == 0
    torch.testing.assert_close(runtime.load("twice.vmfb").twice(X[0]), X[0] * 2)


def test_mlir_is_written_and_not_compiled(call, call_json, here):
    code, told = call_json("export", "cli_programs:Pair", "-o", "pair.mlir")
    assert (code, told["bytes"]) == (0, (here / "pair.mlir").stat().st_size)
    assert list(told["seconds"]) == ["import", "load", "trace", "write"]
    text = (here / "pair.mlir").read_text()
    assert "func.func @split(%arg0: tensor<2xf32>, %arg1: tensor<2xbf16>)" in text
    assert call("export", "cli_programs:Pair", "-o", "pair.mlirbc", "-q")[0] == 0
    assert (here / "pair.mlirbc").read_bytes()[:4] == b"ML\xefR"


def test_external_weights_go_to_a_file_of_their_own(call, here):
    words = ("export", "cli_programs:model", "--input", "2x3xf32", "--weights", "external")
    code, _, err = call(*words, "-o", "outside.vmfb")
    assert code == 0, err
    assert "outside.safetensors, " in err
    code, out, _ = call(
        *("run", "outside.vmfb", "--input", "2x3xf32=1", "--json"),
        *("--parameters", "model=outside.safetensors"),
    )
    assert code == 0
    assert json.loads(out)["results"][0]["values"] == [[2.0, 3.0, 4.0]] * 2
    code, _, err = call("run", "outside.vmfb", "--input", "2x3xf32=1")
    assert (code, "needs parameters of 'model'" in err) == (2, True)
    assert "fix:      --parameters FILE" in err
    code, out, _ = call("inspect", "outside.vmfb")
    assert "1 tensor of 12 B from outside, scope model" in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["cli_programms:model"], 2, "did you mean 'cli_programs'?"),
        (["cli_program.py:model"], 2, "did you mean cli_programs.py?"),
        (["cli_programs"], 2, "cli_programs:model"),
        (["./notes:model"], 2, "notes is no Python file"),
        (["weights.pt"], 2, "a file of weights holds no program"),
        (["none.pt2"], 2, "none.pt2 cannot be read as a saved program"),
        (["cli_programs:modle"], 2, "did you mean 'model'?"),
        (["cli_programs:number"], 2, "cli_programs:number cannot be exported"),
        (["cli_programs:nothing"], 2, "nothing() gave int"),
        (["cli_programs:Sized"], 2, "a class that takes size"),
        (["cli_programs:Pair", "--input", "f32"], 2, "brings its own signature"),
        (["cli_programs:model", "--target", "risc"], 2, "there is no target of that name"),
        (["cli_programs:model", "--recipe", "fast"], 2, "there is no such recipe"),
        (["cli_programs:model", "--input", "2xfloat32"], 2, "did you mean 'f32'?"),
        (["cli_programs:model"], 2, "--input for each of x, such as --input 2x16xf32"),
        (
            ["cli_programs:dot", "--input", "n?4xf32", "--input", "n?5xf32"],
            2,
            "the dim n has two example sizes",
        ),
        (["cli_programs:dot", "--input", "2xf32"], 2, "the example arguments do not fit"),
        (["cli_programs:model", "--inputs", "cli_programs:number"], 2, "holds no example inputs"),
        (["cli_programs:Decides", "--input", "3xf32"], 3, "Decides"),
        (["cli_programs:dot", "--input", "a:2xf32", "--input", "2xf32"], 2, "without a name"),
        (["cli_programs:model", "--input", "3xf32", "--flag=--iree-no"], 2, "'--iree-no'"),
    ],
)
def test_a_mistake_is_said_without_a_traceback(call, here, words, code, said):
    (here / "notes").write_text("no Python")
    found, out, err = call("export", *words, "-o", "never.vmfb", "-q")
    assert (found, out) == (code, "")
    assert said in err
    assert "Traceback" not in err
    assert not (here / "never.vmfb").exists()


def test_what_the_users_code_raises_is_named_with_its_line(call, here):
    (here / "cli_programs_broken.py").write_text("x = 1\ny = x / 0\n")
    code, _, err = call("export", "cli_programs_broken:y", "-o", "never.vmfb")
    assert code == 2
    assert f"({here / 'cli_programs_broken.py'}:2): importing cli_programs_broken raised" in err
    assert "got:      y = x / 0" in err
    code, _, err = call("export", "cli_programs:broken", "-o", "never.vmfb", "-q")
    assert code == 2
    assert "broken() raised IndexError: list index out of range" in err
    code, _, err = call("--traceback", "export", "cli_programs:broken", "-o", "never.vmfb", "-q")
    assert (code, "Traceback (most recent call last)" in err) == (2, True)
    assert "return [1][2]" in err
    (here / "cli_programs_syntax.py").write_text("def f(:\n")
    code, _, err = call("export", "cli_programs_syntax.py:f", "-o", "never.vmfb")
    assert (code, "cli_programs_syntax.py:1" in err) == (2, True)
    (here / "cli_programs_lacks.py").write_text("import no_such_thing\n")
    code, _, err = call("export", "cli_programs_lacks:f", "-o", "never.vmfb")
    assert (code, "No module named 'no_such_thing'" in err) == (2, True)


def test_a_place_that_cannot_be_written_is_said_first(call, here):
    code, _, err = call("export", "cli_programs:model", "-o", "missing/x.vmfb")
    assert code == 2
    assert "missing/x.vmfb cannot be written" in err
    assert "load" not in err


def test_a_warning_is_one_line_without_a_line_of_ours(capsys):
    ours = output.__file__
    for file in (ours, "/home/user/model.py"):
        output.show_warning(UserWarning("the model changes self.seen"), UserWarning, file, 7)
    assert capsys.readouterr().err.splitlines() == [
        "warning: the model changes self.seen",
        "warning: the model changes self.seen  (/home/user/model.py:7)",
    ]


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["model", "-o", "missing/x.vmfb"], "fix:      mkdir -p 'missing'"),
        (
            ["model", "-o", "x.vmfb", "--timeout", "0.001", "--no-cache"],
            "more time: --timeout 7200",
        ),
        (["model", "-o", "x.vmfb", "--recipe", "qqq"], "fix:      --recipe auto"),
        (["model", "-o", "x.vmfb", "--target", "qqq"], "fix:      shark-turbine targets lists"),
        (["Frames", "-o", "x.vmfb"], "fix:      --no-strict traces it without TorchDynamo"),
    ],
)
def test_what_mends_an_error_is_said_for_the_command_line(call, words, fix):
    name, *others = words
    code, _, err = call("export", f"cli_programs:{name}", "--input", "2x3xf32", *others, "-q")
    assert code in (2, 3)
    assert fix in err
