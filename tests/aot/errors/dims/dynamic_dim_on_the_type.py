# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


x = aot.AbstractTensor(None, 4)
constraint = x.dynamic_dim(0) < 5
