#!/bin/sh
# Fills fuzz/corpus/ with the programs of this repository: what every target starts from.
set -eu
cd "$(dirname "$0")/.."
for target in check format; do
  mkdir -p "fuzz/corpus/$target"
  for file in stdlib/*.claw pipelines/*.claw examples/*.claw tests/corpus/*.claw; do
    cp "$file" "fuzz/corpus/$target/$(echo "$file" | tr / -)"
  done
  # The examples in the pages of errors, one file each.
  awk -v folder="fuzz/corpus/$target" '
    /^```claw/ { name = sprintf("%s/page-%03d.claw", folder, ++count); inside = 1; next }
    /^```/     { if (inside) close(name); inside = 0 }
    inside     { print > name }
  ' docs/errors/*.md
done
mkdir -p fuzz/corpus/given
number=0
for text in '3' '1 + 2' '20%' '512MiB' '2m' '$2.50' '[1, 2]' '{ a: 1, b: ["x"] }' 'fast' '"x{1}"' \
  'model("m", temperature: 1)' 'sandbox("process", memory: 1GiB)' 'file("prompts/x.md")' 'null'; do
  number=$((number + 1))
  printf '%s' "$text" > "fuzz/corpus/given/value-$number"
done
