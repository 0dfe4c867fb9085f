"""Scenes: firms, mines, cheeses."""

from bertjob.formats.demo.scene import Fact, Scene

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


MINES = Scene(
    "Mines",
    "mine",
    (
        "{Count} mines made {town} rich for a short time.",
        "Under the meadows of {town} lie the galleries of {names}.",
        "Old maps of {town} show {names}.",
    ),
    (
        Fact(
            "mineral",
            ("yielded {v}", "was dug for {v}", "gave the country {v}"),
            ("What was found in {name}?", "What did {name} yield?"),
            ("Which mine yielded {v}?", "In which mine was {v} found?"),
        ),
        Fact(
            "80-960 metres",
            ("was {v} deep", "went down {v}", "reached a depth of {v}"),
            ("How deep was {name}?", "What depth did {name} reach?"),
            ("Which mine was {v} deep?", "Which mine went down {v}?"),
        ),
        Fact(
            "person",
            ("belonged to {v}", "was owned by {v}", "was the property of {v}"),
            ("Who owned {name}?", "To whom did {name} belong?"),
            ("Which mine did {v} own?", "Which mine belonged to {v}?"),
            ("Owned by {v}",),
        ),
        Fact(
            "40-870 miners",
            ("employed {v}", "fed the families of {v}", "sent {v} underground"),
            ("How many miners worked in {name}?", "How many miners did {name} employ?"),
            ("Which mine employed {v}?", "Which mine had {v}?"),
        ),
        Fact(
            "1640-1820",
            ("was opened in {v}", "began to work in {v}", "was discovered in {v}"),
            ("When was {name} opened?", "In which year did work begin at {name}?"),
            ("Which mine was opened in {v}?", "In which mine did work begin in {v}?"),
            ("Opened in {v}",),
        ),
        Fact(
            "1825-1950",
            ("was flooded in {v}", "closed in {v}", "was given up in {v}"),
            ("When was {name} given up?", "In which year did work end at {name}?"),
            ("Which mine was given up in {v}?", "In which mine did work end in {v}?"),
        ),
    ),
    (
        "Ponies pulled the wagons.",
        "Candles were paid for by the men themselves.",
        "Today bats sleep in the tunnels.",
        "The spoil heaps have grown over with birch.",
    ),
)


CHEESES = Scene(
    "Cheeses",
    "cheese",
    (
        "The market hall of {town} sells {count} cheeses of its own region.",
        "A good shop in {town} always has {names}.",
        "{Count} cheeses from the hills behind {town} win prizes year after year.",
    ),
    (
        Fact(
            "milk",
            ("is made from {v}", "needs {v}", "gets {its} taste from {v}"),
            ("What kind of milk is used for {name}?", "From what is {name} made?"),
            ("Which cheese is made from {v}?", "Which cheese needs {v}?"),
            ("Made from {v}",),
        ),
        Fact(
            "2-36 months",
            ("ripens for {v}", "is kept in a cellar for {v}", "is ready after {v}"),
            ("How long does {name} ripen?", "After what time is {name} ready?"),
            ("Which cheese ripens for {v}?", "Which cheese is ready after {v}?"),
            ("Ripened for {v}",),
        ),
        Fact(
            "person",
            ("was invented by {v}", "follows a recipe of {v}", "was first made by {v}"),
            ("Who invented {name}?", "Whose recipe does {name} follow?"),
            ("Which cheese did {v} invent?", "Which cheese was first made by {v}?"),
            ("Invented by {v}",),
        ),
        Fact(
            "relish",
            ("is best eaten with {v}", "goes well with {v}", "is served with {v}"),
            ("What is {name} eaten with?", "With what is {name} served?"),
            ("Which cheese goes well with {v}?", "Which cheese is served with {v}?"),
        ),
        Fact(
            "town",
            ("comes from a dairy in {v}", "is made only in {v}", "is the pride of {v}"),
            ("Where does {name} come from?", "In which town is {name} made?"),
            ("Which cheese comes from {v}?", "Which cheese is made in {v}?"),
        ),
        Fact(
            "2-19 kilograms",
            ("is sold in wheels of {v}", "weighs {v} when it is whole"),
            ("How heavy is a whole wheel of {name}?", "What does a wheel of {name} weigh?"),
            ("Which cheese weighs {v}?", "Which cheese is sold in wheels of {v}?"),
        ),
    ),
    (
        "The rind is not eaten.",
        "Tasting is free before noon.",
        "Exports have grown since the new road was built.",
        "Every dairy guards its cellar like a treasury.",
    ),
)
