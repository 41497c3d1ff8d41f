# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`python -m shark_turbine` is the `shark-turbine` command."""

import sys

from shark_turbine.cli import main

sys.exit(main())
