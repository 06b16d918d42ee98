"""How long tests wait for what comes at once where nothing else runs. Only a failure takes so long, so these are generous."""

import os

SLOW = float(os.environ.get('LXCRI_SLOW', '1'))  # this machine takes so many times longer
PATIENCE = 60  # seconds, times SLOW
