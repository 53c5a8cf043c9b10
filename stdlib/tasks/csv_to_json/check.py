"""Judges csv_to_json: one object a row, in order, under the header's names. Numbers may be text."""

import csv
import json
import os
import sys

params_path, before, workspace = sys.argv[1:]
with open(params_path) as file:
    params = json.load(file)
with open(os.path.join(before, params["file"]), newline="") as file:
    wanted = list(csv.DictReader(file))


def found():
    """The array that was written, or nothing when there is none."""
    path = os.path.join(workspace, params["out"])
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            rows = json.load(file)
    except (ValueError, RecursionError):
        return None
    return rows if isinstance(rows, list) else None


def same(row, want):
    """Whether an object has the row's cells, each as text or as the number that the text is."""
    if not isinstance(row, dict) or set(row) != set(want):
        return False
    return all(not isinstance(row[key], bool) and str(row[key]) == want[key] for key in want)


rows = found()
checks = {
    "a JSON array": rows is not None,
    "one object a row": rows is not None and len(rows) == len(wanted),
    "every cell is right": rows is not None
    and len(rows) == len(wanted)
    and all(same(row, want) for row, want in zip(rows, wanted)),
}
with os.fdopen(3, "w") as report:
    json.dump(checks, report)
