"""How good generated digits are: the classifier that judges them, the scorecard and its distances.
Stroke features (slant, stroke width, height) tell one handwriting from another."""

from .classifier import DigitClassifier as DigitClassifier
from .classifier import load_classifier as load_classifier
from .scorecard import Scorecard as Scorecard
from .scorecard import score as score
from .scorecard import score_generator as score_generator
from .stroke_features import stroke_features as stroke_features
