"""Of the addresses after ``-a`` only the first is listened on."""

from dataclasses import replace as changed

from impls import prefork
from impls.contract import Options
from impls.listeners import open_listeners
from tests.fakes._alter import replace, run

REJECTED_BY = {"LISTEN-SEVERAL", "CLI-LONG-NAMES"}


def main() -> None:
    def open_first(options: Options) -> object:
        return open_listeners(changed(options, addresses=options.addresses[:1]))

    replace(prefork, "open_listeners", open_first)
    run()


if __name__ == "__main__":
    main()
