"""Numbers as people read them."""


def format_size(size: int | None) -> str:
    """A number of bytes for a person: 1,234 becomes "1.2 kB"."""
    value = float(size or 0)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
