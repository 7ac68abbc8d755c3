"""SAM 2 for training: prompt simulation, unrolling over a clip, weights."""
