"""Words that decide by themselves whether the caller cuts in: "stop" does, "uh-huh" does not. Pure.

A phrase is compared as it sounds: without case, punctuation, apostrophes and accents, hums and long vowels levelled.
The lists are our own. What a caller says alone while the agent talks on is meant here: "okay stop" holds both kinds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import lru_cache
from itertools import chain

from engine.agent import Phrases

Words = tuple[str, ...]
Spellings = tuple[str, ...]

_ALWAYS = {
    "en": """stop, stop it, stop talking, stop there, wait, wait a minute, wait a second, hold on, hold it, hang on,
        one moment, just a moment, one second, just a second, just a minute, excuse me, pardon me, no, nope, nah,
        never mind, nevermind, forget it, cancel, cancel that, enough, that's enough, shut up, be quiet, quiet, hush,
        silence, pause, actually, listen, let me speak, let me talk, let me finish, can I say something,
        I have a question, that's wrong, that's not right, that's not what I meant, help, help me, emergency""",
    "de": """stopp, stop, halt, warte, warten Sie, warte mal, Moment, Moment mal, einen Moment, Augenblick,
        einen Augenblick, Sekunde, eine Sekunde, nein, nee, nö, hör auf, hören Sie auf, aufhören, Entschuldigung,
        entschuldigen Sie, es reicht, das reicht, genug, Ruhe, sei still, seien Sie still, vergiss es,
        vergessen Sie es, abbrechen, lass mich ausreden, lassen Sie mich ausreden, ich habe eine Frage, falsch,
        das stimmt nicht, Hilfe, Notfall""",
    "fr": """stop, arrête, arrêtez, attends, attendez, une minute, un instant, un moment, une seconde, non,
        excusez-moi, excuse-moi, pardon, ça suffit, assez, silence, tais-toi, taisez-vous, laissez-moi parler,
        laisse-moi parler, laissez-moi finir, laissez tomber, laisse tomber, annulez, annule, j'ai une question,
        c'est faux, ce n'est pas ça, au secours, urgence""",
    "es": """alto, basta, ya basta, espera, espere, espérate, espérese, un momento, un segundo, un minuto, no,
        perdón, perdona, perdone, disculpa, disculpe, silencio, cállate, cállese, deténgase, pare, déjame hablar,
        déjeme hablar, tengo una pregunta, cancela, cancele, cancelar, olvídalo, olvídelo, está mal, eso no, stop,
        ayuda, socorro, emergencia""",
    "it": """basta, stop, alt, fermati, si fermi, aspetta, aspetti, un attimo, un momento, un secondo, un minuto, no,
        scusa, scusi, mi scusi, silenzio, zitto, stia zitto, lasciami parlare, mi lasci parlare, ho una domanda,
        annulla, annulli, lascia stare, lasci stare, sbagliato, non è vero, non è giusto, aiuto, emergenza""",
    "nl": """stop, stoppen, ho, wacht, wacht even, wacht eens, momentje, een moment, één moment, ogenblik,
        een ogenblik, een seconde, nee, hou op, houd op, pardon, sorry, neem me niet kwalijk, genoeg, stil, stilte,
        wees stil, laat me uitpraten, laat mij uitpraten, ik heb een vraag, annuleren, laat maar, fout, verkeerd,
        klopt niet, dat klopt niet, help, noodgeval""",
    "pt": """pare, pare aí, para aí, espera, espere, espera aí, espere um pouco, peraí, um momento, um minuto,
        um segundo, um instante, só um momento, não, desculpa, desculpe, com licença, chega, basta, silêncio,
        cala a boca, fique quieto, deixa eu falar, deixe-me falar, me deixa falar, tenho uma pergunta,
        tenho uma dúvida, cancela, cancele, cancelar, deixa pra lá, deixe para lá, errado, está errado, isso não,
        stop, ajuda, socorro, emergência""",
}
_NEVER = {
    "en": """uh-huh, uhhuh, uh, um, er, erm, mm-hm, mm-hmm, mhm, mm, hmm, huh, ah, aha, ah-ha, oh, ooh, wow, yeah, yea,
        yah, ya, yep, yup, yes, ok, o.k., okay, okey, okey-dokey, k, right, that's right, quite right, alright,
        all right, sure, sure thing, of course, I see, I understand, I know, I got it, got it, gotcha, got you,
        understood, makes sense, that makes sense, I hear you, I'm listening, I'm with you, I'm here, go on, go ahead,
        please go on, keep going, carry on, continue, please continue, exactly, absolutely, definitely, indeed,
        that's true, true, fair enough, good, very good, great, that's great, cool, nice, sounds good, really,
        interesting, no problem, no worries, no doubt, you bet""",
    "de": """ja, jaja, jap, jep, jo, jawohl, genau, richtig, stimmt, das stimmt, klar, alles klar, na klar, natürlich,
        sicher, sicherlich, gut, sehr gut, in Ordnung, ok, okay, verstehe, ich verstehe, verstanden, ach, ach so,
        achso, ach ja, aha, ah, oh, soso, mhm, mm-hm, hm, äh, ähm, exakt, eben, super, prima, toll, schön, passt,
        das passt, interessant, wirklich, echt, kein Problem, weiter, machen Sie weiter, mach weiter,
        sprechen Sie weiter, ich höre, ich höre zu, selbstverständlich""",
    "fr": """oui, ouais, mais oui, ben oui, bah oui, d'accord, ok, okay, bien, très bien, c'est bien, c'est ça,
        bien sûr, bien entendu, exact, exactement, tout à fait, je vois, je comprends, compris, j'ai compris,
        c'est compris, entendu, voilà, super, génial, c'est vrai, vrai, vraiment, ah, ah bon, oh, euh, hein, hum, mm,
        hmm, mhm, allez-y, vas-y, continuez, continue, pas de problème, pas de souci, ça marche, bon, absolument,
        effectivement, en effet, je vous écoute, je t'écoute, intéressant""",
    "es": """sí, claro, claro que sí, por supuesto, vale, de acuerdo, bien, muy bien, está bien, bueno, ok, okay,
        entiendo, ya entiendo, entendido, comprendo, ya veo, ya, ajá, ah, oh, eh, em, mm, hmm, mhm, exacto,
        exactamente, así es, eso es, genial, estupendo, qué bien, cierto, es cierto, es verdad, verdad, de verdad,
        siga, sigue, continúe, continúa, adelante, le escucho, te escucho, no hay problema, sin problema,
        no pasa nada, interesante""",
    "it": """sì, certo, certamente, va bene, va benissimo, bene, benissimo, molto bene, d'accordo, ok, okay, capisco,
        capito, ho capito, esatto, esattamente, giusto, ottimo, vero, è vero, davvero, proprio così, chiaro,
        è chiaro, ah, oh, eh, ehm, mm, hmm, mhm, già, eh già, ecco, vada avanti, vai avanti, continui, continua,
        prego, nessun problema, non c'è problema, naturalmente, la ascolto, ti ascolto, interessante""",
    "nl": """ja, jaja, ja hoor, jawel, jep, ok, oké, okay, okee, goed, heel goed, is goed, prima, klopt, dat klopt,
        precies, juist, inderdaad, zeker, natuurlijk, tuurlijk, uiteraard, begrepen, ik begrijp het, begrijp ik,
        ik snap het, snap ik, duidelijk, helder, ga door, gaat u door, ga verder, gaat u verder, ik luister, ah, aha,
        oh, o, ach, ach zo, eh, uh, hè, hm, mm, mhm, nou, echt, echt waar, mooi, leuk, fijn, super, top,
        geen probleem, komt goed, interessant""",
    "pt": """sim, claro, é claro, com certeza, certo, está certo, tá certo, tá bom, está bom, está bem, tudo bem, tá,
        bom, bem, muito bem, beleza, legal, ótimo, exato, exatamente, isso, isso mesmo, é isso, entendi, entendo,
        compreendo, percebo, percebi, estou a ver, pois, pois é, pois claro, ok, okay, de acordo, verdade,
        é verdade, a sério, ah, oh, aham, uhum, hã, hum, mm, hmm, mhm, continue, pode continuar, prossiga,
        vá em frente, estou ouvindo, sem problema, não tem problema, não há problema, não faz mal, interessante""",
}
LANGUAGES = tuple(_ALWAYS)

_SPELT_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "œ": "oe", "æ": "ae", "ø": "o"})
_ACCENTS = re.compile("[\u0300-\u036f]")
_APOSTROPHES = re.compile("['’‘ʼ`´]")
_BETWEEN = re.compile(r"[\W_]+")
_LONG = re.compile(r"([^\W\d_])\1{2,}")
_HUM = re.compile(r"\b(?=[hm]*m)[hm]{2,}\b")


class Kind(Enum):
    """What a text means by its words alone."""

    ALWAYS = "always"
    NEVER = "never"
    NEUTRAL = "neutral"
    UNFINISHED = "unfinished"  # a partial that may become a never-phrase: "got" of "got it"


def normalise(text: str) -> str:
    """Words as they sound, with one blank between: `"Mm-HMM, that’s rïght…"` is `"hm hm thats right"`.

    `ä` is `ae`: a recogniser writes either. Three equal letters are one ("nooo"); a hum of any spelling is "hm".
    """
    text = text.casefold()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).casefold().translate(_SPELT_OUT)
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))
    text = _BETWEEN.sub(" ", _APOSTROPHES.sub("", text)).strip()
    return _LONG.sub(r"\1", _HUM.sub("hm", text))


def holds(text: str, phrases: Iterable[str]) -> bool:
    """Whether one of these phrases is in a text, as whole words. All normalised."""
    padded = f" {text} "
    return any(f" {phrase} " in padded for phrase in phrases)


class PhraseBook:
    """An agent's phrases, ready for every partial transcript. The agent file's own lists win over the built-in ones.

    `always` and `never` are its phrases as written, lower case and without apostrophes, as Vapi's lists are (§11.2).
    """

    __slots__ = ("_by_first", "_prefixes", "always", "never")

    def __init__(self, always: Mapping[Words, Spellings], never: Mapping[Words, Spellings]) -> None:
        self.always, self.never = tuple(chain(*always.values())), tuple(chain(*never.values()))
        self._by_first: dict[str, list[tuple[Words, Kind]]] = {}
        for kind, phrases in ((Kind.NEVER, never), (Kind.ALWAYS, always)):
            for words in phrases:
                self._by_first.setdefault(words[0], []).append((words, kind))
        for candidates in self._by_first.values():
            candidates.sort(key=lambda one: (-len(one[0]), one[1] is Kind.NEVER))
        self._prefixes = frozenset(words[:size] for words in never for size in range(1, len(words)))

    @classmethod
    def of(cls, phrases: Phrases) -> PhraseBook:
        """The book of an agent; made once and kept.

        Raises:
            KeyError: a language without built-in lists (`callscope check` finds it first).
        """
        return _book(phrases)

    def kind(self, text: str, *, final: bool = True) -> Kind:
        """What a transcript means by its words alone.

        An always-phrase counts anywhere as whole words; a never-phrase only if the text is made of such phrases. Where
        two begin at one word the longer counts: "no problem" holds no "no".

        Args:
            final: only a text that may go on can be unfinished.
        """
        return self.kind_of_words(tuple(normalise(text).split()), final=final)

    def kind_of_words(self, words: Words, *, final: bool = True) -> Kind:
        """As `kind`, of words that are normalised."""
        at, all_never = 0, bool(words)
        while at < len(words):
            length, kind = self._at(words, at)
            if kind is Kind.ALWAYS:
                return kind
            if kind is Kind.NEUTRAL:
                if all_never and not final and words[at:] in self._prefixes:
                    return Kind.UNFINISHED
                all_never = False
            at += length
        return Kind.NEVER if all_never else Kind.NEUTRAL

    def _at(self, words: Words, at: int) -> tuple[int, Kind]:
        for phrase, kind in self._by_first.get(words[at], ()):
            if words[at : at + len(phrase)] == phrase:
                return len(phrase), kind
        return 1, Kind.NEUTRAL


@lru_cache(maxsize=64)
def _book(phrases: Phrases) -> PhraseBook:
    own_always, own_never = _by_words(phrases.always_interrupt), _by_words(phrases.never_interrupt)
    own_always_texts = [" ".join(words) for words in own_always]
    always: dict[Words, Spellings] = {}
    never: dict[Words, Spellings] = {}
    for language in phrases.languages:
        always |= _by_words(_ALWAYS[language].split(","))
        never |= _by_words(_NEVER[language].split(","))
    always = {words: spelt for words, spelt in always.items() if words not in own_never}
    never = {words: spelt for words, spelt in never.items() if not holds(" ".join(words), own_always_texts)}
    return PhraseBook(always | own_always, never | own_never)


def _by_words(phrases: Iterable[str]) -> dict[Words, Spellings]:
    """Phrases by how they sound; "mhm" and "mm-hmm" sound the same."""
    found: dict[Words, Spellings] = {}
    for phrase in phrases:
        words = tuple(normalise(phrase).split())
        if words:
            written = " ".join(_APOSTROPHES.sub("", phrase).lower().split())
            found[words] = (*found.get(words, ()), written)
    return found
