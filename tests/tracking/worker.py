"""A worker of ``tests.streaming.worker`` that also finds the libraries of tracking services."""

import sys

from tests.streaming.worker import main
from tests.tracking.packages import PACKAGES

if __name__ == "__main__":
    sys.path.append(str(PACKAGES))
    main()
