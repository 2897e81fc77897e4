"""The older systems that the conditional DCGAN descends from, one file each: source, networks,
preset, method. `SYSTEMS` has all presets by name. `Trainer` and `load_generator` know the older
ones once this is imported."""

from . import earlier as earlier
from .presets import SYSTEMS as SYSTEMS
from .presets import system as system
