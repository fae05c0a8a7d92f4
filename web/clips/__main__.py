"""`python -m web.clips --render`: speak the default lines anew into `lines/`, after they or the voice changed."""

from __future__ import annotations

import argparse

from engine.audio import duration_ms
from web.clips.shipped import rendered, ship

parser = argparse.ArgumentParser(prog="python -m web.clips", description="The lines that come with Callscope.")
parser.add_argument("--render", action="store_true", required=True, help="speak them anew into the package")
parser.parse_args()
clips = rendered()
ship(clips)
for text, mulaw in clips.items():
    print(f"{duration_ms(mulaw):6.0f} ms  {text}")
