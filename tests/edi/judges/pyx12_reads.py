"""Reads X12 files with pyx12, as pydifact_reads.py does. Where pyx12 has a map of the transaction set it judges by that too."""

import io
import json
import logging
import sys

import pyx12.params
import pyx12.x12file
import pyx12.x12n_document
from pyx12.errors import EngineError

logging.disable(logging.CRITICAL)


def errors(found):
    """Every error in what pyx12 writes as JSON, wherever it stands."""
    if isinstance(found, dict):
        if "err_cde" in found or "code" in found and "message" in found:
            yield json.dumps(found)
        else:
            for value in found.values():
                yield from errors(value)
    elif isinstance(found, list):
        for value in found:
            yield from errors(value)


def judged(text):
    """What pyx12 says by its maps, and the acknowledgment it answers; None where it has no map."""
    said, answer = io.StringIO(), io.StringIO()
    try:
        good = pyx12.x12n_document.x12n_document(pyx12.params.params(), io.StringIO(text), answer, None, fd_json=said)
    except EngineError as error:
        if "Map not found" in str(error):
            return None, ""
        raise
    complaints = [] if good else list(errors(json.loads(said.getvalue()))) or [said.getvalue()]
    return complaints, answer.getvalue()


def read(path, encoding):
    segments, complaints, answer, mapped = [], [], "", False
    with open(path, "rb") as file:
        text = file.read().decode(encoding, "replace")
    try:
        reader = pyx12.x12file.X12Reader(io.StringIO(text, newline=""))
        term = reader.get_term()
        for segment in reader:
            parts = segment.format("", "\x1d", term[2]).split("\x1d")
            segments.append([parts[0], parts[1:]])
            complaints += [" ".join(map(str, error)) for error in reader.pop_errors()]
        reader.cleanup()
        complaints += [" ".join(map(str, error)) for error in reader.pop_errors()]
        found, answer = judged(text)
        mapped = found is not None
        complaints += found or []
    except Exception as error:
        complaints.append(f"{type(error).__name__}: {error}")
    return {"segments": segments, "complaints": complaints, "mapped": mapped, "answer": answer}


for line in sys.stdin:
    print(json.dumps(read(*line.rstrip("\n").split("\t"))), flush=True)
