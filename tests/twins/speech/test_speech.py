"""The twins' voice and ears: clear enough to be judged by, honest about what they do not know."""

from __future__ import annotations

import random
from array import array
from pathlib import Path

import pytest
import trio

from engine.audio import mulaw_to_pcm16, pcm16_to_mulaw, silence, stereo_pcm16
from engine.recording import wav_header
from engine.voice import Voice, VoiceDetector
from tests.stories.numbers import NUMBERS
from web.agents import example, load_agent
from web.twins.speech.ears import Ears, hear_now
from web.twins.speech.grammar import Grammar, fits, normal
from web.twins.speech.judge import agent_grammar, caller_grammar, texts, transcribe_channels
from web.twins.speech.vad import VoiceActivity, first_voiced_ms, rms, voiced_spans
from web.twins.speech.voice import speak, voices

BISTRO = load_agent(example()).agent
CALLER = caller_grammar(BISTRO)
SAID = [phrase for reply in BISTRO.twin.replies for phrase in reply.hear if "<" not in phrase]


def on_the_phone(mulaw: bytes, seed: int) -> bytes:
    """Somewhat louder or softer, with a little noise, and silence around it."""
    chance = random.Random(seed)
    gain = chance.uniform(0.6, 1.1)
    samples = array("h", mulaw_to_pcm16(mulaw))
    noisy = array("h", [max(-32000, min(32000, int(gain * one + chance.gauss(0, 60)))) for one in samples])
    return silence(chance.uniform(0, 300)) + pcm16_to_mulaw(noisy.tobytes()) + silence(chance.uniform(0, 300))


def test_the_voice_is_the_same_each_time_and_loud_enough() -> None:
    """Repeatable, trimmed, audible, in all its voices; errors name what there is."""
    one = speak("Eight works.", voice="en-GB")
    speak.cache_clear()
    assert speak("Eight works.", voice="en-GB") == one
    assert 500 < len(one) / 8 < 1200 and rms(one) > 500
    assert {"en-US", "en-GB"} <= set(voices())
    with pytest.raises(ValueError, match="there are en-"):
        speak("x", voice="klingon")
    with pytest.raises(ValueError, match="nothing to say"):
        speak("  ")


@pytest.mark.parametrize("phrase", SAID)
def test_what_the_caller_may_say_is_understood(phrase: str) -> None:
    """Clean, and three times with noise, gain and silence."""
    mulaw = speak(phrase, voice="en-GB")
    for seed in range(4):
        heard = hear_now(on_the_phone(mulaw, seed) if seed else mulaw, CALLER)
        assert heard.text == normal(phrase), f"seed {seed}"


def test_numbers_are_understood() -> None:
    """The story of fifty calls rests on this."""
    grammar = Grammar.of(f"My number is {number}" for number in NUMBERS)
    for number in NUMBERS[::7]:
        assert hear_now(speak(f"My number is {number}.", voice="en-GB"), grammar).text == f"my number is {number}"


def test_the_same_audio_is_always_heard_the_same() -> None:
    """What was heard before changes nothing."""
    eight, noise = speak("Eight works.", voice="en-GB"), on_the_phone(silence(2000), 3)
    first = hear_now(eight, CALLER)
    for other in (speak("Goodbye.", voice="en-US"), noise, b"", silence(500)):
        hear_now(other, CALLER)
        assert hear_now(eight, CALLER) == first


@pytest.mark.parametrize("mulaw", [b"", silence(50), silence(3000), on_the_phone(silence(1500), 1)])
def test_nothing_said_is_nothing_heard(mulaw: bytes) -> None:
    """Silence and noise are no sentence."""
    assert hear_now(mulaw, Grammar.of(["Eight works for me"])).text in ("", "eight")


def test_grammars() -> None:
    """Unknown words are named; digits stand in their slot."""
    with pytest.raises(ValueError, match="xyzzy"):
        Grammar.of(["say xyzzy please"])
    with pytest.raises(ValueError, match="at least one"):
        Grammar.of(["", "..."])
    assert fits("My number is <digits>", "my number is four two") == {"digits": "four two"}
    assert fits("My number is <digits>", "my number is") is None
    assert fits("Eight works.", "eight works") == {}


async def test_ears_survive_what_happens_to_them() -> None:
    """A killed worker is replaced, a cancelled request spoils nothing, and no process is left."""
    eight = speak("Eight works.", voice="en-GB")
    async with Ears() as ears:
        assert (await ears.hear(eight, CALLER)).text == "eight works"
        worker = ears._idle[0]
        worker.process.kill()
        assert (await ears.hear(eight, CALLER)).text == "eight works"
        with trio.move_on_after(0.001):
            await ears.hear(speak("Hello, I would like a table for two tonight please", voice="en-GB"), CALLER)
        assert (await ears.hear(eight, CALLER)).text == "eight works"
        last = ears._idle[0].process
    assert last.returncode is not None and worker.process.returncode is not None


@pytest.mark.parametrize("phrase", ["Eight works.", "Goodbye.", "Hello, I would like a table for two tonight please."])
def test_speech_is_noticed_within_sixty_milliseconds(phrase: str) -> None:
    """By the twin's ear, and by the engine's own: from the first voiced frame."""
    mulaw = silence(500) + speak(phrase, voice="en-GB") + silence(500)
    onset_ms = first_voiced_ms(mulaw)
    assert onset_ms is not None and 480 <= onset_ms <= 620
    frames = [mulaw[at : at + 160] for at in range(0, len(mulaw) - 159, 160)]
    activity, detector = VoiceActivity(), VoiceDetector()
    twin = next(index for index, frame in enumerate(frames) if activity.feed(frame))
    engine = next(index for index, frame in enumerate(frames) if detector.feed(frame) is Voice.STARTED)
    for index in (twin, engine):
        assert (index + 1) * 20 - onset_ms <= 60


async def test_a_recording_is_judged(tmp_path: Path) -> None:
    """Both channels, stretch by stretch, with the tool's words in the agent's sentence."""
    left = silence(300) + speak("Eight works.", voice="en-GB") + silence(4000)
    right = silence(1500) + speak("Good news, A table for two at eight is free, and I have noted it for you.")
    length = max(len(left), len(right))
    left, right = (channel + silence((length - len(channel)) / 8) for channel in (left, right))
    path = tmp_path / "call.wav"
    path.write_bytes(wav_header(length) + stereo_pcm16(left, right))
    async with Ears() as ears:
        grammar = agent_grammar(BISTRO, ["A table for two at eight is free"])
        found = await transcribe_channels(path, CALLER, grammar, ears)
    assert texts(found.caller) == "eight works" and len(voiced_spans(left)) == 1
    assert "a table for two at eight is free" in texts(found.agent)
