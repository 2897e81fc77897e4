"""What one does with a trained generator: digits, lines of text, walks, and the latent of a given
handwriting. Pictures of one's own digits are prepared here too."""

from ..aliases import old_names
from .encoder import load_encoder as load_encoder
from .encoder import train_encoder as train_encoder
from .inversion import imitate as imitate
from .inversion import style_directions as style_directions
from .pictures import prepare as prepare
from .pictures import prepare_all as prepare_all
from .sampling import generate as generate
from .sampling import stream as stream
from .sampling import walk as walk
from .sampling import write as write

__getattr__ = old_names(__name__)
