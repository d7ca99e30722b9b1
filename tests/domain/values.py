"""Small catalog values for domain tests."""

from gateway.domain.catalog import (
    Capabilities,
    Credential,
    Deployment,
    Limits,
    Origin,
    Price,
    PriceDates,
    Provider,
    Route,
    Secret,
    Strategy,
)

ORIGIN = Origin("http", "127.0.0.1", 9)


def deployment(
    name: str,
    *,
    model: str = "m",
    key: int = 0,
    priority: int = 1,
    weight: float = 1.0,
    capabilities: Capabilities | None = None,
    price: Price | None = None,
    later_prices: PriceDates = (),
    service_prices: dict[str, PriceDates] | None = None,
    limits: Limits | None = None,
) -> Deployment:
    credential = Credential(f"{name}#{key}", ORIGIN, Secret("s"))
    provider = Provider(name, "openai", ORIGIN, "/v1", (credential,), limits=limits or Limits())
    return Deployment(
        id=f"{name}/{model}#{key}",
        target=f"{name}/{model}",
        provider=provider,
        credential=credential,
        model=model,
        priority=priority,
        weight=weight,
        capabilities=capabilities or Capabilities(),
        price=price,
        later_prices=later_prices,
        service_prices=service_prices or {},
    )


def route(*deployments: Deployment, strategy: Strategy = Strategy.WEIGHTED, sticky: bool = True) -> Route:
    return Route("r", deployments, strategy, sticky)
