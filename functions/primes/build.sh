#!/bin/sh
# Builds bootstrap, linked statically; does nothing when it is newer than its sources.
set -eu

# Its own copy of the library, or the one of the Hearth that it lies in.
library=HearthFunction
[ -d "$library" ] || library=../../Sources/HearthFunction
object=.build/HearthFunction.o

stale() { [ ! -e "$1" ] || [ -n "$(find "$2" -name '*.swift' -newer "$1")" ]; }

if ! stale bootstrap . && ! stale bootstrap "$library"; then exit 0; fi
if ! command -v swiftc >/dev/null; then
    echo "swiftc is not on PATH: install Swift 6.2 or later from swift.org" >&2
    exit 1
fi
mkdir -p .build
if stale "$object" "$library"; then
    swiftc -O -wmo -parse-as-library -module-name HearthFunction -emit-module -emit-module-path .build/HearthFunction.swiftmodule \
        -emit-object -o "$object" "$library"/*.swift
fi
swiftc -O -wmo -swift-version 6 -module-name function -I .build -static-executable -use-ld=lld -Xlinker -s \
    *.swift "$object" -o ".build/bootstrap.$$"
mv ".build/bootstrap.$$" bootstrap
