# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


@aot.jittable(constraints=["a == b"])
def add(a, b):
    return a + b
