"""DeepSpeed's transformer kernel by its formula, in plain torch and without dropout: what tests on CPUs compare with.

Source: csrc/transformer/ds_transformer_cuda.cpp and gelu_kernels.cu of DeepSpeed 0.19. With N the LayerNorms, A the
attention, F the feed-forward layer and GELU its approximation by tanh::

    pre-LN   y = x + A(norm(x))      z = y + F(attn_n(y))
    post-LN  y = attn_n(x + A(x))    z = norm(y + F(y))
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class FormulaLayer(nn.Module):
    """Parameters by the names of DeepSpeedTransformerLayer; called as it is."""

    def __init__(self, hidden: int, ff: int, heads: int, eps: float, *, pre: bool) -> None:
        super().__init__()
        shapes = {
            "attn_qkvw": (3 * hidden, hidden),
            "attn_qkvb": (3 * hidden,),
            "attn_ow": (hidden, hidden),
            "attn_ob": (hidden,),
            "attn_nw": (hidden,),
            "attn_nb": (hidden,),
            "inter_w": (ff, hidden),
            "inter_b": (ff,),
            "output_w": (hidden, ff),
            "output_b": (hidden,),
            "norm_w": (hidden,),
            "norm_b": (hidden,),
        }
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))
        self.hidden, self.heads, self.eps, self.pre = hidden, heads, eps, pre
        self.called_with: list[tuple[torch.dtype, torch.Size, torch.Size]] = []
        """Of each call: the type of its weights, the shapes of rows and mask."""

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        assert rows.dtype == mask.dtype == self.attn_qkvw.dtype
        assert rows.size(1) % 16 == 0
        self.called_with.append((self.attn_qkvw.dtype, rows.shape, mask.shape))
        if self.pre:
            rows = rows + self._attention(self._norm(rows, self.norm_w, self.norm_b), mask)
            return rows + self._feed_forward(self._norm(rows, self.attn_nw, self.attn_nb))
        rows = self._norm(rows + self._attention(rows, mask), self.attn_nw, self.attn_nb)
        return self._norm(rows + self._feed_forward(rows), self.norm_w, self.norm_b)

    def _norm(self, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.layer_norm(rows, (self.hidden,), weight, bias, self.eps)

    def _attention(self, rows: Tensor, mask: Tensor) -> Tensor:
        batch, length, hidden = rows.shape
        stacked = functional.linear(rows, self.attn_qkvw, self.attn_qkvb)
        query, key, value = stacked.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / math.sqrt(hidden // self.heads) + mask
        seen = (torch.softmax(scores, dim=-1) @ value).transpose(1, 2).reshape(batch, length, hidden)
        return functional.linear(seen, self.attn_ow, self.attn_ob)

    def _feed_forward(self, rows: Tensor) -> Tensor:
        inner = functional.linear(rows, self.inter_w, self.inter_b)
        gelu = 0.5 * inner * (1 + torch.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
        return functional.linear(gelu, self.output_w, self.output_b)
