"""THE FACE: one file a verb; console.py turns values into renderables."""
