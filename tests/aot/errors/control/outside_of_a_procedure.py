# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot

aot.cond(True, lambda: 1, lambda: 2)
