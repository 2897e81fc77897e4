"""What the notebooks in `notebooks/lessons/` use beside their own lines: a short judgement of
digits, the drawing and the controls of the game in the plane, and the exercises' checks. It
re-exports nothing: each lesson needs one of them."""
