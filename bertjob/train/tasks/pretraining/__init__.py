"""Pre-training's samples: pairs of sentences or full sentences, and masks that differ each time they are seen."""
