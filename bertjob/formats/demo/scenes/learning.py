"""Scenes: novels, explorers, musicians, scholars, telescopes."""

from bertjob.formats.demo.scene import Fact, Scene

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


EXPLORERS = Scene(
    "Explorers",
    "person",
    (
        "The geographical society of {town} honours {count} explorers.",
        "Streets in {town} are named after {names}.",
        "{Count} travellers brought fame to {town}.",
    ),
    (
        Fact(
            "town",
            ("was born in {v}", "grew up in {v}", "spent a quiet childhood in {v}"),
            ("Where did {name} grow up?", "In which town was {name} a child?"),
            ("Who grew up in {v}?", "Which explorer spent a childhood in {v}?"),
            ("Born in {v}",),
        ),
        Fact(
            "1820-1910",
            ("set out in {v}", "left for the north in {v}", "began the great journey in {v}"),
            ("When did {name} set out?", "In which year did {name} begin the journey?"),
            ("Who set out in {v}?", "Which explorer began a journey in {v}?"),
        ),
        Fact(
            "person",
            ("travelled with {v}", "shared a tent with {v}", "was accompanied by {v}"),
            ("With whom did {name} travel?", "Who accompanied {name}?"),
            ("Who travelled with {v}?", "Which explorer was accompanied by {v}?"),
            ("Accompanied by {v}",),
        ),
        Fact(
            "trophy",
            ("brought home a case of {v}", "returned with {v}", "collected {v}"),
            ("What did {name} bring home?", "What did {name} collect?"),
            ("Who brought home {v}?", "Which explorer collected {v}?"),
        ),
        Fact(
            "5-70 months",
            ("was away for {v}", "stayed abroad for {v}", "came back after {v}"),
            ("How long was {name} away?", "After what time did {name} come back?"),
            ("Who was away for {v}?", "Which explorer came back after {v}?"),
        ),
        Fact(
            "beast",
            ("never travelled without {v}", "owed much to {v}", "was fond of {v}"),
            ("Which animal was dear to {name}?", "What animal did {name} take along?"),
            ("Who never travelled without {v}?", "Which explorer was fond of {v}?"),
        ),
    ),
    (
        "Letters took half a year to arrive.",
        "Sponsors expected reports and got sketches.",
        "The tents were sewn from sailcloth.",
        "No one at home believed the first stories.",
    ),
)


MUSICIANS = Scene(
    "Musicians",
    "person",
    (
        "{Count} musicians played together in the theatre of {town}.",
        "The concert hall of {town} shows portraits of {names}.",
        "Recordings of {names} are sold in every shop of {town}.",
    ),
    (
        Fact(
            "instrument",
            ("played {v}", "was a master of {v}", "fell in love with {v} at the age of six"),
            ("Which instrument did {name} play?", "What did {name} play?"),
            ("Who played {v}?", "Which musician was a master of {v}?"),
        ),
        Fact(
            "person",
            ("was taught by {v}", "learned from {v}", "took lessons with {v}"),
            ("Who taught {name}?", "From whom did {name} learn?", "Who was the teacher of {name}?"),
            ("Who was a pupil of {v}?", "Whom did {v} teach?"),
            ("Taught by {v}",),
        ),
        Fact(
            "town",
            ("came from {v}", "was born in {v}", "had parents from {v}"),
            ("Where did {name} come from?", "In which town were the roots of {name}?"),
            ("Who came from {v}?", "Which musician had roots in {v}?"),
            ("Born in {v}",),
        ),
        Fact(
            "1850-1960",
            ("gave a first concert in {v}", "first appeared on stage in {v}", "made a debut in {v}"),
            ("When did {name} give a first concert?", "In which year did {name} first appear on stage?"),
            ("Who gave a first concert in {v}?", "Which musician first appeared in {v}?"),
        ),
        Fact(
            "12-140 pieces",
            ("wrote {v}", "left behind {v}", "composed {v}"),
            ("How many pieces did {name} write?", "How many pieces did {name} leave behind?"),
            ("Who wrote {v}?", "Which musician composed {v}?"),
        ),
        Fact(
            "school",
            ("later taught at {v}", "gave courses at {v}", "became a professor at {v}"),
            ("Where did {name} teach?", "At which college did {name} give courses?"),
            ("Who taught at {v}?", "Which musician became a professor at {v}?"),
        ),
    ),
    (
        "Tickets were sold out for months.",
        "The hall was heated by a single stove.",
        "Applause was forbidden until the last note.",
        "Programmes were printed on blue paper.",
    ),
)


SCHOLARS = Scene(
    "Scholars",
    "person",
    (
        "{Count} scholars lived in the same street of {town}.",
        "The university of {town} is proud of {names}.",
        "Students in {town} still quarrel over the ideas of {names}.",
    ),
    (
        Fact(
            "subject",
            ("studied {v}", "lectured on {v}", "wrote a handbook of {v}"),
            ("What did {name} study?", "Which subject did {name} teach?"),
            ("Who studied {v}?", "Which scholar lectured on {v}?"),
        ),
        Fact(
            "school",
            ("worked at {v}", "was employed by {v}", "held a post at {v}"),
            ("Where did {name} work?", "Which college employed {name}?"),
            ("Who worked at {v}?", "Which scholar held a post at {v}?"),
            ("Employed by {v}",),
        ),
        Fact(
            "person",
            ("was assisted by {v}", "had {v} as an assistant", "relied on the help of {v}"),
            ("Who assisted {name}?", "Who was the assistant of {name}?", "Whose help did {name} rely on?"),
            ("Whom did {v} assist?", "Who relied on the help of {v}?"),
            ("Assisted by {v}",),
        ),
        Fact(
            "1780-1930",
            ("became famous in {v}", "rose to fame in {v}", "was suddenly famous in {v}"),
            ("When did {name} become famous?", "In which year did fame come to {name}?"),
            ("Who became famous in {v}?", "Which scholar rose to fame in {v}?"),
        ),
        Fact(
            "inn",
            ("dined at {v}", "was a regular guest of {v}", "met friends at {v}"),
            ("Where did {name} dine?", "Which inn did {name} visit?"),
            ("Who dined at {v}?", "Which scholar was a guest of {v}?"),
        ),
        Fact(
            "61-97 years",
            ("lived for {v}", "reached an age of {v}", "died after {v} of good health"),
            ("How old did {name} become?", "What age did {name} reach?"),
            ("Who lived for {v}?", "Which scholar reached an age of {v}?"),
        ),
    ),
    (
        "Lectures began at seven in the morning.",
        "Ink froze in the wells in January.",
        "Their notebooks are full of drawings of cats.",
        "The street is quieter today.",
    ),
)


TELESCOPES = Scene(
    "Observatories",
    "telescope",
    (
        "{Count} telescopes stand on the hills near {town}.",
        "Astronomers who come to {town} want to use {names}.",
        "The night sky above {town} is dark enough for {names}.",
    ),
    (
        Fact(
            "60-840 centimetres",
            ("has a mirror of {v}", "collects light with a mirror of {v}", "measures {v} across"),
            ("How large is the mirror of {name}?", "What does {name} measure across?"),
            ("Which telescope has a mirror of {v}?", "Which telescope measures {v} across?"),
        ),
        Fact(
            "person",
            ("is directed by {v}", "is in the care of {v}", "has {v} as {its} director"),
            ("Who directs {name}?", "Who is in charge of {name}?"),
            ("Which telescope does {v} direct?", "Which telescope is in the care of {v}?"),
        ),
        Fact(
            "1890-2015",
            ("was finished in {v}", "saw {its} first star in {v}", "has been at work since {v}"),
            ("When was {name} finished?", "In which year did {name} start work?"),
            ("Which telescope was finished in {v}?", "Which telescope has worked since {v}?"),
            ("Finished in {v}",),
        ),
        Fact(
            "sight",
            ("is used to study {v}", "looks mainly for {v}", "was built for watching {v}"),
            ("What is {name} used to study?", "What does {name} look for?"),
            ("Which telescope looks for {v}?", "Which telescope is used to study {v}?"),
        ),
        Fact(
            "mountain",
            ("stands on {v}", "was carried in pieces to the top of {v}", "was built on {v}"),
            ("Where does {name} stand?", "On which mountain was {name} built?"),
            ("Which telescope stands on {v}?", "Which telescope was built on {v}?"),
            ("High on {v}",),
        ),
        Fact(
            "company",
            ("was paid for by {v}", "was a gift of {v}", "has a mirror ground by {v}"),
            ("Which firm helped to build {name}?", "Which firm had a part in {name}?"),
            ("Which telescope was made possible by {v}?", "In which telescope did {v} have a part?"),
        ),
    ),
    (
        "Visitors must cover their torches with red paper.",
        "Clouds spoil one night in three.",
        "Coffee is strong and free.",
        "The domes are opened an hour after sunset.",
    ),
)
