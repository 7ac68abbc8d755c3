"""Floor 1: the SAM 2 wing: data, model, losses."""
