"""DeepSpeed's transformer kernel in the place of layers: the layout of weights, the encoder, how it gets there."""
