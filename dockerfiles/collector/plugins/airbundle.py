"""Writes down which packages yum is about to have in its download folder: one file name a line.

yum does not remove what lies there from before, so the folder itself does not tell. One file for both
plugin interfaces: yum 3.4.3 (EL7, Python 2.7) and dnf (where "yum" is dnf, Python 3).
"""

import os


def write(names):
    with open('/airbundle/chosen', 'w') as out:
        for name in names:
            out.write(name + '\n')


try:
    from yum.plugins import TYPE_CORE
except ImportError:
    import dnf

    class Airbundle(dnf.Plugin):
        name = 'airbundle'

        def resolved(self):
            write(os.path.basename(package.location) for package in self.base.transaction.install_set)

else:
    requires_api_version = '2.3'
    plugin_type = (TYPE_CORE,)

    def predownload_hook(conduit):
        write(os.path.basename(package.localPkg()) for package in conduit.getDownloadPackages())
