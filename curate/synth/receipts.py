"""What stands on a receipt: a shop, a few products with prices that add up, and their total."""

import random

from curate.synth.words import DAYS, PRODUCTS, SHOPS

WIDTH = 16  # characters of a line


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def rows(rng: random.Random) -> list[str]:
    """Return the lines: the shop, 1 to 4 products, and the total. Sometimes only the foot of the receipt."""
    products = rng.sample(PRODUCTS, rng.randint(1, 4))
    prices = [rng.randrange(50, 1500, 5) for _ in products]
    lines = [f"{p:<{WIDTH - 6}}{_money(c):>6}" for p, c in zip(products, prices, strict=True)]
    total = f"{'total':<{WIDTH - 6}}{_money(sum(prices)):>6}"
    if rng.random() < 0.2:
        return [lines[-1], total]
    head = [rng.choice(SHOPS)]
    if rng.random() < 0.3:
        head.append(f"{rng.choice(DAYS)} {rng.randint(8, 19)}:{rng.randint(10, 59)}")
    return [*head, *lines, total]
