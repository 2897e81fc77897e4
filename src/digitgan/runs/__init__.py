"""What a run shows while it works and leaves on disk: progress, interrupts, its folder."""
