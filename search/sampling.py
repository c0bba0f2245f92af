"""Which point of the space to try next. The answer depends on the seed, the trial's number and the results of
earlier trials only, so that a search that was stopped, killed or run by several workers asks for the same."""
