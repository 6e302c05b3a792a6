"""Everything a developer needs: ``python dev.py`` lists the commands.

Only this file has to run under an old Python, so that it can say what is wrong with it.
"""

import sys

NEEDED = (3, 11)  # annotations, even of functions, would be a syntax error in Python 2


def old_python(major, minor):
    # type: (int, int) -> str
    """Say what is wrong with a Python of this version; empty where nothing is."""
    if (major, minor) >= NEEDED:
        return ""
    return (
        "Could not run dev.py: found Python {0}.{1}, expected Python {2}.{3} or newer; "
        "run it with a newer one, e.g. `python{2}.{3} dev.py`."
    ).format(major, minor, *NEEDED)


def main():
    # type: () -> int
    """Check the Python, then hand over to devtools."""
    complaint = old_python(*sys.version_info[:2])
    if complaint:
        sys.stderr.write(complaint + "\n")
        return 1
    from devtools.launch import launch  # would not parse under an old Python

    return launch(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
