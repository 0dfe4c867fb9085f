"""What the demo set's paragraphs are about."""

from typing import Final

from bertjob.formats.demo.scene import Scene
from bertjob.formats.demo.scenes.learning import EXPLORERS, MUSICIANS, NOVELS, SCHOLARS, TELESCOPES
from bertjob.formats.demo.scenes.sea_and_land import LIGHTHOUSES, MOUNTAINS, RIVERS, SHIPS
from bertjob.formats.demo.scenes.town_life import BRIDGES, FESTIVALS, TOWNS, TRAINS
from bertjob.formats.demo.scenes.trade import CHEESES, COMPANIES, MINES

SCENES: Final[tuple[Scene, ...]] = (
    SHIPS,
    LIGHTHOUSES,
    BRIDGES,
    TOWNS,
    COMPANIES,
    NOVELS,
    MOUNTAINS,
    RIVERS,
    TRAINS,
    FESTIVALS,
    CHEESES,
    EXPLORERS,
    MUSICIANS,
    SCHOLARS,
    TELESCOPES,
    MINES,
)
