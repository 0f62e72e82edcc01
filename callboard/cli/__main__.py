"""`python -m callboard.cli` is the `callboard` command."""

from callboard.cli.main import main

if __name__ == "__main__":
    main()
