"""`python -m safelight`, which torchrun needs."""

from safelight.cli import main

if __name__ == "__main__":
    main()
