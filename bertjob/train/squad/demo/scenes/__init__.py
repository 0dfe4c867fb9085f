"""What the demo set's paragraphs are about."""

from typing import Final

from bertjob.train.squad.demo.scene import Scene
from bertjob.train.squad.demo.scenes.learning import EXPLORERS, MUSICIANS, NOVELS, SCHOLARS, TELESCOPES
from bertjob.train.squad.demo.scenes.sea_and_land import LIGHTHOUSES, MOUNTAINS, RIVERS, SHIPS
from bertjob.train.squad.demo.scenes.town_life import BRIDGES, FESTIVALS, TOWNS, TRAINS
from bertjob.train.squad.demo.scenes.trade import CHEESES, COMPANIES, MINES

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
