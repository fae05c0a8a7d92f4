"""Calls that the service makes: the book that counts them (`book`), and who dials them (`dialler`)."""

from actors.outbound.book import DialBook, KeyTaken, TooMany
from actors.outbound.dialler import Dialler, NotDialled
from actors.outbound.dials import Dial, Wanted

__all__ = ["Dial", "DialBook", "Dialler", "KeyTaken", "NotDialled", "TooMany", "Wanted"]
