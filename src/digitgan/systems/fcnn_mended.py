"""`fcnn` without its fault: real digits in [-1, 1], which the generator's tanh can reach.

Our own variant. Nothing else differs from `fcnn`, so the difference is what the fault costs.
"""

import functools

from ..models import BUILDERS
from ..runs.run import TRAINERS
from . import fcnn
from .classic import classic

PRESET = classic("fcnn-mended", 5e-4, **fcnn.SETTINGS)

BUILDERS["fcnn-mended"] = functools.partial(fcnn.build, value_range=(-1.0, 1.0))
TRAINERS["fcnn-mended"] = fcnn.SameBatchTrainer
