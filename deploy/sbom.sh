#!/bin/sh
# Prints the bill of materials (CycloneDX) of what is shipped: run `npm run --silent sbom > postern.cdx.json`.
# The development packages are taken out of a copy of the lock file first, because `npm sbom --omit=dev` also leaves out
# run-time packages that a development package needs as well.
set -eu
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp package.json package-lock.json "$copy"
cd "$copy"
npm pkg delete devDependencies scripts >/dev/null
npm install --package-lock-only --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
npm sbom --sbom-format=cyclonedx --sbom-type=application --package-lock-only --loglevel=error
