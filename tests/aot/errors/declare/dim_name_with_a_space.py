# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


x = aot.AbstractTensor("batch size", 4)
