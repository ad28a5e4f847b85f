"""The colours of classes and of splits: told apart by all eyes."""

from __future__ import annotations

from safelight.profiling.groups import Groups

# Of any two of these the distance in OKLab is at least 0.13, for normal sight and for the three
# kinds of colour blindness (Machado, Oliveira and Fernandes 2009); the first few are further apart.
CLASS_COLOURS = (
    *("#3c69d2", "#f0d23c", "#b43c00", "#2df0f0", "#f07800"),
    *("#c387ff", "#782d4b", "#2dc3a5", "#a56987", "#2d3c96"),
)
OTHERS = "#8d857c"  # of the classes beyond, together


def coloured(groups: Groups) -> list[tuple[int, str, str]]:
    """(row, name, colour) of the shown classes that have a colour of their own, the largest ones.

    All of them where there are colours for all, and otherwise one colour less, which is left for
    OTHERS. None of a single class.
    """
    if groups.there < 2:
        return []
    most = len(CLASS_COLOURS)
    if groups.there > most:
        most -= 1
    sizes = groups.counts.sum(1)
    largest = sorted(groups.shown, key=lambda row: (-sizes[row], row))[:most]
    return [(row, groups.classes[row], CLASS_COLOURS[i]) for i, row in enumerate(sorted(largest))]
