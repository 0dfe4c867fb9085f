"""Words that names are made of; each list is cut in two, so that the dev part's names are not in the training part."""

from typing import Final, Literal

Part = Literal["train", "dev"]

_DEV_EVERY: Final = 5
"""Each fifth word belongs to the dev part."""

_PARTED: Final[dict[str, str]] = {
    "woman": """Agnes Beata Clara Dorothea Elin Freya Greta Hanna Ingrid Johanna Katrin Lena Marta Nora Olga Petra
        Ruth Sofia Tilda Ursula Vera Wanda Alma Brigid Celia Delia Edith Flora Gilda Helga Irma Judith Louisa Mabel
        Nelly Odette Paula Rosa Selma Thea""",
    "man": """Anton Bruno Conrad Dieter Emil Felix Gustav Hugo Ivan Jonas Karl Leon Magnus Niklas Oskar Rolf Stefan
        Tobias Ulrich Victor Walter Albin Bertram Caspar Dominic Edgar Fabian Gerard Harold Julian Kaspar Lorenz
        Matthias Nathan Otto Philip Rupert Samuel Thomas Yannick""",
    "surname": """Aldane Bracken Corvin Dremmel Eastley Farrow Gellert Hallam Ibsley Jarrow Kestrin Lindqvist Marlow
        Nettle Orlan Pelham Quist Rademaker Selby Tarrant Ullman Vandry Weller Yarrow Zeller Amsel Borgen Cramer
        Dorsey Ekdal Fenner Garland Hollis Innes Jessop Kendrick Lorimer Mercer Norling Osgood Prewitt Quarles
        Rusk Stanhope Thorley Upton Vickers Wyndham Ackroyd Birch Calloway Drummond Ellery Foxley Grantham Hesketh
        Ingram Jolley Keating Langley Merrow Nansen Ogilvy Pascoe Rennick Sorley Tindall Underhill Vosper Winslow
        Abbott Beecham Crowther Dunmore Esmond Frobisher Gilroy Haldane Iveson Kirkby""",
    "place": """Alder Amber Ash Aven Barrow Bram Bright Cal Cold Crow Dun East Elder Fal Fen Ferry Glen Gold Gran Hart
        Haze Holl Hunt Iron Kell Kings Lark Lin Long Mar Mill Moor Nar Nor Oak Old Pen Quarr Raven Red Rock Row Sal
        Sand Shel Silver Sker Stan Sten Stor Swan Tarn Thorn Tor Ulver Vel Wal Wex Whit Win""",
    "bird": """Heron Gull Petrel Swallow Falcon Kestrel Osprey Curlew Plover Sparrow Lapwing Kittiwake Cormorant
        Albatross Magpie Nightingale Partridge Pelican Sandpiper Starling Thrush Woodcock Bittern Goshawk Redwing""",
    "object": """Orchard Lantern Mirror Garden Harbour Candle Ladder Window Staircase Compass Letter Violin Key Clock
        Needle Kettle Feather Bell Curtain Anchor Basket Saddle Whistle Button Ribbon Pillar Goblet Hammer Cradle
        Scarf Wheel Chimney Mantle Locket Paddle Trumpet Thimble Sundial Hourglass Bonfire""",
    "river": """Arrel Brune Cassel Dorrin Ember Fallow Gade Hester Isker Jura Kelder Loven Mirrel Neth Orrin Pallas
        Quill Rhenna Sella Tarle Ulla Vesk Wendle Yare Zorn Aske Brenta Corrib Dace Elwy""",
}

_SHARED: Final[dict[str, str]] = {
    "tail": "holm wick stead burg mere ford haven dale brook field gate minster",
    "coloured": "Grey White Black Golden Silver Red Blue Merry Northern Southern Lucky Patient Proud Swift",
    "quality": """Salt Silent Paper Broken Winter Crooked Hidden Hollow Copper Glass Last Seventh Wandering Painted
        Narrow Forgotten""",
}


def words(pool: str, part: Part) -> list[str]:
    """The words of one list that belong to `part`; words that are no names (`tail`, `quality` …) belong to both."""
    if pool in _SHARED:
        return _SHARED[pool].split()
    whole = _PARTED[pool].split()
    return [word for index, word in enumerate(whole) if (index % _DEV_EVERY == 0) == (part == "dev")]


PATTERNS: Final[dict[str, tuple[str, ...]]] = {
    "person": ("<{woman} {surname}>", "<{man} {surname}>"),
    "town": ("<{place}{tail}>",),
    "ship": ("the <{coloured} {bird}>",),
    "lighthouse": ("the <{place}{tail} Light>",),
    "bridge": ("the <{surname} Bridge>", "the <{place}{tail} Bridge>"),
    "company": ("<{surname} & Sons>", "<{surname} Brothers>", "the <{place}{tail} Works>", "the <{bird} Company>"),
    "novel": ("<The {quality} {object}>",),
    "mountain": ("<Mount {surname}>", "the <{place}horn>"),
    "river": ("the <{river}>",),
    "train": ("the <{coloured} {object}>", "the <{place}{tail} Express>"),
    "festival": ("the <{object} Fair>", "the <{object} Festival>"),
    "cheese": ("<{place}{tail} Blue>", "<Old {place}{tail}>", "<{place}{tail} Gold>"),
    "telescope": ("the <{surname} Telescope>",),
    "mine": ("the <{object} Mine>", "the <{surname} Mine>"),
    "school": ("<{place}{tail} College>", "<{surname} College>"),
    "inn": ("the <{coloured} {object}>", "the <{bird} and {object}>"),
}
"""How a name of each kind is made; the part in <> is the name, what stands before it the article."""

THINGS: Final[dict[str, tuple[str, ...]]] = {
    kind: tuple(text.split(", "))
    for kind, text in {
        "cargo": "wool, timber, tea, salt, coal, grain, copper, spices, wine, herring, cotton, oranges, iron ore",
        "ware": "clocks, bicycles, lamps, pianos, gloves, umbrellas, kettles, ropes, boots, ovens, spectacles, hats",
        "stone": "granite, limestone, sandstone, basalt, marble, slate, gneiss, chalk",
        "material": "steel, oak, iron, granite, concrete, sandstone, timber, brick",
        "fish": "trout, salmon, pike, eels, perch, grayling, carp, sturgeon",
        "colour": "green, red, blue, yellow, white, black, orange, brown",
        "month": "January, February, March, April, May, June, July, August, September, October, November, December",
        "weekday": "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday",
        "dish": "smoked eel, plum cake, onion soup, honey bread, roast goose, apple dumplings, pea stew, lamb pie, "
        "buttered crab, almond biscuits",
        "milk": "goat's milk, sheep's milk, cow's milk, buffalo milk, mare's milk",
        "relish": "pears, walnuts, rye bread, fig jam, radishes, honey, pickled onions, dark beer",
        "instrument": "the cello, the flute, the harp, the trumpet, the organ, the violin, the clarinet, the oboe, "
        "the bassoon, the viola",
        "subject": "chemistry, geometry, botany, astronomy, grammar, geology, music, medicine, law, history",
        "trophy": "seeds, maps, fossils, masks, feathers, beetles, crystals, shells, coins, carvings",
        "beast": "a camel, a mule, a husky, a donkey, an old horse, a parrot, a reindeer, a tame otter",
        "mineral": "silver, tin, lead, zinc, coal, quartz, copper, nickel, cobalt, sulphur",
        "sight": "comets, double stars, sunspots, asteroids, nebulae, pulsars, meteors, moons",
    }.items()
}
"""Answers that are no names: common words, the same in both parts."""
