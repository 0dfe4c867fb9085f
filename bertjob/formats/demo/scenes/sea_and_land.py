"""Scenes: ships, lighthouses, mountains, rivers."""

from bertjob.formats.demo.scene import Fact, Scene

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


MOUNTAINS = Scene(
    "Mountains",
    "mountain",
    (
        "{Count} mountains can be seen from the church tower of {town}.",
        "Climbers who stay in {town} mostly come for {names}.",
        "The guides of {town} know {count} mountains better than any others.",
    ),
    (
        Fact(
            "1,800-4,700 metres",
            ("is {v} high", "rises to {v}", "reaches {v}"),
            ("How high is {name}?", "What is the height of {name}?"),
            ("Which mountain is {v} high?", "Which mountain rises to {v}?"),
        ),
        Fact(
            "person",
            ("was first climbed by {v}", "was conquered by {v}", "was first reached by the guide {v}"),
            ("Who first climbed {name}?", "Who was the first person on top of {name}?"),
            ("Which mountain did {v} climb first?", "Which mountain was conquered by {v}?"),
            ("First climbed by {v}",),
        ),
        Fact(
            "1790-1935",
            ("had {its} first ascent in {v}", "saw the first climbers on {its} top in {v}"),
            ("When was the first ascent of {name}?", "In which year did climbers first reach the top of {name}?"),
            ("Which mountain had its first ascent in {v}?", "Whose first ascent was in {v}?"),
        ),
        Fact(
            "stone",
            ("consists of {v}", "is made up of {v}", "has cliffs of {v}"),
            ("Which rock does {name} consist of?", "What is {name} made of?"),
            ("Which mountain consists of {v}?", "Which mountain has cliffs of {v}?"),
        ),
        Fact(
            "4-16 hours",
            ("can be climbed in {v}", "takes {v} to climb", "keeps climbers busy for {v}"),
            ("How long does it take to climb {name}?", "In what time can {name} be climbed?"),
            ("Which mountain takes {v} to climb?", "Which mountain can be climbed in {v}?"),
        ),
        Fact(
            "town",
            ("is usually climbed from {v}", "overlooks {v}", "casts {its} shadow on {v}"),
            ("Which town lies below {name}?", "Which town does one find at the foot of {name}?"),
            ("Which mountain stands above {v}?", "At the foot of which mountain is {v}?"),
        ),
    ),
    (
        "The weather changes within minutes.",
        "Marmots whistle between the boulders.",
        "Snow closes the upper paths until early summer.",
        "Ropes and irons can be hired in the valley.",
    ),
)


RIVERS = Scene(
    "Rivers",
    "river",
    (
        "{Count} rivers meet in the wide valley of {town}.",
        "The water mills of {town} were driven by {names}.",
        "Fishermen from {town} can choose between {names}.",
    ),
    (
        Fact(
            "30-820 kilometres",
            ("is {v} long", "flows for {v}", "winds through the country for {v}"),
            ("How long is {name}?", "What is the length of {name}?"),
            ("Which river is {v} long?", "Which river flows for {v}?"),
        ),
        Fact(
            "mountain",
            ("springs from the side of {v}", "rises on {v}", "has {its} source below {v}"),
            ("Where does {name} rise?", "On which mountain is the source of {name}?"),
            ("Which river rises on {v}?", "Which river has its source on {v}?"),
            ("Fed by the snow of {v}",),
        ),
        Fact(
            "fish",
            ("is full of {v}", "is known for {its} {v}", "is a good place to catch {v}"),
            ("Which fish live in {name}?", "What can be caught in {name}?"),
            ("Which river is known for {v}?", "In which river can one catch {v}?"),
        ),
        Fact(
            "4-61 bridges",
            ("is crossed by {v}", "flows under {v}", "has {v}"),
            ("How many bridges cross {name}?", "How many bridges are there over {name}?"),
            ("Which river is crossed by {v}?", "Which river has {v}?"),
        ),
        Fact(
            "person",
            ("was first mapped by {v}", "was explored by {v}", "was surveyed by {v}"),
            ("Who mapped {name}?", "Who explored {name}?"),
            ("Which river did {v} explore?", "Which river was surveyed by {v}?"),
            ("First mapped by {v}",),
        ),
        Fact(
            "month",
            ("is highest in {v}", "tends to flood in {v}", "carries most water in {v}"),
            ("In which month is {name} highest?", "When does {name} tend to flood?"),
            ("Which river floods in {v}?", "Which river is highest in {v}?"),
        ),
    ),
    (
        "Willows hang over the banks.",
        "Timber is no longer floated to the sea.",
        "In dry years children cross on the stones.",
        "The gravel is washed and sold to builders.",
    ),
)
