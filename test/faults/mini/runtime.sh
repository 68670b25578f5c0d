#!/bin/sh
# A stand-in for the bundle's runtime (the real one has 80 MB): Node 16 from a place where the test has put
# it. A fault that a test asks for is loaded here, since no variable of the environment comes this far.
# shellcheck source=/dev/null
[ ! -r /opt/faults/fault ] || . /opt/faults/fault
exec /opt/faults/node -r /opt/faults/compiled.js "$@"
