# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Several entry points over one nn.Module: one set of weights, one state, saved and loaded together."""

from __future__ import annotations

import pytest
import torch

import shark_turbine.aot as aot
import shark_turbine.runtime as rt
from shark_turbine.errors import ContractError, LoadError, SaveError

WIDTH = 512


class Counting(torch.nn.Module):
    """Has tied weights, a buffer that is written, and one that is not saved."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.up = torch.nn.Linear(WIDTH, WIDTH)
        self.down = torch.nn.Linear(WIDTH, WIDTH)
        self.down.weight = self.up.weight
        self.register_buffer("total", torch.zeros(3))
        self.register_buffer("shift", torch.full((WIDTH,), 0.5), persistent=False)

    def forward(self, x):
        return self.down(torch.relu(self.up(x))) + self.shift


def builder_over(net, strict=True):
    fxb = aot.FxProgramsBuilder(net)
    batch = torch.export.Dim("batch", max=64)

    # The reader of the buffer comes before its writer.
    @fxb.export_program(
        args=(torch.randn(2, WIDTH),), dynamic_shapes={"x": {0: batch}}, strict=strict
    )
    def run(module, x):
        return {"y": module.forward(x), "total": module.total + 0}

    @fxb.export_program(
        args=(torch.randn(3),),
        kwargs={"scale": torch.tensor(2.0)},
        strict=strict,
        name="add",
    )
    def _(module, by, *, scale):
        module.total.add_(by * scale)
        return module.total.sum()

    assert isinstance(run, torch.export.ExportedProgram)
    assert fxb.programs["run"] is run
    return fxb


@pytest.fixture(scope="module")
def net():
    return Counting()


@pytest.fixture(scope="module")
def fxb(net):
    return builder_over(net)


@pytest.fixture(scope="module")
def saved(fxb, tmp_path_factory):
    path = tmp_path_factory.mktemp("fx") / "programs.fx"
    fxb.save(path)
    return path


@pytest.fixture(scope="module")
def vmfb(fxb):
    return aot.export(fxb).compile()


@pytest.fixture(scope="module")
def vmfb_of_the_file(saved):
    return aot.export(aot.FxPrograms.load(saved), module_name="loaded").compile()


@pytest.fixture(params=["vmfb", "vmfb_of_the_file"])
def compiled(request):
    return request.getfixturevalue(request.param)


def test_entry_points_share_weights_and_state(compiled, net):
    module = rt.load(compiled, device="local-sync")
    twin = Counting()
    for rows in (1, 5, 64):
        x, by, scale = torch.randn(rows, WIDTH), torch.randn(3), torch.tensor(1.5)
        twin.total.add_(by * scale)
        torch.testing.assert_close(module.add(by, scale=scale), twin.total.sum())
        result = module.run(x=x)
        torch.testing.assert_close(result["y"], net(x), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(result["total"], twin.total)
    assert list(module.state_dict()) == ["total"]
    torch.testing.assert_close(module.state_dict()["total"], twin.total)
    assert (net.total == 0).all()  # Exporting changed nothing.
    # The tied weight of both layers and of both entry points is there once.
    assert compiled.size < 1.3 * net.up.weight.nbytes


def test_dims_are_checked(compiled):
    module = rt.load(compiled, device="local-sync")
    assert "batch" in str(module["run"].signature)
    with pytest.raises(ContractError, match=r"run: x\.shape\[0\] must be <= 64"):
        module.run(torch.zeros(65, WIDTH))


def test_programs_keep_the_names_of_the_module(fxb, net):
    for program in fxb.programs.values():
        assert set(program.state_dict) == set(net.state_dict())
    spec = str(aot.CompiledModule.get_program(aot.export(fxb).compiled_module))
    assert "global mutable @total" in spec
    assert "root_module" not in spec


def test_without_dynamo(net):
    x = torch.randn(4, WIDTH)
    fxb = builder_over(net, strict=False)
    assert str(aot.CompiledModule.get_program(aot.export(fxb).compiled_module)).count("global") == 5
    torch.testing.assert_close(fxb.programs["run"].module()(x)["y"], net(x))


def test_a_file_holds_shared_tensors_once(saved, net):
    assert saved.stat().st_size < 1.3 * net.up.weight.nbytes
    loaded = aot.FxPrograms.load(saved)
    run, add = loaded.programs["run"], loaded.programs["add"]
    places = {
        run.state_dict["up.weight"].data_ptr(),
        run.state_dict["down.weight"].data_ptr(),
        add.state_dict["up.weight"].data_ptr(),
    }
    assert len(places) == 1
    assert run.state_dict["total"].data_ptr() == add.state_dict["total"].data_ptr()
    x = torch.randn(4, WIDTH)
    torch.testing.assert_close(run.module()(x)["y"], net(x))


def test_programs_that_were_exported_elsewhere(net, tmp_path):
    x = torch.randn(2, WIDTH)
    programs = aot.FxPrograms({"only": torch.export.export(net, (x,))})
    programs.save(tmp_path / "one.fx")
    loaded = aot.FxPrograms.load(tmp_path / "one.fx")
    assert list(loaded.programs) == ["only"]
    torch.testing.assert_close(loaded.programs["only"].module()(x), net(x))


def test_a_reader_before_a_writer_in_a_class(build):
    class Reader(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self):
            return self.inner.total * 2

    class Writer(Reader):
        def forward(self, x):
            self.inner.total.add_(x)
            return self.inner.total.sum()

    inner = torch.nn.Module()
    inner.register_buffer("total", torch.zeros(3))

    class Both(aot.CompiledModule):
        read = torch.export.export(Reader(inner), ())
        _write = torch.export.export(Writer(inner), (torch.zeros(3),))

        def add(self, x=aot.AbstractTensor(3)):
            return self._write(x)

    module = build(Both).loaded
    assert module.add(torch.ones(3)) == 3
    assert torch.equal(module.read(), torch.full((3,), 2.0))
    assert list(module.state_dict()) == ["inner.total"]


def test_a_file_that_cannot_be_written_stays(fxb, tmp_path, monkeypatch):
    path = tmp_path / "programs.fx"
    path.write_bytes(b"what was there before")
    save = torch.save

    def fail(content, file, **options):
        if options:  # torch.export saves a program.
            return save(content, file, **options)
        file.write(b"half of it")
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        with pytest.raises(SaveError, match="the disk is full"):
            fxb.save(path)
    assert path.read_bytes() == b"what was there before"
    assert [*tmp_path.iterdir()] == [path]
    with pytest.raises(SaveError, match="does not exist"):
        fxb.save(tmp_path / "nowhere" / "programs.fx")


def test_external_weights(fxb, net, tmp_path):
    output = aot.export(fxb, weights="external")
    output.save_parameters(tmp_path / "weights.safetensors")
    vmfb = output.compile()
    assert vmfb.size < net.up.weight.nbytes / 4
    module = rt.load(vmfb, parameters=tmp_path / "weights.safetensors", device="local-sync")
    x, by = torch.randn(3, WIDTH), torch.ones(3)
    assert module.add(by, scale=torch.tensor(2.0)) == 6
    fork = module.fork()
    module.add(by, scale=torch.tensor(2.0))
    for loaded, total in ((module, 4.0), (fork, 2.0)):
        result = loaded.run(x)
        torch.testing.assert_close(result["y"], net(x), atol=1e-4, rtol=1e-4)
        assert torch.equal(result["total"], torch.full((3,), total))
    module.reset()
    assert (module.run(x)["total"] == 0).all()


def test_files_that_hold_no_programs(saved, tmp_path):
    damaged = tmp_path / "damaged.fx"
    damaged.write_bytes(saved.read_bytes()[:-100])
    other = tmp_path / "other.fx"
    torch.save({"weights": torch.ones(2)}, other)
    newer = tmp_path / "newer.fx"
    torch.save({"format": "shark_turbine.FxPrograms", "version": 99}, newer)
    cases = [
        (damaged, "cannot be read"),
        (tmp_path / "nothing.fx", "cannot be read"),
        (other, "holds no FxPrograms"),
        (newer, "version 99"),
    ]
    for path, message in cases:
        with pytest.raises(LoadError, match=message):
            aot.FxPrograms.load(path)
