"""What the paragraphs are about: for each scene its facts, and how English tells them and asks for them.

In the phrases {v} is the fact's value, {name} the thing's name with its article, {its} a possessive, {town} and {count}
belong to the opening. A telling is a predicate ("was launched in {v}"), so that it can follow a name, "which" or "it".
"""

from typing import Final, NamedTuple


class Fact(NamedTuple):
    """One thing that can be told of, say, a ship.

    Attributes:
        kind: what the value is: a key of names.PATTERNS or names.THINGS, or a range such as ``9-48 sailors``.
        tells: predicates with {v}.
        asks: questions for the value, with {name}.
        finds: questions for the name, with {v}.
        fronts: phrases that may stand before the name and a comma, with {v}.
    """

    kind: str
    tells: tuple[str, ...]
    asks: tuple[str, ...]
    finds: tuple[str, ...]
    fronts: tuple[str, ...] = ()


class Scene(NamedTuple):
    """A kind of paragraph.

    Attributes:
        title: title of the article.
        kind: what its things are: a key of names.PATTERNS.
        openings: first sentences, with {count}, {town} or {names}.
        facts: what can be told of each thing.
        asides: sentences that answer nothing.
    """

    title: str
    kind: str
    openings: tuple[str, ...]
    facts: tuple[Fact, ...]
    asides: tuple[str, ...]


SHIPS = Scene(
    "Ships",
    "ship",
    (
        "{Count} ships are still remembered in the harbour of {town}.",
        "The harbour museum of {town} keeps the papers of {count} ships, {names}.",
        "Old sailors in {town} like to compare {names}.",
    ),
    (
        Fact(
            "1790-1850",
            ("was launched in {v}", "first took to the water in {v}", "left the slipway in {v}"),
            ("When was {name} launched?", "In which year did {name} first take to the water?"),
            ("Which ship was launched in {v}?", "What is the name of the ship launched in {v}?"),
            ("Launched in {v}",),
        ),
        Fact(
            "person",
            ("sailed under Captain {v}", "was commanded by {v}", "had {v} as {its} captain"),
            ("Who was the captain of {name}?", "Who commanded {name}?", "Under which captain did {name} sail?"),
            ("Which ship did {v} command?", "Which ship had {v} as its captain?"),
            ("Commanded by {v}",),
        ),
        Fact(
            "cargo",
            ("mostly carried {v}", "made {its} money with {v}", "was usually loaded with {v}"),
            ("What did {name} carry?", "What was the usual cargo of {name}?", "With what was {name} loaded?"),
            ("Which ship carried {v}?", "Which of the ships was loaded with {v}?"),
        ),
        Fact(
            "9-48 sailors",
            ("needed a crew of {v}", "was worked by {v}", "had room for {v}"),
            ("How large was the crew of {name}?", "How many sailors worked on {name}?"),
            ("Which ship had a crew of {v}?", "Which ship was worked by {v}?"),
        ),
        Fact(
            "town",
            ("came from a shipyard in {v}", "was built by the shipwrights of {v}"),
            ("Where was {name} built?", "In which town was the shipyard of {name}?"),
            ("Which ship came from a yard in {v}?", "Which ship was built in {v}?"),
            ("Built in {v}",),
        ),
        Fact(
            "1855-1920",
            ("sank in a storm in {v}", "was wrecked on a reef in {v}", "was lost at sea in {v}"),
            ("When was {name} lost?", "In what year did {name} sink?"),
            ("Which ship was lost in {v}?", "Which ship sank in {v}?"),
        ),
    ),
    (
        "Few drawings have survived.",
        "The log books are hard to read because salt water has bleached the ink.",
        "Freight was paid on the quay, in coin and after long quarrels.",
        "Every spring the hulls were scraped and tarred.",
    ),
)

LIGHTHOUSES = Scene(
    "Lighthouses",
    "lighthouse",
    (
        "{Count} lighthouses guard the rocks off {town}.",
        "Anyone who sails to {town} at night steers by {names}.",
        "The coast near {town} is dangerous, and {count} lighthouses warn the ships.",
    ),
    (
        Fact(
            "18-64 metres",
            ("is {v} tall", "rises {v} above the rocks", "reaches a height of {v}"),
            ("How tall is {name}?", "What height does {name} reach?"),
            ("Which lighthouse is {v} tall?", "Which lighthouse has a height of {v}?"),
        ),
        Fact(
            "1760-1900",
            ("was first lit in {v}", "has burned since {v}", "went into service in {v}"),
            ("When was {name} first lit?", "In which year did {name} go into service?"),
            ("Which lighthouse was first lit in {v}?", "Which light has burned since {v}?"),
            ("First lit in {v}",),
        ),
        Fact(
            "person",
            ("was looked after by {v} for a lifetime", "had {v} as {its} last keeper", "was kept by {v}"),
            ("Who was the keeper of {name}?", "Who looked after {name}?"),
            ("Which lighthouse did {v} look after?", "Where was {v} the keeper?"),
        ),
        Fact(
            "stone",
            ("is made of {v}", "was built from blocks of {v}", "stands on walls of {v}"),
            ("What is {name} made of?", "From what was {name} built?"),
            ("Which lighthouse is made of {v}?", "Which lighthouse was built from {v}?"),
            ("Built from {v}",),
        ),
        Fact(
            "90-340 steps",
            ("has a staircase of {v}", "can be climbed by {v}", "makes {its} keeper climb {v}"),
            ("How many steps does {name} have?", "How long is the staircase of {name}?"),
            ("Which lighthouse has {v}?", "Which lighthouse can be climbed by {v}?"),
        ),
        Fact(
            "12-40 miles",
            ("can be seen from {v} away", "sends {its} beam {v} out to sea"),
            ("From how far away can {name} be seen?", "How far does the beam of {name} reach?"),
            ("Which lighthouse can be seen from {v} away?", "The beam of which lighthouse reaches {v}?"),
        ),
    ),
    (
        "In winter the spray freezes on the windows.",
        "Supplies arrive by boat when the weather allows it.",
        "On clear evenings people walk out to watch the lamps being lit.",
        "The keepers' cottages are holiday homes today.",
    ),
)

BRIDGES = Scene(
    "Bridges",
    "bridge",
    (
        "{Count} bridges lead into the old town of {town}.",
        "Visitors to {town} usually cross {names}.",
        "The bridges of {town} are a favourite subject of painters.",
    ),
    (
        Fact(
            "60-900 metres",
            ("is {v} long", "measures {v} from bank to bank", "has a length of {v}"),
            ("How long is {name}?", "What is the length of {name}?"),
            ("Which bridge is {v} long?", "Which bridge has a length of {v}?"),
        ),
        Fact(
            "person",
            ("was designed by {v}", "is the work of the engineer {v}", "was drawn up by {v}"),
            ("Who designed {name}?", "Which engineer planned {name}?", "Whose work is {name}?"),
            ("Which bridge did {v} design?", "Which bridge is the work of {v}?"),
            ("Designed by {v}",),
        ),
        Fact(
            "1740-1960",
            ("was opened in {v}", "has carried traffic since {v}", "was finished in {v}"),
            ("When was {name} opened?", "In what year was {name} finished?"),
            ("Which bridge was opened in {v}?", "Which bridge has carried traffic since {v}?"),
            ("Opened in {v}",),
        ),
        Fact(
            "material",
            ("is built of {v}", "consists of {v}", "rests on arches of {v}"),
            ("What is {name} built of?", "Which material was used for {name}?"),
            ("Which bridge is built of {v}?", "Which of the bridges was made from {v}?"),
        ),
        Fact(
            "river",
            ("crosses {v}", "spans {v}", "leads over {v}"),
            ("Which river does {name} cross?", "What river flows under {name}?"),
            ("Which bridge spans {v}?", "Which bridge leads over {v}?"),
        ),
        Fact(
            "2-40 pence",
            ("once charged a toll of {v}", "could be crossed for {v}", "used to cost walkers {v}"),
            ("What was the toll on {name}?", "How much did it cost to cross {name}?"),
            ("Which bridge had a toll of {v}?", "Which bridge could be crossed for {v}?"),
        ),
    ),
    (
        "After heavy rain the water rises to the railings.",
        "Street musicians play there on summer evenings.",
        "The lamps were changed to electric light a long time ago.",
        "Repairs are paid for by the county.",
    ),
)

TOWNS = Scene(
    "Small towns",
    "town",
    (
        "{Count} small towns lie within a day's walk of {town}.",
        "The road north of {town} passes through {names}.",
        "People from {town} often spend their Sundays in {names}.",
    ),
    (
        Fact(
            "1120-1680",
            ("was founded in {v}", "received {its} charter in {v}", "became a town in {v}"),
            ("When was {name} founded?", "In which year did {name} become a town?"),
            ("Which town was founded in {v}?", "Which town received its charter in {v}?"),
            ("Founded in {v}",),
        ),
        Fact(
            "person",
            ("is governed by Mayor {v}", "elected {v} as {its} mayor", "has {v} as {its} mayor"),
            ("Who is the mayor of {name}?", "Whom did {name} elect as mayor?"),
            ("Which town has {v} as its mayor?", "Of which town is {v} the mayor?"),
        ),
        Fact(
            "1,100-49,900 people",
            ("is home to {v}", "has a population of {v}", "counts {v}"),
            ("How many people live in {name}?", "What is the population of {name}?"),
            ("Which town is home to {v}?", "Which town has {v}?"),
        ),
        Fact(
            "river",
            ("lies on {v}", "stands on the banks of {v}", "grew up beside {v}"),
            ("On which river does {name} lie?", "Which river flows past {name}?"),
            ("Which town lies on {v}?", "Which town stands beside {v}?"),
            ("Built beside {v}",),
        ),
        Fact(
            "ware",
            ("is known for {its} {v}", "lives from making {v}", "sells {v} to the whole country"),
            ("What is {name} known for?", "What is made in {name}?"),
            ("Which town is known for {v}?", "Which town makes {v}?"),
        ),
        Fact(
            "weekday",
            ("holds {its} market on {v}", "is busiest on {v}, the day of the market"),
            ("On which day is the market in {name}?", "When does {name} hold its market?"),
            ("Which town holds its market on {v}?", "Where is there a market on {v}?"),
        ),
    ),
    (
        "The bus runs twice a day.",
        "Storks nest on many of the roofs.",
        "The walls were pulled down when carriages grew too wide for the gates.",
        "In autumn the valley is often full of fog.",
    ),
)

COMPANIES = Scene(
    "Workshops",
    "company",
    (
        "{Count} firms once shared a courtyard in {town}.",
        "The trade register of {town} lists {names}.",
        "Industry came early to {town}, and {count} firms outlived the first crisis.",
    ),
    (
        Fact(
            "person",
            ("was founded by {v}", "was set up by {v}", "owes {its} start to {v}"),
            ("Who founded {name}?", "By whom was {name} set up?"),
            ("Which firm was founded by {v}?", "Which firm did {v} set up?"),
            ("Founded by {v}",),
        ),
        Fact(
            "ware",
            ("produced {v}", "became famous for {its} {v}", "made {v}"),
            ("What did {name} make?", "Which goods came from {name}?", "What was {name} famous for?"),
            ("Which firm made {v}?", "Which firm was famous for its {v}?"),
        ),
        Fact(
            "1810-1890",
            ("opened {its} doors in {v}", "began work in {v}", "was registered in {v}"),
            ("When did {name} begin work?", "In which year was {name} registered?"),
            ("Which firm began work in {v}?", "Which firm opened its doors in {v}?"),
            ("Registered in {v}",),
        ),
        Fact(
            "12-980 workers",
            ("employed {v}", "gave work to {v}", "grew to {v}"),
            ("How many workers did {name} employ?", "How many people worked for {name}?"),
            ("Which firm employed {v}?", "Which firm gave work to {v}?"),
        ),
        Fact(
            "town",
            ("later moved to {v}", "opened a second workshop in {v}", "kept a shop in {v}"),
            ("To which other town did {name} expand?", "Where else did {name} have a workshop or a shop?"),
            ("Which firm went to {v}?", "Which firm had a place in {v}?"),
        ),
        Fact(
            "1895-1970",
            ("closed in {v}", "was sold in {v}", "went bankrupt in {v}"),
            ("When did {name} come to an end?", "In what year was {name} given up?"),
            ("Which firm came to an end in {v}?", "Which firm was given up in {v}?"),
        ),
    ),
    (
        "Wages were paid on Saturdays at noon.",
        "Most of the machines were driven by a single water wheel.",
        "Catalogues of that time fetch high prices today.",
        "A fire in the courtyard destroyed many of the order books.",
    ),
)

NOVELS = Scene(
    "Novels",
    "novel",
    (
        "{Count} novels have made {town} known to readers abroad.",
        "The library of {town} owns first editions of {names}.",
        "Book clubs in {town} keep returning to {names}.",
    ),
    (
        Fact(
            "person",
            ("was written by {v}", "is the best known book of {v}", "was the first success of {v}"),
            ("Who wrote {name}?", "Who is the author of {name}?"),
            ("Which novel did {v} write?", "Which book is by {v}?"),
            ("Written by {v}",),
        ),
        Fact(
            "1830-1985",
            ("was published in {v}", "came out in {v}", "first appeared in {v}"),
            ("When was {name} published?", "In which year did {name} come out?"),
            ("Which novel was published in {v}?", "Which book came out in {v}?"),
            ("Published in {v}",),
        ),
        Fact(
            "140-890 pages",
            ("runs to {v}", "fills {v}", "tells {its} story in {v}"),
            ("How long is {name}?", "How many pages does {name} have?"),
            ("Which novel has {v}?", "Which book runs to {v}?"),
        ),
        Fact(
            "person",
            ("follows a young teacher called {v}", "has {v} as {its} hero", "tells the life of {v}"),
            ("Who is the hero of {name}?", "Whose life does {name} tell?"),
            ("Which novel is about {v}?", "In which book is {v} the hero?"),
        ),
        Fact(
            "town",
            ("begins in {v}", "opens on a rainy night in {v}", "starts at the station of {v}"),
            ("Where does {name} begin?", "In which town does the story of {name} start?"),
            ("Which novel begins in {v}?", "Which story starts in {v}?"),
        ),
        Fact(
            "4-38 languages",
            ("has been translated into {v}", "can be read in {v}"),
            ("Into how many languages has {name} been translated?", "In how many languages can {name} be read?"),
            ("Which novel has been translated into {v}?", "Which book can be read in {v}?"),
            ("Translated into {v}",),
        ),
    ),
    (
        "Critics were unkind at first.",
        "The manuscripts lie in a bank and are shown once a year.",
        "School classes read long passages aloud.",
        "A film was planned several times but never made.",
    ),
)

SCENES: Final = (SHIPS, LIGHTHOUSES, BRIDGES, TOWNS, COMPANIES, NOVELS)
