"""The storm: random calls under random faults, laws checked after every step, and the smallest plan that breaks one.

Two levels. `engine_level` feeds facts straight into `engine.step`, a hundred thousand calls a minute; `actor_level`
lives calls on the real actors in `actors.world`, under seeded scheduling. One integer names a call on either.
"""
