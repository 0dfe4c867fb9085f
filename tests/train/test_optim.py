"""Groups, the rules of AdamW and LAMB against float64 references, and clipping."""

import copy

import pytest
import torch
from torch import nn

from bertjob.config.job import Optimizer
from bertjob.errors import SpecError
from bertjob.train.optim import Lamb, clip, parameter_groups, set_learning_rate
from bertjob.train.optim.factory import gauges, make_optimizer


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
    assert {group["weight_decay"] for group in make_optimizer(Layer(), Optimizer()).param_groups} == {0.0}


def test_two_steps_follow_the_rule_of_the_paper():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 2.0)
    optimizer = make_optimizer(layer, Optimizer(lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.5))
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


def lamb_reference(weights, gradients, lr, betas, eps, decay, trust):
    """Algorithm 2 of arXiv 1904.00962 in float64, tensor by tensor; the weights after all steps, the last ratios."""
    weights = [weight.double() for weight in weights]
    first, second = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
    ratios = []
    for step, found in enumerate(gradients, start=1):
        ratios = []
        for index, gradient in enumerate(gradient.double() for gradient in found):
            first[index] = betas[0] * first[index] + (1 - betas[0]) * gradient
            second[index] = betas[1] * second[index] + (1 - betas[1]) * gradient**2
            update = (first[index] / (1 - betas[0] ** step)) / ((second[index] / (1 - betas[1] ** step)).sqrt() + eps)
            update += decay * weights[index]
            size, length = weights[index].norm().item(), update.norm().item()
            ratios.append(min(max(size / length, trust[0]), trust[1]) if size > 0 and length > 0 else 1.0)
            weights[index] = weights[index] - lr * ratios[-1] * update
    return weights, ratios


@pytest.mark.parametrize("trust", [(0.0, 1e9), (0.08, 0.5)])
def test_lamb_follows_the_papers_algorithm(trust):
    torch.manual_seed(1)
    shapes = [(40, 30), (30,), (7, 5, 3), (1,)]
    start = [torch.randn(shape) * scale for shape, scale in zip(shapes, (1.0, 0.01, 30.0, 0.0), strict=True)]
    gradients = [[torch.randn(shape) for shape in shapes] for _ in range(50)]
    settings = {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-6}
    weights = [nn.Parameter(tensor.clone()) for tensor in start]
    optimizer = Lamb(weights, weight_decay=0.1, trust=trust, **settings)
    for found in gradients:
        for weight, gradient in zip(weights, found, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()
    expected, ratios = lamb_reference(start, gradients, **settings, decay=0.1, trust=trust)
    for weight, exact in zip(weights, expected, strict=True):
        assert torch.allclose(weight.detach().double(), exact, rtol=1e-4, atol=1e-6)
    assert optimizer.trust_ratios().tolist() == pytest.approx(ratios, rel=1e-4)


def test_lamb_goes_on_bitwise_from_its_state():
    def steps(optimizer, weight, numbers):
        for number in numbers:
            weight.grad = torch.full_like(weight, 0.1 * number)
            optimizer.step()

    straight = nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))
    optimizer = Lamb([straight], lr=0.1)
    steps(optimizer, straight, range(1, 4))
    resumed = nn.Parameter(straight.detach().clone())
    other = Lamb([resumed], lr=0.1)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    steps(optimizer, straight, range(4, 8))
    steps(other, resumed, range(4, 8))
    assert torch.equal(straight, resumed)


def test_lamb_leaves_what_has_no_gradient_and_counts_its_steps_alone():
    busy, idle = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = Lamb([busy, idle], lr=0.1, weight_decay=0.0, trust=(0.0, 1e9))
    busy.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(idle, torch.ones(3))
    assert busy.tolist() == pytest.approx([0.9] * 3)  # the first update has length sqrt(3), and so have the weights


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"lr": 1.0, "betas": (1.0, 0.9)}, {"lr": 1.0, "trust": (0.5, 0.1)}])
def test_lamb_refuses_settings_out_of_range(wrong):
    with pytest.raises(ValueError, match=r"out of range|bounds"):
        Lamb([nn.Parameter(torch.ones(1))], **wrong)


def test_the_job_chooses_lamb_and_its_trust_ratios_are_told():
    layer = Layer()
    optimizer = make_optimizer(layer, Optimizer(name="lamb", lr=0.1, weight_decay=0.01, trust=(0.2, 0.3)))
    assert gauges(optimizer) == {}
    layer.dense(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    told = gauges(optimizer)
    assert 0.2 <= told["trust_min"] <= told["trust_mean"] <= told["trust_max"] <= 0.3 + 1e-6
    assert gauges(make_optimizer(layer, Optimizer())) == {}


def test_deepspeeds_lamb_is_refused_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SpecError, match=r"optimizer.name fused-lamb needs a GPU with CUDA"):
        make_optimizer(Layer(), Optimizer(name="fused-lamb"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_deepspeeds_lamb_takes_the_steps_of_ours_and_tells_its_ratios():
    layers = [nn.Linear(40, 30).cuda() for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    said = {"lr": 0.01, "weight_decay": 0.01, "trust": (0.08, 0.5)}
    ours, theirs = (
        make_optimizer(layer, Optimizer(name=name, **said))
        for layer, name in zip(layers, ("lamb", "fused-lamb"), strict=True)
    )
    draw = torch.Generator().manual_seed(2)
    for _ in range(5):
        for index, shape in enumerate([(30, 40), (30,)]):
            gradient = torch.randn(shape, generator=draw).cuda()
            for layer in layers:
                list(layer.parameters())[index].grad = gradient.clone()
        ours.step()
        theirs.step()
    for one, other in zip(layers[0].parameters(), layers[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert gauges(theirs) == pytest.approx(gauges(ours), rel=1e-3)
