# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import shark_turbine.aot as aot


class CacheModule(aot.CompiledModule):
    cache = aot.export_global(aot.AbstractTensor(None, 64), mutable=True)
