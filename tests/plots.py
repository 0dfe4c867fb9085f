"""Line plots as SVG, byte for byte the same wherever they are drawn; they carry their own background, light or dark."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 270
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 60, 44
_STYLE = """
  .card { fill: #ffffff; stroke: #d7dce3 }
  text { font: 13px system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; fill: #5b6572 }
  text.name { font-weight: 600; paint-order: stroke; stroke-width: 4; stroke-linejoin: round; stroke: #ffffff }
  .title { font-size: 15px; font-weight: 600; fill: #1c2330 }
  .grid { stroke: #e6e9ee } .axis { stroke: #9aa4b1 }
  .band { fill: #eef2f8 } .line { fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round }
  path.a { stroke: #2463c9 } path.b { stroke: #c2570c } path.c { stroke: #1a7f5a } .dashed { stroke-dasharray: 2 6 }
  text.a { fill: #2463c9 } text.b { fill: #c2570c } text.c { fill: #1a7f5a }
  @media (prefers-color-scheme: dark) {
    .card { fill: #151a22; stroke: #2d3643 } text { fill: #9aa7b8 } .title { fill: #e8edf4 }
    text.name { stroke: #151a22 }
    .grid { stroke: #262e3a } .axis { stroke: #5d6979 } .band { fill: #1d2430 }
    path.a { stroke: #74a7ff } path.b { stroke: #ff9d5c } path.c { stroke: #5fd3a4 }
    text.a { fill: #74a7ff } text.b { fill: #ff9d5c } text.c { fill: #5fd3a4 }
  }
"""


@dataclass(frozen=True)
class Curve:
    """A line over steps, and where along it its name stands.

    Attributes:
        name: beside the line.
        values: of each step, from `first` on.
        first: the step of the first value.
        tone: its colour, `a`, `b` or `c`.
        at: share of the plot's width where the name stands.
        above: pixels from the line up to the name; negative is below.
        anchor: whether it begins there (`start`) or ends there (`end`).
        dashed: whether it is there for comparison alone.
    """

    name: str
    values: Sequence[float]
    first: int = 0
    tone: str = "a"
    at: float = 0.5
    above: float = 10
    anchor: str = "start"
    dashed: bool = False


@dataclass(frozen=True)
class Band:
    """Steps with a ground of their own."""

    name: str
    first: int
    last: int


@dataclass(frozen=True)
class Plot:
    """Curves over steps, with what is said of them."""

    title: str
    curves: Sequence[Curve]
    bands: Sequence[Band] = ()

    def svg(self) -> str:
        """The whole file."""
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
                f'height="{HEIGHT}" role="img" aria-label="{escape(self.title)}">',
                f"<style>{_STYLE}</style>",
                f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8"/>',
                f'<text class="title" x="{LEFT}" y="30">{escape(self.title)}</text>',
                *self._ground(),
                *self._lines(),
                "</svg>",
                "",
            ]
        )

    @property
    def _last(self) -> int:
        return max(curve.first + len(curve.values) for curve in self.curves)

    @property
    def _top(self) -> float:
        return max(max(curve.values) for curve in self.curves)

    def _x(self, step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / self._last

    def _y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / (self._top * 1.08)

    def _ground(self) -> Iterator[str]:
        floor = HEIGHT - BOTTOM
        for band in self.bands:
            left, right = self._x(band.first), self._x(band.last)
            yield f'<rect class="band" x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{floor - TOP}"/>'
            yield f'<text x="{left:.1f}" y="{TOP - 6}">{escape(band.name)}</text>'
        for value in ticks(self._top * 1.08, 4):
            y = self._y(value)
            yield f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
            yield f'<text x="{LEFT - 8}" y="{y + 4.5:.1f}" text-anchor="end">{number(value)}</text>'
        yield f'<line class="axis" x1="{LEFT}" y1="{floor}" x2="{WIDTH - RIGHT}" y2="{floor}"/>'
        for step in ticks(self._last, 6):
            x = self._x(step)
            yield f'<line class="axis" x1="{x:.1f}" y1="{floor}" x2="{x:.1f}" y2="{floor + 4}"/>'
            yield f'<text x="{x:.1f}" y="{floor + 19}" text-anchor="middle">{step:,.0f}</text>'
        yield f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">step</text>'

    def _lines(self) -> Iterator[str]:
        for curve in self.curves:
            kind = f"line {curve.tone}{' dashed' if curve.dashed else ''}"
            yield f'<path class="{kind}" d="{self._path(curve)}"/>'
        for curve in self.curves:
            step = min(max(round(curve.at * self._last) - curve.first, 0), len(curve.values) - 1)
            x, y = self._x(step + curve.first), self._y(curve.values[step]) - curve.above
            where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{curve.anchor}"'
            yield f'<text class="name {curve.tone}" {where}>{escape(curve.name)}</text>'

    def _path(self, curve: Curve) -> str:
        points = [
            f"{self._x(curve.first + step + 1):.1f} {self._y(curve.values[step]):.1f}" for step in sampled(curve.values)
        ]
        return "M" + "L".join(points)


def sampled(values: Sequence[float], most: int = 400) -> list[int]:
    """Steps to draw: evenly spread ones, and the greatest, so that no peak is cut."""
    stride = max(1, len(values) // most)
    return sorted({*range(0, len(values), stride), len(values) - 1, max(range(len(values)), key=values.__getitem__)})


def ticks(top: float, most: int) -> list[float]:
    """Round numbers from 0 to at most `top`, so many at most beside 0."""
    least = top / most
    unit = 10.0 ** math.floor(math.log10(least))
    width = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= least * (1 - 1e-9))
    return [width * count for count in range(math.floor(top / width * (1 + 1e-9)) + 1)]


def number(value: float) -> str:
    """As YAML has learning rates: 0, 0.5, 4e-3."""
    if value == 0 or value >= 0.1:
        return f"{value:g}"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"
