"""The calls of `callscope bench turns` in virtual time: who makes which sound when, over which line, to which agent.

Each condition is a mixture of the corpus with one difficulty. A call is a pure function of its condition and number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random

from actors.world.agent import AgentPlan, Reply
from actors.world.caller import AfterAgent, AfterMe, CallerPlan, IntoSpeech, Step
from actors.world.carrier import LinePlan
from actors.world.hearing import HearingPlan
from actors.world.sounds import Sound
from actors.world.world import CallPlan
from engine.audio import LINEAR
from web.bench import corpus

SOUNDS_A_CALL = 5
USUAL_LEVEL = 4100.0  # of speech over a background: -18 dBFS, of 32767
BACKGROUND_LEVEL = 3276.7  # as the corpus makes them
GREETING = (
    "Good evening and thank you for calling the Bistro on the market square, my name is Ada and I can book a table for "
    "you, tell you about the menu of this week, or take a message for the kitchen, just tell me what you would like."
)
REPLIES = (
    "Of course, let me see what we have, there is a table by the window at seven and another in the garden at eight, "
    "both are free for two hours, and the garden is closed when it rains, so which of these two would you prefer?",
    "Certainly, the menu of this week begins with a soup of roasted pumpkin, then comes a risotto with mushrooms or a "
    "piece of cod with lentils, and at the end a tart of plums, all of it for thirty two euros without the wine.",
    "I have written that down for you, and I will send a message to your phone with the day, the time, the number of "
    "guests, and if anything changes please call us again before noon, so that somebody else can have the table.",
)

Chance = Callable[[Random], LinePlan]


def _clean(chance: Random) -> LinePlan:
    return LinePlan()


def _rough(chance: Random) -> LinePlan:
    """A mobile phone far from home."""
    return LinePlan(
        up_ms=chance.choice((20, 40, 80)),
        down_ms=chance.choice((20, 40, 80)),
        up_jitter_ms=chance.choice((20, 60, 120)),
        down_jitter_ms=chance.choice((20, 60)),
        loss_percent=chance.choice((1, 2, 5)),
        start_delay_ms=chance.choice((0, 60)),
    )


def _loudspeaker(chance: Random) -> LinePlan:
    return LinePlan(echo_delay_ms=chance.choice((60, 120, 250, 400)), echo_loss_db=chance.choice((12.0, 18.0, 26.0)))


@dataclass(frozen=True)
class Condition:
    """One difficulty, and how much of the whole it is."""

    name: str
    share: int
    snr_db: float | None = None
    line: Chance = _clean
    agents: tuple[AgentPlan, ...] = ()
    is_headline: bool = False  # counts for the onset's percentiles
    sounds: Callable[[Random], Iterator[Step]] | None = None  # instead of the usual mixture

    def call(self, number: int, seed: int) -> CallPlan:
        """The n-th call of this condition."""
        chance = Random(f"{self.name}/{seed}/{number}")  # noqa: S311 — a corpus, no secret
        agents = self.agents or (AgentPlan(),)
        agent = chance.choice(agents)
        steps = list((self.sounds or usual)(chance))
        background = b""
        if self.snr_db is not None:
            steps = [replace(one, say=levelled(one.say)) if one.say is not None else one for one in steps]
            name = chance.choice(sorted(corpus.backgrounds()))
            background = background_at(name, self.snr_db)
        return CallPlan(
            caller=CallerPlan(steps=steps, background=background, stays_ms=4000.0),
            line=self.line(chance),
            agent=_speaking(agent),
            seed=chance.randrange(1 << 32),
        )


def _speaking(agent: AgentPlan) -> AgentPlan:
    return replace(agent, first_message=GREETING, replies=tuple(Reply(text) for text in REPLIES))


# --- what the caller does --------------------------------------------------------------------------------------------


def usual(chance: Random) -> Iterator[Step]:
    """True interruptions and false ones by turns, at any moment of a speech; now and then two on each other's heels."""
    for _ in range(SOUNDS_A_CALL):
        into = IntoSpeech(chance.randint(300, 2600))
        if chance.random() < 0.5:
            yield Step(into, chance.choice(false_sounds()))
            continue
        yield Step(into, chance.choice(true_sounds()))
        if chance.random() < 0.15:
            yield Step(AfterMe(chance.randint(120, 700)), chance.choice(true_sounds()))
    yield Step(AfterAgent(700))


def first_word(chance: Random) -> Iterator[Step]:
    """The caller speaks as soon as the agent opens its mouth."""
    for _ in range(SOUNDS_A_CALL):
        yield Step(IntoSpeech(20), chance.choice(true_sounds()))
    yield Step(AfterAgent(700))


def twice(chance: Random) -> Iterator[Step]:
    """A noise, and words on its heels; or words, and words again."""
    for _ in range(SOUNDS_A_CALL // 2):
        first = chance.choice((false_sounds, true_sounds))
        yield Step(IntoSpeech(chance.randint(500, 2000)), chance.choice(first()))
        yield Step(AfterMe(chance.randint(60, 900)), chance.choice(true_sounds()))
    yield Step(AfterAgent(700))


def nothing_but_listening(chance: Random) -> Iterator[Step]:
    """The caller hears three speeches to their ends, and asks between them."""
    for _ in range(2):
        yield Step(AfterAgent(700), chance.choice(true_sounds()))
    yield Step(AfterAgent(700))


CONDITIONS = (
    Condition("quiet", 8, is_headline=True),
    Condition("20 dB noise", 5, snr_db=20.0, is_headline=True),
    Condition("10 dB noise", 2, snr_db=10.0),
    Condition("5 dB noise", 1, snr_db=5.0),
    Condition("rough line", 2, line=_rough),
    Condition("first word", 1, sounds=first_word),
    Condition("double", 1, sounds=twice),
    Condition(
        "late Vapi", 1,
        agents=(
            AgentPlan(hearing=HearingPlan(first_partial_ms=500, late_ms=300)),
            AgentPlan(hearing=HearingPlan(first_partial_ms=600, partial_every_ms=600)),
        ),
    ),
    Condition(
        "deaf Vapi", 1, agents=(AgentPlan(hearing=HearingPlan(num_words=3)), AgentPlan(hearing=HearingPlan(deaf=True)))
    ),
    Condition(
        "clumsy Vapi", 2,
        agents=(AgentPlan(jitter_ms=200), AgentPlan(jitter_ms=400), AgentPlan(ahead_ms=800), AgentPlan(ahead_ms=5000)),
    ),
    Condition("loudspeaker", 1, line=_loudspeaker),
    Condition("only listening", 1, sounds=nothing_but_listening),
)  # fmt: skip


def calls(many: int, seed: int, conditions: Sequence[Condition] = CONDITIONS) -> Iterator[tuple[Condition, CallPlan]]:
    """About so many calls, the conditions by their shares, all of them from the start."""
    order = [condition for condition in conditions for _ in range(condition.share)]
    Random(seed).shuffle(order)  # noqa: S311
    for number in range(many):
        condition = order[number % len(order)]
        yield condition, condition.call(number, seed)


# --- the corpus, as sounds of a world --------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def true_sounds() -> tuple[Sound, ...]:
    return tuple(_sound(one) for one in corpus.of_kind(*corpus.TRUE))


@lru_cache(maxsize=1)
def false_sounds() -> tuple[Sound, ...]:
    """Backchannels and noises of every kind."""
    return tuple(_sound(one) for one in corpus.of_kind("backchannel", *corpus.NOISE_KINDS))


def _sound(one: corpus.Sound) -> Sound:
    kind = "speech" if one.kind in corpus.TRUE else one.kind
    onset_ms = one.voiced_ms if kind == "speech" else one.onset_ms  # DESIGN §4: the first voiced, not the first audible
    return Sound(one.name, one.mulaw, onset_ms, kind, one.text)


@lru_cache(maxsize=512)
def levelled(sound: Sound) -> Sound:
    """What is said, at one loudness for all: then a background has one distance to it. Noises stay as they are."""
    if not sound.text:
        return sound
    by_db = _db(USUAL_LEVEL / max(1.0, corpus.level_of([LINEAR[code] for code in sound.mulaw])))
    louder = corpus.louder(corpus.Sound(sound.name, sound.mulaw, sound.onset_ms, "speech"), by_db)
    return replace(sound, mulaw=louder.mulaw)


@lru_cache(maxsize=64)
def background_at(name: str, snr_db: float) -> bytes:
    """A background so far under the usual level of speech."""
    return corpus.louder(corpus.backgrounds()[name], _db(USUAL_LEVEL / BACKGROUND_LEVEL) - snr_db).mulaw


def _db(factor: float) -> float:
    return 20 * math.log10(factor)
