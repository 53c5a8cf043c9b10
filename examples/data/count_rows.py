"""Counts the rows of a CSV file in which a column has a value; the arguments come as JSON."""
import csv
import json
import sys

asked = json.load(sys.stdin)
with open(asked["path"], newline="") as file:
    rows = list(csv.DictReader(file))
print(sum(row.get(asked["column"]) == asked["value"] for row in rows))
