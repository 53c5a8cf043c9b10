"""Judges fill_template: a point for each gap, and one for the letter as a whole."""

import json
import os
import sys

params_path, before, workspace = sys.argv[1:]
with open(params_path) as file:
    params = json.load(file)
with open(os.path.join(before, params["file"])) as file:
    template = file.read()

path = os.path.join(workspace, params["out"])
text = ""
if os.path.isfile(path) and not os.path.islink(path):
    with open(path, errors="replace") as file:
        text = file.read(1 << 20)


def filled(mark, word):
    """Whether the gap's own line reads as it should."""
    wanted = [line.replace(mark, word) for line in template.splitlines() if mark in line]
    return all(line in text.splitlines() for line in wanted)


whole = template
for gap in ("first", "second"):
    whole = whole.replace(params[gap], params[gap + "_word"])
checks = {
    "the first gap is filled": filled(params["first"], params["first_word"]),
    "the second gap is filled": filled(params["second"], params["second_word"]),
    "the letter is right from top to bottom": text.split() == whole.split(),
}
with os.fdopen(3, "w") as report:
    json.dump(checks, report)
