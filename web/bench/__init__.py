"""`callscope bench`: speed, shown against peers in one run, over real sockets. Never part of serving a call."""
