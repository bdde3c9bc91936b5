"""Help leaves out a flag, and the version takes two lines."""

import argparse

from impls import flags
from tests.fakes._alter import replace, run

REJECTED_BY = {"CLI-HELP", "CLI-VERSION"}


def main() -> None:
    show, version = argparse.ArgumentParser.format_help, flags._Version.__call__

    def show_less(parser: argparse.ArgumentParser) -> str:
        return show(parser).replace("--grace", "")

    def show_version_twice(action: flags._Version, parser: argparse.ArgumentParser, *_: object) -> None:
        action.const = f"{action.const}\n{action.const}"
        version(action, parser)

    replace(argparse.ArgumentParser, "format_help", show_less)
    replace(flags._Version, "__call__", show_version_twice)
    run()


if __name__ == "__main__":
    main()
