"""The bugs that are kept here: what users of other stacks suffered, how to have it back, and what finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pytest import MonkeyPatch

from tests.engine import test_stories as told
from tests.engine.wire import test_signatures as signed
from tests.museum import patches as bug
from tests.museum import scenarios as scene
from tests.stories import test_field_bugs as barge_in
from tests.stories import test_field_bugs_false_alarms as alarms
from tests.stories import test_field_bugs_records as records
from tests.stories import test_field_bugs_silence as silence


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One bug.

    Args:
        number: its place in reference/field-bugs.md.
        complaint: what the user said, in our words.
        patch: puts it back.
        scene: passes without it and fails with it.
        engine, actors: so many seeds of the storm on that level are enough to find it too; 0: it does not.
        slow: the scene takes long.
    """

    number: str
    complaint: str
    patch: Callable[[MonkeyPatch], None]
    scene: Callable[[], None]
    engine: int = 0
    actors: int = 0
    slow: bool = False

    @property
    def name(self) -> str:
        return self.patch.__name__

    @property
    def found_by(self) -> str:
        """The scene's place."""
        function = self.scene.func if isinstance(self.scene, partial) else self.scene
        return f"{function.__module__.replace('.', '/')}.py::{function.__name__}"


EXHIBITS = (
    Exhibit(
        "2.1 no. 1", "cannot interrupt on the phone", bug.clear_is_never_sent,
        barge_in.test_the_caller_cannot_interrupt_on_the_phone, actors=10,
    ),
    Exhibit(
        "2.1 no. 4", "the phone plays on once the model has finished", bug.a_finished_speech_is_not_held,
        barge_in.test_the_agent_plays_on_because_it_has_finished_generating, actors=10,
    ),
    Exhibit(
        "2.1 no. 9", "the uninterruptible greeting is interrupted", bug.nothing_is_protected,
        barge_in.test_the_uninterruptible_greeting_is_interrupted_on_the_phone, engine=100, actors=20,
    ),
    Exhibit(
        "2.2 no. 11", "after a false alarm the agent just stops", bug.what_was_taken_back_is_forgotten,
        partial(alarms.test_after_a_cough_the_agent_just_stops, 140, 60_000), actors=100,
    ),
    Exhibit(
        "2.2 no. 12", "a cough before the answer, and it never comes", bug.nobody_reminds_the_agent,
        partial(alarms.test_after_a_cough_before_the_answer_it_never_comes, 150), engine=200, actors=400,
    ),
    Exhibit(
        "2.2 no. 13", "it falls silent at every uh-huh", bug.every_word_interrupts,
        partial(alarms.test_the_agent_falls_silent_at_every_uh_huh, "uh-huh"), engine=10, actors=10,
    ),
    Exhibit(
        "2.2 no. 14", "deaf after one turn without interruptions", bug.a_protection_that_lasts,
        alarms.test_the_agent_is_deaf_after_a_turn_that_may_not_be_interrupted, engine=20, actors=20,
    ),
    Exhibit(
        "2.2 no. 15", "on a speakerphone the bot interrupts itself", bug.an_echo_is_a_caller,
        alarms.test_the_agent_interrupts_itself_on_a_speakerphone, slow=True,
    ),
    Exhibit(
        "2.3 no. 27", "globals leak from one call to the next", bug.words_are_shared_between_calls,
        scene.nothing_of_one_call_is_in_the_next, actors=50,
    ),
    Exhibit(
        "2.3 no. 24", "memory grows with each call", bug.an_ended_call_stays_listed,
        scene.every_call_is_let_go, actors=10,
    ),
    Exhibit(
        "2.3 no. 23", "calls stuck at \"disconnecting\"", bug.the_line_is_never_given_back,
        silence.test_there_is_no_idle_ladder, actors=10,
    ),
    Exhibit(
        "2.4 no. 28", "the socket died silently: 66 s of dead air", bug.a_silent_agent_is_waited_for,
        silence.test_the_socket_dies_silently_in_the_middle_of_a_sentence, engine=10, actors=50,
    ),
    Exhibit(
        "2.4 no. 29", "speech recognition has no time-out", bug.nobody_asks_what_was_said,
        silence.test_the_recogniser_says_nothing_and_nobody_notices, engine=1000, actors=200,
    ),
    Exhibit(
        "2.4 no. 32", "no fillers while the model thinks", bug.no_fillers,
        silence.test_there_is_no_silence_manager, engine=10, actors=20,
    ),
    Exhibit(
        "2.4 no. 33", "no idle ladder", bug.no_prompts, silence.test_there_is_no_idle_ladder, engine=10, actors=10,
    ),
    Exhibit(
        "2.4 no. 35", "both sides wait for each other", bug.nobody_begins,
        silence.test_both_sides_wait_for_each_other, engine=2500, actors=50,
    ),
    Exhibit(
        "2.5 no. 37", "the reservation is made twice", bug.each_webhook_is_a_new_ask,
        scene.a_booking_is_made_once, actors=50,
    ),
    Exhibit(
        "2.5 no. 39", "a tool of a discarded turn still ran", bug.a_cut_turn_does_its_work,
        scene.a_tool_of_a_turn_that_was_cut_never_begins, actors=100,
    ),
    Exhibit(
        "2.5 no. 38", "an interrupted tool stays \"in progress\"", bug.an_interrupted_tool_stays_in_progress,
        scene.a_tool_that_was_interrupted_as_it_began_does_not_stay_in_progress, engine=50,
    ),
    Exhibit(
        "2.5 no. 44", "cutting into the goodbye does not cancel the hang-up", bug.the_goodbye_cannot_be_called_off,
        told.test_a_line_of_ours_is_cut_off, engine=5000,
    ),
    Exhibit(
        "2.6 no. 45", "interrupted text is kept whole", bug.an_interrupted_speech_counts_as_heard,
        partial(records.test_what_was_interrupted_is_kept_whole_or_dropped_whole, 1500, 0), actors=200,
    ),
    Exhibit(
        "2.6 no. 47", "the recording does not match the call", bug.the_recorder_is_not_told_of_clear,
        partial(records.test_one_side_of_the_recording_is_shorter_and_its_pauses_differ, 1), actors=100,
    ),
    Exhibit(
        "2.7 no. 50", "a draining worker kills all calls when the first ends", bug.the_first_end_ends_the_drain,
        scene.a_deploy_waits_for_every_call, actors=10,
    ),
    Exhibit(
        "2.7 no. 55", "a connection that failed is waited for for ever", bug.connecting_goes_on_for_ever,
        told.test_vapi_never_comes, engine=100,
    ),
    Exhibit(
        "2.8 no. 58", "the signature fails behind a proxy", bug.the_port_is_part_of_the_address,
        scene.a_signature_holds_behind_a_proxy,
    ),
    Exhibit(
        "2.8 no. 59", "validation is switched off to get started", bug.no_secret_no_check,
        signed.test_nothing_configured_refuses_everything,
    ),
    Exhibit(
        "2.9 no. 62", "keys are dropped as invalid", bug.keys_are_no_message_of_ours, scene.a_key_is_heard, actors=10,
    ),
    Exhibit(
        "2.9 no. 61", "a transfer is announced and never happens", bug.a_transfer_is_only_announced,
        told.test_twilio_never_comes_for_its_words, engine=10, actors=20,
    ),
    Exhibit(
        "2.10 no. 66", "tests that fail on a busy machine", bug.the_clock_is_the_machines,
        scene.the_same_call_twice_is_the_same_call, engine=10,
    ),
)  # fmt: skip
