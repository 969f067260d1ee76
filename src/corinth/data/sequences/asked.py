"""What every encoding of sequences is asked, whatever it takes."""

from typing import Any


class Asked:
    """The answers of an encoding that takes whatever there is and cuts nothing."""

    def check_data(self, data: Any) -> None:
        """Data that the network cannot take are a `DataError`."""

    def count_cut(self, data: Any) -> int:
        """How many sequences are longer than is kept, and lose their end."""
        return 0

    def network_options(self) -> dict[str, int]:
        """What the network's config must have for such inputs."""
        return {}
