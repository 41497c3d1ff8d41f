import torch

from shark_turbine import aot

cache = torch.zeros(4, 2)
first_rows = cache[:2]


class CacheModule(aot.CompiledModule):
    rows = aot.export_global(cache, mutable=True)
    peek = aot.jittable(lambda x: x + first_rows)

    def run(self, x=aot.AbstractTensor(2, 2)):
        return self.peek(x)


CacheModule()
