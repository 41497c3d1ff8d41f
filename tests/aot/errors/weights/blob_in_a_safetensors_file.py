# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot

builder = aot.ParameterArchiveBuilder()
builder.add_blob("vocabulary", b"a b c")
builder.save("weights.safetensors")
