"""Every architecture, one file each. Importing this package imports, and so registers, all of them."""

import importlib
import pkgutil

for _module in pkgutil.walk_packages(__path__, prefix=f"{__name__}."):
    importlib.import_module(_module.name)
