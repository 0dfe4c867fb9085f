"""Scenes: towns, bridges, trains, festivals."""

from bertjob.formats.demo.scene import Fact, Scene

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


TRAINS = Scene(
    "Trains",
    "train",
    (
        "{Count} famous trains used to stop at {town}.",
        "The railway museum of {town} has models of {names}.",
        "From the footbridge at {town} one could watch {names} go by.",
    ),
    (
        Fact(
            "town",
            ("started in {v}", "set out from {v} every morning", "left from {v}"),
            ("Where did {name} start?", "From which town did {name} leave?"),
            ("Which train left from {v}?", "Which train started in {v}?"),
            ("Leaving from {v}",),
        ),
        Fact(
            "town",
            ("ended {its} journey in {v}", "ran as far as {v}", "carried {its} passengers to {v}"),
            ("Where did the journey of {name} end?", "To which town did {name} run?"),
            ("Which train ended in {v}?", "Which train ran to {v}?"),
        ),
        Fact(
            "3-29 hours",
            ("took {v} for the journey", "reached the end of the line after {v}", "was on the way for {v}"),
            ("How long did the journey of {name} take?", "How much time did {name} need?"),
            ("Which train took {v}?", "Which train was on the way for {v}?"),
        ),
        Fact(
            "5-18 carriages",
            ("pulled {v}", "was made up of {v}", "had {v}"),
            ("How many carriages did {name} have?", "How many carriages did {name} pull?"),
            ("Which train had {v}?", "Which train pulled {v}?"),
        ),
        Fact(
            "1865-1955",
            ("ran for the first time in {v}", "entered the timetable in {v}", "was introduced in {v}"),
            ("When did {name} run for the first time?", "In which year was {name} introduced?"),
            ("Which train was introduced in {v}?", "Which train entered the timetable in {v}?"),
            ("Introduced in {v}",),
        ),
        Fact(
            "colour",
            ("was painted {v}", "was easy to know by {its} {v} engine"),
            ("What colour was {name}?", "In which colour was {name} painted?"),
            ("Which train was {v}?", "Which train was painted {v}?"),
        ),
    ),
    (
        "Tea was served after the first tunnel.",
        "Delays were common when snow lay on the pass.",
        "The stations had waiting rooms with iron stoves.",
        "Porters knew the regular guests by name.",
    ),
)


FESTIVALS = Scene(
    "Festivals",
    "festival",
    (
        "{Count} festivals bring visitors to the region of {town}.",
        "The calendar of {town} names {names}.",
        "Nobody in {town} would miss {names}.",
    ),
    (
        Fact(
            "month",
            ("takes place in {v}", "is held every {v}", "falls in {v}"),
            ("When does {name} take place?", "In which month is {name} held?"),
            ("Which festival takes place in {v}?", "What is celebrated in {v}?"),
            ("Held every {v}",),
        ),
        Fact(
            "person",
            ("was started by {v}", "goes back to {v}", "was the idea of {v}"),
            ("Who started {name}?", "Whose idea was {name}?"),
            ("Which festival did {v} start?", "Which festival goes back to {v}?"),
            ("Started by {v}",),
        ),
        Fact(
            "dish",
            ("is loved for {its} {v}", "would be nothing without {v}", "ends with {v} for everyone"),
            ("What do people eat at {name}?", "Which food belongs to {name}?"),
            ("At which festival do people eat {v}?", "Which festival is loved for its {v}?"),
        ),
        Fact(
            "900-48,000 visitors",
            ("draws {v}", "attracts {v}", "is attended by {v}"),
            ("How many visitors come to {name}?", "How many people does {name} attract?"),
            ("Which festival attracts {v}?", "Which festival draws {v}?"),
        ),
        Fact(
            "3-16 days",
            ("lasts {v}", "goes on for {v}", "is over after {v}"),
            ("How long does {name} last?", "How many days does {name} go on?"),
            ("Which festival lasts {v}?", "Which festival goes on for {v}?"),
        ),
        Fact(
            "1720-1990",
            ("was first celebrated in {v}", "has been held since {v}", "dates from {v}"),
            ("When was {name} first celebrated?", "Since which year has {name} been held?"),
            ("Which festival dates from {v}?", "Which festival has been held since {v}?"),
        ),
    ),
    (
        "Rooms are hard to find at such times.",
        "Children stay up until midnight.",
        "The brass band practises for weeks.",
        "It rains more often than the organisers admit.",
    ),
)
