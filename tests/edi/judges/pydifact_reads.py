"""Reads EDIFACT files with pydifact: a file a line in (path, tab, encoding), what it saw of each as a line of JSON out."""

import json
import sys
import warnings

from pydifact.exceptions import MissingImplementationWarning
from pydifact.parser import Parser
from pydifact.segmentcollection import Interchange


def read(path, encoding):
    segments, complaints = [], []
    with open(path, "rb") as file:
        text = file.read().decode(encoding, "replace")
    try:
        for segment in Parser().parse(text):
            segments.append(segment)
        interchange = Interchange.from_segments(segments)
        stated = [segment for segment in segments if segment.tag == "UNT"]
        messages = list(interchange.get_messages())
        for message, end in zip(messages, stated, strict=True):
            # What pydifact itself would end this message with.
            if message.get_footer_segment().elements != end.elements:
                complaints.append(f"UNT is {end.elements}, not {message.get_footer_segment().elements}")
        interchange.validate()
    except Exception as error:
        complaints.append(f"{type(error).__name__}: {error}")
    shown = [[segment.tag, segment.elements] for segment in segments if segment.tag != "UNA"]
    return {"segments": shown, "complaints": complaints}


for line in sys.stdin:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        # It ships no tables to validate by.
        warnings.simplefilter("ignore", MissingImplementationWarning)
        found = read(*line.rstrip("\n").split("\t"))
        found["complaints"] += [str(warning.message) for warning in warned]
    print(json.dumps(found), flush=True)
