"""How good generated digits are: the classifier that judges them, and the scorecard."""
