"""What one does with a trained generator: digits, lines of text, walks, and the latent of a given handwriting."""
