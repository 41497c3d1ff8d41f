# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class EmptyModule(aot.CompiledModule):
    pass


aot.export(EmptyModule).compile()
