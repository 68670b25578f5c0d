"""Where each downloaded RPM lies in its repository, from the metadata that yum has cached.

Standard input: file names, one a line. Argument: the folder below which the cache lies. Output, one line
for each match: cache folder, checksum type, checksum, path below the repository, separated by tabs. The
caller matches by checksum. Runs on Python 2.7 (EL7: yum keeps SQLite) and 3 (dnf keeps XML).
"""

import bz2
import gzip
import os
import sqlite3
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

COMMON = '{http://linux.duke.edu/metadata/common}'


def from_xml(stream):
    for _, element in ElementTree.iterparse(stream):
        if element.tag != COMMON + 'package':
            continue
        checksum = element.find(COMMON + 'checksum')
        location = element.find(COMMON + 'location')
        yield checksum.get('type'), checksum.text, location.get('href')
        element.clear()


def from_sqlite(file):
    connection = sqlite3.connect(file)
    for row in connection.execute('select checksum_type, pkgId, location_href from packages'):
        yield row
    connection.close()


def from_packed_sqlite(file):
    packed = bz2.BZ2File(file)
    with tempfile.NamedTemporaryFile() as plain:
        for chunk in iter(lambda: packed.read(1 << 20), b''):
            plain.write(chunk)
        plain.flush()
        for row in from_sqlite(plain.name):
            yield row


def read(file):
    if file.endswith('.sqlite'):
        return from_sqlite(file)
    if file.endswith('.sqlite.bz2'):
        return from_packed_sqlite(file)
    if file.endswith('.xml.gz'):
        return from_xml(gzip.open(file))
    if file.endswith('.xml'):
        return from_xml(open(file, 'rb'))
    return ()


def main():
    wanted = set(line.rstrip('\n') for line in sys.stdin)
    for folder, _, names in os.walk(sys.argv[1]):
        for name in names:
            if 'primary' not in name:
                continue
            # CACHE/ID/gen/primary_db.sqlite, CACHE/ID/…primary.sqlite.bz2, CACHE/ID-HASH/repodata/…primary.xml.gz
            parts = [part for part in folder.split('/') if part not in ('gen', 'repodata')]
            for kind, checksum, path in read(os.path.join(folder, name)):
                if os.path.basename(path) in wanted:
                    sys.stdout.write('\t'.join((parts[-1], kind, checksum, path)) + '\n')


main()
