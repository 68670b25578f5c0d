"""Writes down which packages yum is about to have in its download folder: one file name a line.

yum does not remove what lies there from before, so the folder itself does not tell. One file for both
plugin interfaces: yum 3.4.3 (EL7, Python 2.7) and dnf (where "yum" is dnf, Python 3).

All names or no file: collect.sh does without the list, but would believe half of one. A mistake in here
does not end yum; it is said on stderr, and collect.sh warns when the list is missing.
"""

import os
import sys

LIST = '/airbundle/chosen'


def write(packages, location):
    try:
        names = [os.path.basename(location(package)) for package in packages()]
        with open(LIST + '.new', 'w') as out:
            for name in names:
                out.write(name + '\n')
        os.rename(LIST + '.new', LIST)
    except Exception as error:
        sys.stderr.write('airbundle: plugin: %s: %s\n' % (type(error).__name__, error))


try:
    from yum.plugins import TYPE_CORE
except ImportError:
    import dnf

    class Airbundle(dnf.Plugin):
        name = 'airbundle'

        def resolved(self):
            write(lambda: self.base.transaction.install_set, lambda package: package.location)

else:
    # yum compares it with its own API (2.7 in 3.4.3): the major number must be the same, the minor not higher.
    requires_api_version = '2.3'
    plugin_type = (TYPE_CORE,)

    def predownload_hook(conduit):
        # localPkg() is a path below --downloaddir; its last part is the name in the repository.
        write(conduit.getDownloadPackages, lambda package: package.localPkg())
