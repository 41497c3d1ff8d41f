# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot

builder = aot.ParameterArchiveBuilder()
builder.add_blob("vocabulary", b"a b c")
((_, entry),) = [(key, aot.ParameterArchiveEntry(raw)) for key, raw in builder.index.items()]
entry.as_tensor()
