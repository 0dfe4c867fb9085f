"""More scenes: nature, travel, and people."""

from typing import Final

from bertjob.train.squad.demo.scenes import Fact, Scene

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

MORE_SCENES: Final = (
    MOUNTAINS, RIVERS, TRAINS, FESTIVALS, CHEESES, EXPLORERS, MUSICIANS, SCHOLARS, TELESCOPES, MINES
)  # fmt: skip
