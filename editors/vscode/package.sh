#!/bin/sh
# Builds the VS Code extension as one file.
#
#   editors/vscode/package.sh [OUT.vsix]        default: claw.vsix beside this script
#
# npm fetches the language client (node_modules is made in a temporary folder, so the checkout stays
# clean). Where npm cannot be had, the package is built without it: colours, no language server. Set
# CLAW_VSIX_WITHOUT_NPM=1 for that on purpose. The same files give the same bytes.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-"$here/claw.vsix"}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for file in package.json extension.js language-configuration.json README.md syntaxes; do
  cp -R "$here/$file" "$work/"
done

if [ "${CLAW_VSIX_WITHOUT_NPM:-}" = 1 ]; then
  echo "built without npm: colours, no language server" >&2
elif command -v npm >/dev/null 2>&1; then
  cp "$here/package-lock.json" "$work/"
  (cd "$work" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --silent)
  rm -rf "$work/node_modules/.bin" "$work/node_modules/.package-lock.json"
else
  echo "npm is not installed: the package will have colours, no language server" >&2
fi
rm -f "$work/package-lock.json"

python3 "$here/package.py" "$work" "$out"
