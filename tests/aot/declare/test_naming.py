# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Names of modules and symbols."""

import pytest
import torch

import shark_turbine.aot as aot
from shark_turbine.aot.declare.naming import function_symbol, module_name, symbol_of
from shark_turbine.errors import DeclarationError


@pytest.mark.parametrize(
    ("class_name", "name"),
    [
        ("BasicModule", "basic"),
        ("HTMLParserModule", "h_t_m_l_parser"),
        ("Module", "module"),
        ("ModuleModule", "module"),
        ("Llama", "llama"),
        ("MyLlama2Module", "my_llama2"),
        ("ModuleOfState", "module_of_state"),
        ("_Private", "__private"),
        ("lower", "lower"),
        ("ÄtherModule", "äther"),
    ],
)
def test_a_module_is_named_by_its_class(class_name: str, name: str) -> None:
    assert module_name(class_name, None) == name


def test_an_export_name_is_kept_verbatim() -> None:
    class AnyModule(aot.CompiledModule, export_name="My-Odd name"):
        pass

    module = AnyModule()
    assert aot.CompiledModule.get_spec(module).name == "My-Odd name"
    assert 'module @"My-Odd name"' in str(aot.CompiledModule.get_mlir_module(module))


@pytest.mark.parametrize("name", ["", 3, b"x"])
def test_what_is_no_export_name(name: object) -> None:
    with pytest.raises(DeclarationError, match="export_name"):
        module_name("AnyModule", name)  # type: ignore[arg-type]


def test_symbols() -> None:
    assert symbol_of("params", "classifier.weight") == "_params.classifier.weight"
    assert symbol_of("value", "") == "_value"
    assert function_symbol(lambda: None) == "lambda"
    assert function_symbol(torch.relu) == "relu"
    assert function_symbol(torch.nn.ReLU()) == "ReLU"
