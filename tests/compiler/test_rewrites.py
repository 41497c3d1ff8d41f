# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rewrites of a recipe: the same numbers as eager PyTorch, whatever the convolution looks like."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

import shark_turbine.runtime as runtime
from shark_turbine import aot, compiler
from shark_turbine.compiler import dispatch_map
from shark_turbine.compiler.rewrites import REWRITES, rewrite
from shark_turbine.errors import CompileError
from tests.compiler.layers import BATCH, CONVOLUTIONS, Many


def every(dims: int) -> list[nn.Module]:
    """Dense, grouped and depthwise convolutions with strides, paddings and dilations of all kinds."""
    torch.manual_seed(0)
    kind = CONVOLUTIONS[dims - 1]
    layers = []
    choices = itertools.product((1, 2, 4), (1, 2, 3), (1, 2, 3), (1, 2))
    # Every third of them, others for each number of dims: compiling takes its time.
    for groups, kernel, stride, dilation in itertools.islice(choices, dims % 3, None, 3):
        padding = (kernel + groups) % 3
        layers.append(
            kind(
                4,
                4 if groups > 1 else 6,
                kernel,
                stride,
                padding,
                dilation,
                groups,
                bias=kernel != 2,
            )
        )
    # Another size along each dim, and features that are not a multiple of anything.
    uneven = {1: (5,), 2: (3, 2), 3: (2, 1, 3)}[dims]
    layers.append(
        kind(4, 7, uneven, stride=uneven[::-1], padding=tuple(size // 2 for size in uneven))
    )
    layers.append(kind(4, 4, uneven, padding="same", groups=4))
    return layers


def compiled(model: nn.Module, x: torch.Tensor, **options) -> tuple[object, compiler.Vmfb]:
    vmfb = aot.export(model, x, **options).compile()
    return runtime.load(vmfb, device="local-sync"), vmfb


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_every_convolution_is_what_eager_computes(dims: int, batch: int) -> None:
    layers = every(dims)
    model = Many(*layers[batch // 3 :: 2]).eval()
    x = torch.randn(batch, 4, *(11, 9, 7)[:dims])
    module, vmfb = compiled(model, x)
    assert vmfb.manifest["recipe"]["name"] == "auto"
    assert vmfb.manifest["recipe"]["rewrites"] == [
        "padding-before-expansion",
        "depthwise-as-sums",
        "narrow-as-products",
    ]
    for found, expected in zip(module.main(x), model(x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("batch", "size"), [(1, (9, 12)), (3, (7, 7)), (9, (24, 17))])
def test_square_kernels_by_winograd(batch: int, size: tuple[int, int]) -> None:
    """Even and odd results, every padding, and batches in one part and in several, uneven ones."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(64, 64, 3, padding=1),
        nn.Conv2d(64, 70, 3, bias=False),
        nn.Conv2d(64, 64, 3, padding=(2, 1)),
        nn.Conv2d(64, 64, 3, padding="same", groups=1),
    ]
    model = Many(*layers).eval()
    x = torch.randn(batch, 64, *size)
    module, vmfb = compiled(model, x)
    assert vmfb.manifest["recipe"]["name"] == "auto"
    assert vmfb.manifest["recipe"]["rewrites"][0] == "winograd"
    exact = Many(*copy.deepcopy(layers)).eval().double()(x.double())
    for found, eager, best in zip(module.main(x), model(x), exact, strict=True):
        torch.testing.assert_close(found, eager, rtol=1e-4, atol=1e-5)
        # As exact as eager: sums of products differ in their last digits only.
        assert (found - best).abs().max() < 4 * (eager - best).abs().max()


def test_winograd_takes_what_it_suits() -> None:
    """Stored weights of many channels, and images that stay in the cache."""

    def is_written(layer: nn.Module, x: torch.Tensor, **options) -> bool:
        output = aot.export(layer.eval(), x, **options)
        changed = str(rewrite(output.mlir_module, ["winograd"]))
        assert ("aten.bmm" in changed) != ("aten.conv2d" in changed)
        return "aten.bmm" in changed

    x = torch.randn(1, 64, 8, 8)
    assert is_written(nn.Conv2d(64, 64, 3), x)
    assert not is_written(nn.Conv2d(64, 64, 3, stride=2), x)
    assert not is_written(nn.Conv2d(64, 64, 3, dilation=2), x)
    assert not is_written(nn.Conv2d(64, 64, (3, 1)), x)
    assert not is_written(nn.Conv2d(64, 64, 3, groups=2), x)
    assert not is_written(nn.Conv2d(64, 32, 3), x)
    assert not is_written(nn.Conv2d(64, 64, 3), torch.randn(1, 64, 300, 300))
    assert not is_written(nn.Conv2d(64, 64, 3), torch.randn(40, 64, 60, 60))
    pair = torch.randn(2, 64, 8, 8)
    assert not is_written(nn.Conv2d(64, 64, 3), pair, dynamic_shapes=({0: BATCH},))


def test_weights_that_change_are_not_prepared() -> None:
    x, weight = torch.randn(1, 64, 8, 8), torch.randn(64, 64, 3, 3)

    class Trained(aot.CompiledModule):
        weight = aot.export_global(torch.zeros(64, 64, 3, 3), mutable=True)
        convolution = aot.jittable(nn.functional.conv2d)

        def main(self, x=aot.AbstractTensor(1, 64, 8, 8)):
            return self.convolution(x, self.weight)

        def learn(self, weight=aot.AbstractTensor(64, 64, 3, 3)):
            self.weight = weight

    vmfb = aot.export(Trained).compile()
    assert "winograd" not in vmfb.manifest["recipe"]["rewrites"]
    module = runtime.load(vmfb, device="local-sync")
    module.learn(weight)
    expected = nn.functional.conv2d(x, weight)
    torch.testing.assert_close(module.main(x), expected, rtol=1e-4, atol=1e-4)
    passed = aot.export(nn.functional.conv2d, x, weight)
    assert "aten.bmm" not in str(rewrite(passed.mlir_module, ["winograd"]))
    layer = nn.Conv2d(64, 64, 3).eval()
    external = aot.export(layer, x, weights="external")
    assert "winograd" not in external.compile().manifest["recipe"]["rewrites"]
    assert external.compile(recipe="prepacked").manifest["recipe"]["rewrites"][0] == "winograd"


@pytest.mark.parametrize("batch", [1, 3, 9, None])
def test_patches(batch: int | None) -> None:
    """Kernels of more places than are written out, which do not overlap: the stems of vision transformers."""
    torch.manual_seed(0)
    model = Many(
        nn.Conv2d(4, 8, 16, stride=16),
        nn.Conv2d(4, 6, (12, 13), stride=(12, 13), padding=(3, 2), groups=2),
        nn.Conv2d(4, 5, (20, 40), stride=(20, 40), bias=False),
    ).eval()
    x = torch.randn(batch or 2, 4, 35, 41)
    output = aot.export(model, x, dynamic_shapes=None if batch else ({0: BATCH},))
    assert "aten.conv2d" not in str(rewrite(output.mlir_module, ["narrow-as-products"]))
    module = runtime.load(output.compile(), device="local-sync")
    for found, expected in zip(module.main(x), model(x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_dynamic_batch_and_a_large_one() -> None:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.Conv2d(4, 6, 3, stride=2, groups=2),
        nn.Conv2d(4, 6, 3),
    ]
    model = Many(*layers).eval()
    dynamic, _ = compiled(model, torch.randn(2, 4, 9, 9), dynamic_shapes={"x": {0: BATCH}})
    static, _ = compiled(model, torch.randn(9, 4, 9, 9))
    for module, batches in ((dynamic, (1, 2, 5)), (static, (9,))):
        for batch in batches:
            x = torch.randn(batch, 4, 9, 9)
            for found, expected in zip(module.main(x), model(x), strict=True):
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_dynamic_sounds() -> None:
    """One-dimensional, with a dynamic batch: a product of all images."""
    torch.manual_seed(0)
    model = Many(nn.Conv1d(4, 6, 3, stride=2), nn.Conv1d(4, 6, 5, groups=2, padding=2)).eval()
    module, _ = compiled(model, torch.randn(2, 4, 20), dynamic_shapes={"x": {0: BATCH}})
    x = torch.randn(3, 4, 20)
    for found, expected in zip(module.main(x), model(x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_module_is_left_alone() -> None:
    """Transposed convolutions, half precision and dynamic images are the compiler's."""
    model = Many(nn.ConvTranspose2d(4, 4, 3), nn.Conv2d(4, 4, 3).half().float()).eval()
    output = aot.export(
        model, torch.randn(1, 4, 8, 8), dynamic_shapes={"x": {2: torch.export.Dim("height", min=8)}}
    )
    before = str(output.mlir_module)
    assert str(rewrite(output.mlir_module, list(REWRITES))) == before
    half = aot.export(nn.Conv2d(4, 4, 3).half().eval(), torch.randn(1, 4, 8, 8).half())
    assert "aten.conv2d" in str(rewrite(half.mlir_module, list(REWRITES)))


def test_the_given_module_does_not_change() -> None:
    output = aot.export(nn.Conv2d(4, 4, 3).eval(), torch.randn(1, 4, 8, 8))
    before = str(output.mlir_module)
    changed = rewrite(output.mlir_module, list(REWRITES))
    assert changed.verify()
    assert "aten.conv2d" not in str(changed)
    assert "aten.mm" in str(changed)
    assert str(output.mlir_module) == before


def test_wide_images_are_left_to_the_compiler() -> None:
    """It has good code for them, unless another convolution needs the option that turns it off."""
    model = Many(nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 32, 3, stride=2)).eval()
    output = aot.export(model, torch.randn(1, 32, 40, 40))
    changed = str(rewrite(output.mlir_module, ["narrow-as-products"]))
    assert changed.count("torch.aten.conv2d") == 1
    everything = str(rewrite(output.mlir_module, ["convolutions-as-products"]))
    assert "torch.aten.conv2d" not in everything
    transposed = Many(nn.Conv2d(32, 32, 3), nn.ConvTranspose2d(32, 32, 3)).eval()
    recipe = aot.export(transposed, torch.randn(1, 32, 40, 40)).compile().manifest["recipe"]
    assert recipe["rewrites"] == [
        "padding-before-expansion",
        "depthwise-as-sums",
        "convolutions-as-products",
    ]
    assert "--iree-global-opt-use-im2col-for-convs" in recipe["flags"]


def test_other_targets_keep_their_convolutions() -> None:
    output = aot.export(nn.Conv2d(4, 4, 3).eval(), torch.randn(1, 4, 8, 8))
    assert output.compile(target="vmvx").manifest["recipe"]["rewrites"] == []
    assert output.compile(recipe="none").manifest["recipe"]["rewrites"] == []


def test_a_recipe_of_ones_own() -> None:
    model = nn.Conv2d(4, 4, 3).eval()
    x = torch.randn(1, 4, 8, 8)
    mine = compiler.Recipe("mine", rewrites=("convolutions-as-products",))
    vmfb = aot.export(model, x).compile(recipe=mine)
    assert vmfb.manifest["recipe"] == {"name": "mine", "flags": [], "rewrites": list(mine.rewrites)}
    torch.testing.assert_close(runtime.load(vmfb).main(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_rewrite_that_does_not_exist() -> None:
    with pytest.raises(CompileError, match="no such rewrite") as raised:
        compiler.Recipe("mine", rewrites=("convolution-as-product",))
    assert "convolutions-as-products" in str(raised.value)


def test_a_kernel_of_too_many_sizes_is_written_another_way(monkeypatch) -> None:
    # IREE's runtime passes 64 constants to a dispatch. With a limit of none
    # any program of dynamic sizes has too many.
    model = nn.Conv2d(6, 6, 5, padding=2, groups=6).eval()
    image = torch.randn(2, 6, 9, 9)
    output = aot.export(model, image, dynamic_shapes=({0: BATCH},))
    monkeypatch.setattr(dispatch_map, "_MOST_CONSTANTS", 0)
    with_caution = output.compile()
    assert with_caution.manifest["recipe"]["name"] == "auto, plain"
    loaded = runtime.load(with_caution, device="local-sync")
    torch.testing.assert_close(loaded.main(image[:1]), model(image[:1]), rtol=1e-5, atol=1e-5)


def test_kernels_as_large_as_an_image_of_a_dynamic_batch() -> None:
    model = nn.Conv2d(6, 6, 7, padding=3, groups=6).eval()
    output = aot.export(model, torch.randn(2, 6, 9, 9), dynamic_shapes=({0: BATCH},))
    loaded = runtime.load(output.compile(), device="local-sync")
    for batch in (1, 3):
        image = torch.randn(batch, 6, 9, 9)
        torch.testing.assert_close(loaded.main(image), model(image), rtol=1e-5, atol=1e-5)


def test_what_a_dispatch_takes_is_counted() -> None:
    def printed(sizes: int) -> str:
        operands = ", ".join(f"%{number}" for number in range(sizes))
        kinds = ", ".join(["index"] * sizes)
        return (
            f"  stream.cmd.dispatch @main::@main_0[%0]({operands} : {kinds}) {{\n    ro %x[%c0]\n"
        )

    assert not dispatch_map.takes_too_many_sizes(printed(32))
    assert dispatch_map.takes_too_many_sizes(printed(33))
    assert not dispatch_map.takes_too_many_sizes(None)
