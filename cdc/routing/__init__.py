"""Pure: a row's topic, key and partition. No I/O, and no knowledge of servers or envelopes.

`router.RuleRouter` is the port `cdc.model.Router`; the rest are its parts: `layouts`
(which column plays which role), `globs`, `templates`, `keys`, `names` (topics a row may
never address), `partitioner` (Java's murmur2), `plans` (what is decided before the first row) and
`explain` (why a row goes where it goes, in sentences). Envelopes are handed in as values that
fulfil `rules.Envelope`: the two rooms do not know each other.
"""
