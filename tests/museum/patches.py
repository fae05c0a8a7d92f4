"""Each puts one bug of the field back into Callscope. What it breaks is looked up by name, so a patch that no longer
finds its place fails loudly instead of proving nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from pytest import MonkeyPatch

from actors.bridge import Bridge
from actors.call_actor import CallActor
from actors.ended_call import EndedCall
from actors.supervisor import Supervisor
from actors.tool_runs import ToolRuns
from engine import call as calls
from engine import events as e
from engine import ledger, rules, turns
from engine.call import Call
from engine.echo import EchoGuard
from engine.errors import BadMessage
from engine.heard import AgentWords, Heard
from engine.phases import Phase
from engine.phrases import Kind, PhraseBook
from engine.playout import Playout
from engine.playout_moves import Move
from engine.recording import Ears
from engine.turns import Due
from engine.wire import signatures, twilio


def _rule(patch: MonkeyPatch, phase: Phase, event: type[e.Event], **other: Any) -> None:
    patch.setitem(rules.RULE_FOR, (phase, event), replace(rules.RULE_FOR[phase, event], **other))


def _never_due(patch: MonkeyPatch, *names: str) -> None:
    """Deadlines of these names are forgotten, in every phase."""
    for phase, waits in list(turns.WAITS_IN.items()):

        def without(call: Call, waits: Callable[[Call], Iterator[Due]] = waits) -> Iterator[Due]:
            return (due for due in waits(call) if type(due[1](0.0)).__name__ not in names)

        patch.setitem(turns.WAITS_IN, phase, without)


def _note(patch: MonkeyPatch, event: type[e.Event], note: Callable[[Call, Any], dict[str, Any]]) -> None:
    assert event in calls._NOTES
    patch.setitem(calls._NOTES, event, note)


# --- 2.1 barge-in ---------------------------------------------------------------------------------------------------


def clear_is_never_sent(patch: MonkeyPatch) -> None:
    """What Twilio has is left to play: a mark goes out where `clear` should."""
    patch.setattr(twilio.MediaWriter, "clear", lambda writer: writer.mark("instead"))


def a_finished_speech_is_not_held(patch: MonkeyPatch) -> None:
    """The way of an interruption ends early once the agent has finished generating."""
    hold, drop = Bridge.hold, Bridge.drop

    def held(bridge: Bridge) -> None:
        if not bridge._playout._closed:
            hold(bridge)

    def dropped(bridge: Bridge, reason: str, words: str = "", **more: Any) -> Heard | None:
        return None if bridge._playout._closed else drop(bridge, reason, words, **more)

    patch.setattr(Bridge, "hold", held)
    patch.setattr(Bridge, "drop", dropped)


def nothing_is_protected(patch: MonkeyPatch) -> None:
    """The greeting's protection is a setting of Vapi's alone."""
    patch.setattr(turns, "_is_protected", lambda call: False)


# --- 2.2 false interruptions ----------------------------------------------------------------------------------------


def what_was_taken_back_is_forgotten(patch: MonkeyPatch) -> None:
    """After a false alarm the gate opens, and what had been taken back from Twilio is gone."""
    let_speak = Playout.let_speak

    def forgetful(playout: Playout, now: float) -> list[Move]:
        playout._kept.clear()
        return let_speak(playout, now)

    patch.setattr(Playout, "let_speak", forgetful)


def nobody_reminds_the_agent(patch: MonkeyPatch) -> None:
    """Progress lines are said, and the agent who has forgotten its answer is never told that the caller waits."""
    patch.setattr(rules, "NUDGED_LINE", 10**6)


def every_word_interrupts(patch: MonkeyPatch) -> None:
    """There are no words that mean nothing."""
    kind = PhraseBook.kind_of_words

    def heeded(book: PhraseBook, words: tuple[str, ...], *, final: bool = True) -> Kind:
        found = kind(book, words, final=final)
        return Kind.NEUTRAL if found in (Kind.NEVER, Kind.UNFINISHED) else found

    patch.setattr(PhraseBook, "kind_of_words", heeded)


def a_protection_that_lasts(patch: MonkeyPatch) -> None:
    """Once a speech was protected, everything after it is."""
    is_protected = turns._is_protected
    seen: set[str] = set()

    def sticky(call: Call) -> bool:
        if is_protected(call):
            seen.add(call.call_id)
        return call.call_id in seen and call.phase is Phase.SPEAKING

    patch.setattr(turns, "_is_protected", sticky)


def an_echo_is_a_caller(patch: MonkeyPatch) -> None:
    """Nothing is learned of the way back from the loudspeaker."""
    patch.setattr(EchoGuard, "learn", lambda guard, said, heard: False)


# --- 2.3 many calls -------------------------------------------------------------------------------------------------


def words_are_shared_between_calls(patch: MonkeyPatch) -> None:
    """What the agent says is kept in one place for all calls of the process."""
    shared = AgentWords()
    init = Bridge.__init__

    def sharing(bridge: Bridge, **given: Any) -> None:
        init(bridge, **given)
        bridge._words = shared

    patch.setattr(Bridge, "__init__", sharing)


def an_ended_call_stays_listed(patch: MonkeyPatch) -> None:
    """A call that is over is never taken from those that live."""
    isolated = Supervisor._isolated

    async def keeping(supervisor: Supervisor, actor: CallActor) -> None:
        await isolated(supervisor, actor)
        supervisor._live[actor.arrival.call_sid] = actor

    patch.setattr(Supervisor, "_isolated", keeping)


def the_line_is_never_given_back(patch: MonkeyPatch) -> None:
    """The call is over for us and "disconnecting" for ever: nobody closes Twilio's stream."""
    patch.setattr(Bridge, "close_line", lambda bridge: None)


# --- 2.4 dead air ---------------------------------------------------------------------------------------------------


def a_silent_agent_is_waited_for(patch: MonkeyPatch) -> None:
    """No time-out on an agent that gives no sign of life."""
    _never_due(patch, "AgentStalled")


def nobody_asks_what_was_said(patch: MonkeyPatch) -> None:
    """A recogniser that tells nothing is not noticed."""
    _never_due(patch, "UnheardDue")
    _note(patch, e.CallerQuiet, lambda call, event: {"caller_voiced": False, "voice_at": event.at})


def no_fillers(patch: MonkeyPatch) -> None:
    """While the agent thinks, the caller hears nothing."""
    _never_due(patch, "FillerDue", "ProgressDue")


def no_prompts(patch: MonkeyPatch) -> None:
    """A caller who is silent is left in silence."""
    _never_due(patch, "IdlePromptDue", "GoodbyeDue", "IdlePassed")


def nobody_begins(patch: MonkeyPatch) -> None:
    """Nobody minds that the agent, who should open the conversation, says nothing."""
    _note(patch, e.BothLegsUp, lambda call, event: calls._line_up(call, event) | calls._agent_up(call, event))


# --- 2.5 tools ------------------------------------------------------------------------------------------------------


def each_webhook_is_a_new_ask(patch: MonkeyPatch) -> None:
    """A copy of a webhook is taken for another ask."""
    ask = ToolRuns._ask
    numbers = iter(range(10**6))

    def forgetful(runs: ToolRuns, asked: Any) -> Any:
        runs._runs.pop(asked.id, None)
        runs._same.forget()
        return ask(runs, replace(asked, id=f"{asked.id}-{next(numbers)}"))

    patch.setattr(ToolRuns, "_ask", forgetful)


def a_cut_turn_does_its_work(patch: MonkeyPatch) -> None:
    """What the model asked for is done, whatever the caller said meanwhile."""
    patch.setattr(ledger, "ruling", lambda call, effect, asked_at, **more: ledger.Ruling.RUN)


def an_interrupted_tool_stays_in_progress(patch: MonkeyPatch) -> None:
    """A tool that answers while the caller cuts in is never taken from the list."""
    done = calls._tool_done

    def kept(call: Call, event: Any) -> dict[str, Any]:
        return {"active_at": event.at} if call.phase is Phase.INTERRUPTED else done(call, event)

    _note(patch, e.ToolAnswered, kept)
    _note(patch, e.LastToolAnswered, kept)


def the_goodbye_cannot_be_called_off(patch: MonkeyPatch) -> None:
    """Cutting into the goodbye silences it, and the line is closed all the same."""
    patch.setattr(calls, "_stays", lambda call: {})


# --- 2.6 memory and recordings --------------------------------------------------------------------------------------


def an_interrupted_speech_counts_as_heard(patch: MonkeyPatch) -> None:
    """The record has all that was generated."""
    cut = AgentWords.cut

    def whole(words: AgentWords, heard_ms: float, of_ms: float, utterance: int | None = None) -> Heard:
        found = cut(words, heard_ms, of_ms, utterance)
        return Heard(found.generated, found.generated, cut=False)

    patch.setattr(AgentWords, "cut", whole)


def the_recorder_is_not_told_of_clear(patch: MonkeyPatch) -> None:
    """What was taken back from Twilio stands in the recording as if it had been heard."""
    patch.setattr(Ears, "cleared", lambda ears: None)


# --- 2.7 deploys ----------------------------------------------------------------------------------------------------


def the_first_end_ends_the_drain(patch: MonkeyPatch) -> None:
    """A draining process takes the first call that ends for the last."""
    remember = Supervisor._remember

    def hasty(supervisor: Supervisor, ended: EndedCall) -> None:
        remember(supervisor, ended)
        supervisor._empty.set()

    patch.setattr(Supervisor, "_remember", hasty)


def connecting_goes_on_for_ever(patch: MonkeyPatch) -> None:
    """An agent that never comes is waited for until the call's longest time is over."""
    _never_due(patch, "AgentOverdue")


# --- 2.8 signatures -------------------------------------------------------------------------------------------------


def the_port_is_part_of_the_address(patch: MonkeyPatch) -> None:
    """The signed address is taken letter by letter, with its port or without."""
    patch.setattr(signatures, "_spellings", lambda url: [url])


def no_secret_no_check(patch: MonkeyPatch) -> None:
    """Nothing is configured, so everything is let in."""
    check = signatures.VapiAuth.check

    def open_door(auth: signatures.VapiAuth, headers: Any, body: bytes, now_s: float) -> None:
        if auth._shared_secret or auth._bearer_token or auth._plan:
            check(auth, headers, body, now_s)

    patch.setattr(signatures.VapiAuth, "check", open_door)


# --- 2.9 keys and transfers -----------------------------------------------------------------------------------------


def keys_are_no_message_of_ours(patch: MonkeyPatch) -> None:
    """A `dtmf` message is refused as one that the wire does not allow."""
    read = twilio._read_control

    def refusing(message: Any) -> twilio.MediaMessage:
        if message.event == "dtmf":
            raise BadMessage("no such message")
        return read(message)

    patch.setattr(twilio, "_read_control", refusing)


def a_transfer_is_only_announced(patch: MonkeyPatch) -> None:
    """Twilio did not come for its TwiML, and nobody looks after it."""
    _rule(patch, Phase.TRANSFERRING, e.HandOverOverdue, then=rules.nothing)


# --- 2.10 tests -----------------------------------------------------------------------------------------------------


def the_clock_is_the_machines(patch: MonkeyPatch) -> None:
    """Somewhere a moment is taken from the machine instead of from the fact."""
    voice = calls._NOTES[e.CallerQuiet]

    def hurried(call: Call, event: Any) -> dict[str, Any]:
        return voice(call, event) | {"voice_at": event.at + time.perf_counter() % 0.01}

    _note(patch, e.CallerQuiet, hurried)
