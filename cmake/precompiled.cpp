// Has nothing of its own: a target of precompiled headers needs a source.
