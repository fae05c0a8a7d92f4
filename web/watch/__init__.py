"""`callscope watch`: live calls in the terminal. `sources` get them, `screens` draw them, `watching` joins the two."""
