"""AdamW's groups, its rule, and clipping."""

import pytest
import torch
from torch import nn

from bertjob.spec.job import Optimizer
from bertjob.train.optim import adamw, clip, parameter_groups, set_learning_rate


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3, 2)
        self.LayerNorm = nn.LayerNorm(2)
        self.frozen = nn.Parameter(torch.ones(2, 2), requires_grad=False)


def test_biases_and_layer_norms_do_not_decay():
    layer = Layer()
    decaying, plain = parameter_groups(layer, 0.01)
    assert [id(p) for p in decaying["params"]] == [id(layer.dense.weight)]
    assert [id(p) for p in plain["params"]] == [
        id(layer.dense.bias),
        id(layer.LayerNorm.weight),
        id(layer.LayerNorm.bias),
    ]
    assert (decaying["weight_decay"], plain["weight_decay"]) == (0.01, 0.0)


def test_a_job_without_weight_decay_gets_none():
    """torch's own default is 0.01."""
    assert {group["weight_decay"] for group in adamw(Layer(), Optimizer()).param_groups} == {0.0}


def test_two_steps_follow_the_rule_of_the_paper():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 2.0)
    optimizer = adamw(layer, Optimizer(lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.5))
    weight, first, second = 2.0, 0.0, 0.0
    for step, (gradient, lr) in enumerate([(3.0, 0.1), (-1.0, 0.02)], start=1):
        layer.weight.grad = torch.tensor([[gradient]])
        set_learning_rate(optimizer, lr)
        optimizer.step()
        weight -= lr * 0.5 * weight
        first = 0.9 * first + 0.1 * gradient
        second = 0.99 * second + 0.01 * gradient**2
        weight -= lr * (first / (1 - 0.9**step)) / ((second / (1 - 0.99**step)) ** 0.5 + 1e-8)
        assert layer.weight.item() == pytest.approx(weight, rel=1e-6)


@pytest.mark.parametrize(("max_norm", "after"), [(1.0, 1.0), (10.0, 5.0), (None, 5.0)])
def test_gradients_are_clipped_to_their_global_norm(max_norm, after):
    pair = nn.ParameterList([torch.zeros(1), torch.zeros(1), torch.zeros(1)])
    pair[0].grad, pair[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    norm = clip(pair.parameters(), max_norm)
    assert norm.item() == pytest.approx(5.0)
    assert torch.stack([pair[0].grad, pair[1].grad]).norm().item() == pytest.approx(after, rel=1e-5)
