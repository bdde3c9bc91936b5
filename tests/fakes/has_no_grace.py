"""A signal to end breaks off what is under way."""

import os

from impls.orders import Orders
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROC-GRACE", "PROC-SIGINT-TWICE"}


def main() -> None:
    obey = Orders.obey

    def obey_at_once(orders: Orders) -> bool:
        if obey(orders):
            os._exit(0)
        return False

    replace(Orders, "obey", obey_at_once)
    run()


if __name__ == "__main__":
    main()
